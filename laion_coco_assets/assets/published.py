"""Stage 5: LAION-COCO's parquet, and the ledger that says what became of every source row."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import islice
from typing import Any, ClassVar, Final

from laion_coco_assets.assets.fetched_images import FetchedImages
from laion_coco_assets.assets.ledger import Ledger, write_ledger
from laion_coco_assets.contract.columns import Column
from laion_coco_assets.contract.profile import Profile
from laion_coco_assets.contract.shared_columns import (
    CARRIED_OVER_COLUMNS,
    FLOAT64,
    FLOATS,
    INTS,
    SAMPLE_ID,
    STRING,
    STRINGS,
    TEXT,
    URL,
)
from laion_coco_assets.contract.stage_names import LEDGER, StageName
from laion_coco_assets.errors import StoreError
from laion_coco_assets.publishing.card import write_card
from laion_coco_assets.publishing.published_rows import published_row
from laion_coco_assets.publishing.removal_list import REMOVED, RemovalList, digest
from laion_coco_assets.stages.example_table import example_table
from laion_coco_assets.stages.figures import rejected_by_reason
from laion_coco_assets.stages.panels import SIMILARITY_BIN, Panel
from laion_coco_assets.stages.protocols import ExamplesShown, Removals
from laion_coco_assets.stages.stage import Rows, Stage, StageRun
from laion_coco_assets.store.joining import Row, chunks, joined, stage_rows
from laion_coco_assets.store.store import ShardStore

_APPEND_ROWS: Final = 500

# Of the ranker that decided: a profile may have only the first one.
_WINNER: Final = "coalesce(list_max(final_similarities), all_similarities[1])"
_ALT_TEXT: Final = "CASE WHEN final_similarities IS NULL THEN alt_text_similarity ELSE alt_text_final_similarity END"


class Published(Stage):
    """The data set: LAION-COCO's columns with its names and types, then sample id, image hash, all scores, fingerprint.

    The ledger is written with it, one row per source row: published, or rejected at a stage for a reason. Rows on the
    removal list are not published. A shard is published again when entries that concern it were added or removed.
    """

    name = StageName.PUBLISHED.value
    version = 2  # columns are named for roles, and sha256 is one of them
    section = "publish"
    reads = (
        StageName.FETCHED_IMAGES,
        StageName.BLIP_CANDIDATES,
        StageName.CLIP_L_TOP5,
        StageName.RN50X64_FINAL,
    )
    kinds = frozenset({"parquet", "huggingface"})
    resources = frozenset({"removals", "examples_shown"})
    side_files = (Ledger,)
    reasons = (REMOVED,)
    # LAION-COCO's own columns with its names and types, then this project's, named for the role that fills them.
    columns = (
        URL,
        TEXT,
        Column("top_caption", STRING, "the caption that won; one of all_captions"),
        Column("all_captions", STRINGS, "every distinct caption that was sampled, the first ranker's best first"),
        Column("all_similarities", FLOATS, "the first ranker's similarity of image and caption, same order"),
        *CARRIED_OVER_COLUMNS,
        SAMPLE_ID,
        Column("sha256", STRING, "SHA-256 of the image's bytes as they were served, hex", nullable=False),
        Column(
            "all_multiplicities",
            INTS,
            "how many of the draws gave this caption, same order as all_captions",
            nullable=False,
        ),
        Column(
            "final_similarities",
            FLOATS,
            "the final ranker's similarities of the kept captions, the first of all_captions; null with one ranker",
        ),
        Column(
            "alt_text_similarity",
            FLOAT64,
            "the first ranker's similarity of image and alt text; null without alt text",
        ),
        Column(
            "alt_text_final_similarity",
            FLOAT64,
            "the final ranker's similarity of image and alt text; null without alt text, or with one ranker",
        ),
        Column("fingerprint", STRING, "hash of every setting and model that the row was made with", nullable=False),
    )
    figures: ClassVar[Mapping[str, str]] = {
        "caption_words_mean": "avg(len(string_split(top_caption, ' ')))",
        "alternatives_mean": "avg(len(all_captions) - 1)",
        "duplicate_caption_share": "1 - count(DISTINCT top_caption) / nullif(count(*), 0)",
        "score_uplift": f"avg({_WINNER} - {_ALT_TEXT})",
    }

    @classmethod
    def panels(cls, profile: Profile) -> tuple[Panel, ...]:
        """See `Stage`."""
        similarities = {"top caption": f"[{_WINNER}]", "alt text": f"[{_ALT_TEXT}]"}
        words = {
            "top caption": "[len(string_split(top_caption, ' '))]",
            "alt text": r"[len(regexp_extract_all(TEXT, '\S+'))]",
        }
        return (
            Panel(f"Similarity to the image, {profile.ranker_labels[-1]}", SIMILARITY_BIN, similarities),
            Panel("Words", 1, words),
        )

    @classmethod
    def preflight(cls, run: StageRun) -> None:
        """See `Stage`. An unreadable removal list is reported before any work."""
        run.resources["removals"].get()

    @cached_property
    def removed(self) -> Mapping[int, str]:
        """The rows that are not published because of the removal list: its entry, by `row`. Raises UserError."""
        removals: Removals = self.run.resources["removals"]
        return removed_rows(self.store, self.shard, self.run.once("removals", removals.get))

    def inputs(self) -> dict[str, str]:
        """See `Stage`. The entries of the removal list that concern the shard are an input too."""
        inputs = super().inputs()
        return inputs | ({"removals": digest(self.removed.values())} if self.removed else {})

    def validate(self) -> None:
        """See `Stage`."""
        removals: Removals = self.run.resources["removals"]
        if not removals.where:
            _keep_removed(self.store, self.shard)

    def before_file(self) -> None:
        """See `Stage`. The ledger comes first, so a new published file never stands beside an older ledger."""
        write_ledger(self, self.removed)
        settings = {name: self.run.settings_by_stage[name] for name in (*self.reads, self.name)}
        write_card(self.store, self.profile, self.columns, settings, self.run.fingerprints[self.name])

    def total(self) -> int:
        """See `Stage`."""
        final = stage_rows(self.store, StageName.RN50X64_FINAL, self.shard, ["row"])
        return sum(row["row"] not in self.removed for row in final)

    def rows(self, done: int) -> Iterator[Rows]:
        """See `Stage`."""
        return chunks(islice(self._published_rows(), done, None), _APPEND_ROWS)

    def shown(self) -> Mapping[str, Any]:
        """See `Stage`."""
        shown: ExamplesShown = self.run.resources["examples_shown"]
        rows, source_rows = (self.store.need(name, self.shard).rows for name in (self.name, LEDGER))
        return {
            "source_rows": source_rows,
            "rejected": source_rows - rows,
            "rejected_by_reason": rejected_by_reason(self.store, LEDGER, self.shard),
            "examples": example_table(self.store, self.shard, self.profile, thumbnails=shown.thumbnails),
        }

    def _published_rows(self) -> Iterator[Row]:
        """All rows, in source order."""
        fetched = stage_rows(self.store, StageName.FETCHED_IMAGES, self.shard, columns_without_image())
        candidates = joined(fetched, stage_rows(self.store, StageName.BLIP_CANDIDATES, self.shard))
        captioned = ((row, drawn) for row, drawn in candidates if drawn is not None and drawn["reason"] is None)
        ranked = stage_rows(self.store, StageName.CLIP_L_TOP5, self.shard)
        final = stage_rows(self.store, StageName.RN50X64_FINAL, self.shard)
        for (row, drawn), scores, winner in zip(captioned, ranked, final, strict=True):
            if row["row"] not in self.removed:
                yield published_row(row, drawn, scores, winner, self.key.fingerprint)


def columns_without_image() -> list[str]:
    """The columns of `fetched_images`, without the bytes."""
    return [column.name for column in FetchedImages.columns if column.name != "image"]


def removed_rows(store: ShardStore, shard: str, removals: RemovalList) -> dict[int, str]:
    """The ok images that match the removal list: the entry of each, by `row`."""
    if not removals:
        return {}
    rows = stage_rows(store, StageName.FETCHED_IMAGES, shard, ["row", "sample_id", "URL", "final_url", "status"])
    entries = ((row, removals.entry(row["sample_id"], row["URL"], row["final_url"])) for row in rows)
    return {row["row"]: entry for row, entry in entries if entry is not None and row["status"] == "ok"}


def _keep_removed(store: ShardStore, shard: str) -> None:
    """Refuse to publish removed rows again when a list is no longer configured.

    Raises:
        StoreError: the shard's files leave out rows by a list.
    """
    for stage in (StageName.PUBLISHED, LEDGER):
        info = store.usable_info(stage, shard)
        if info is not None and "removals" in info.key.inputs:
            raise StoreError(
                f"{store.path(stage, shard)} leaves out rows by a removal list, and no list is configured now: "
                "set LAION_COCO_REMOVALS / --removals; to publish these rows again, name an empty file"
            )
