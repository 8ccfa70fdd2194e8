"""A sample's line in the ledger."""

from typing import Any

from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.publishing.removal_list import REMOVED

Row = dict[str, Any]


def ledger_row(fetched: Row, candidates: Row | None, removed: str | None) -> Row:
    """Where a source row ended. An image without a row of candidates was rejected when it was fetched.

    `removed` is the entry of the removal list that the row matches. A row that was rejected earlier keeps its reason.
    """
    if fetched["status"] != "ok":
        ended = {"stage": StageName.FETCHED_IMAGES, "reason": fetched["reason"], "detail": fetched["detail"]}
    elif candidates is not None and candidates["reason"] is not None:
        ended = {"stage": StageName.BLIP_CANDIDATES, "reason": candidates["reason"], "detail": None}
    elif removed is not None:
        ended = {"stage": StageName.PUBLISHED, "reason": REMOVED, "detail": f"on the removal list: {removed}"}
    else:
        ended = {"stage": StageName.PUBLISHED, "reason": None, "detail": None}
    status = "published" if ended["reason"] is None else "rejected"
    own = {name: fetched[name] for name in ("row", "sample_id", "URL")}
    return own | {"status": status} | ended
