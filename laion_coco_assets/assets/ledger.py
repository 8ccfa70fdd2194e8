"""The ledger: what became of every source row of a shard. It is written with `published`."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import islice
from typing import Any, Final

from laion_coco_assets.contract.columns import Column
from laion_coco_assets.contract.profile import Profile
from laion_coco_assets.contract.shared_columns import ROW, SAMPLE_ID, STRING, URL
from laion_coco_assets.contract.stage_info import StageKey
from laion_coco_assets.contract.stage_names import LEDGER, StageName
from laion_coco_assets.progress import NoProgress
from laion_coco_assets.publishing.ledger_rows import ledger_row
from laion_coco_assets.stages.make_file import make_file
from laion_coco_assets.stages.stage import Rows, Stage
from laion_coco_assets.store.joining import chunks, joined, stage_rows

_APPEND_ROWS: Final = 500
_FETCHED_COLUMNS: Final = ("row", "sample_id", "URL", "status", "reason", "detail")


class Ledger(Stage):
    """One row per source row, in its order: published, or rejected at a stage for a reason."""

    name = LEDGER
    columns = (
        ROW,
        SAMPLE_ID,
        URL,
        Column("status", STRING, "`published` or `rejected`", nullable=False),
        Column("stage", STRING, "the stage where the row ended", nullable=False),
        Column("reason", STRING, "why, from a closed list; null if published"),
        Column("detail", STRING, "why, in words"),
    )

    def __init__(self, published: Stage, removed: Mapping[int, str]) -> None:
        super().__init__(published.run, published.shard)
        self._published = published
        self._removed = removed
        self._fetched = self.store.need(StageName.FETCHED_IMAGES, self.shard)

    @classmethod
    def settings(cls, _profile: Profile) -> None:
        """None: they are those of `published`."""

    @cached_property
    def key(self) -> StageKey:
        """The settings and inputs of `published`."""
        key = self._published.key
        return StageKey(LEDGER, self.shard, key.fingerprint, key.inputs)

    def total(self) -> int:
        """See `Stage`."""
        return self._fetched.rows

    def rows(self, done: int) -> Iterator[Rows]:
        """See `Stage`."""
        fetched = stage_rows(self.store, StageName.FETCHED_IMAGES, self.shard, _FETCHED_COLUMNS)
        candidates = stage_rows(self.store, StageName.BLIP_CANDIDATES, self.shard, ["row", "sample_id", "reason"])
        lines = (ledger_row(row, drawn, self._removed.get(row["row"])) for row, drawn in joined(fetched, candidates))
        return chunks(islice(lines, done, None), _APPEND_ROWS)

    def metadata(self) -> Mapping[str, Any]:
        """See `Stage`."""
        return {"source_rows": self._fetched.metadata.get("source_rows", self._fetched.rows)}


def write_ledger(published: Stage, removed: Mapping[int, str]) -> None:
    """Write the shard's ledger, unless it is complete and unchanged. `removed`: the removal list's entry, by `row`."""
    make_file(Ledger(published, removed), NoProgress())
