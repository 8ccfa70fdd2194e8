"""What a sample's stage rows become: a row of LAION-COCO, and its line in the ledger."""

from typing import Any

from laion_coco_assets.contract.schemas import CARRIED_OVER, Stage
from laion_coco_assets.publishing.removal_list import REMOVED

Row = dict[str, Any]


def published_row(fetched: Row, candidates: Row, ranked: Row, final: Row, fingerprint: str) -> Row:
    """A row of PUBLISHED. `all_captions` are ordered by the first ranker's score, best first; ties in sampling order."""
    scores = ranked["scores"]
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    return {
        "URL": fetched["URL"],
        "TEXT": fetched["TEXT"],
        "top_caption": final["caption"],
        "all_captions": [candidates["captions"][i] for i in order],
        "all_similarities": [scores[i] for i in order],
        **{name: fetched[name] for name in CARRIED_OVER},
        "sample_id": fetched["sample_id"],
        "sha256": fetched["sha256"],
        "all_multiplicities": [candidates["multiplicities"][i] for i in order],
        "final_similarities": final["scores"],
        "alt_text_similarity": ranked["alt_text_score"],
        "alt_text_final_similarity": final["alt_text_score"],
        "fingerprint": fingerprint,
    }


def ledger_row(fetched: Row, candidates: Row | None, removed: str | None) -> Row:
    """Where a source row ended. An image without a row of candidates was rejected when it was fetched.

    `removed` is the entry of the removal list that the row matches. What ended before keeps the reason it ended for.
    """
    if fetched["status"] != "ok":
        ended = {"stage": Stage.FETCHED_IMAGES, "reason": fetched["reason"], "detail": fetched["detail"]}
    elif candidates is not None and candidates["reason"] is not None:
        ended = {"stage": Stage.BLIP_CANDIDATES, "reason": candidates["reason"], "detail": None}
    elif removed is not None:
        ended = {"stage": Stage.PUBLISHED, "reason": REMOVED, "detail": f"on the removal list: {removed}"}
    else:
        ended = {"stage": Stage.PUBLISHED, "reason": None, "detail": None}
    status = "published" if ended["reason"] is None else "rejected"
    own = {name: fetched[name] for name in ("row", "sample_id", "URL")}
    return own | {"status": status} | ended
