"""The picture that the UI shows of a stage's file: its histograms, counted in one pass and drawn side by side.

An event stays small, some tens of kB, because Dagster keeps one for every shard and stage.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from laion_coco_assets.markdown import Image, Markdown
from laion_coco_assets.stages.panels import Panel
from laion_coco_assets.stages.query import query
from laion_coco_assets.store.store import ShardStore

if TYPE_CHECKING:
    from laion_coco_assets.evaluation.histograms import Histogram


def histograms(store: ShardStore, stage: str, shard: str, panels: Sequence[Panel]) -> Markdown | None:
    """The panels as one picture; None without panels or values."""
    counted = count(store, stage, shard, panels)
    if not any(values for histogram in counted for values in histogram.series.values()):
        return None
    from laion_coco_assets.evaluation.histograms import draw

    return Markdown(Image.png(draw(counted)).markdown)


def count(store: ShardStore, stage: str, shard: str, panels: Sequence[Panel]) -> list["Histogram"]:
    """How many values of the file fall into each bin of each panel."""
    from laion_coco_assets.evaluation.histograms import Histogram

    series = [(panel.bin_width, sql) for panel in panels for sql in panel.series.values()]
    counts: list[dict[int, int]] = [{} for _ in series]
    if series:
        for i, bin_, values in query(store, stage, shard, _counting(series))[1]:
            counts[i][bin_] = values
    rest = iter(counts)
    return [Histogram(panel.title, panel.bin_width, {name: next(rest) for name in panel.series}) for panel in panels]


def _counting(series: Sequence[tuple[float, str]]) -> str:
    """SQL that counts each series' values by bin. It reads the file once, in pieces, and keeps only the values."""
    kept = ", ".join(f"{sql} AS v{i}" for i, (_, sql) in enumerate(series))
    # Rounded before the floor: 0.29 / 0.01 is slightly below 29.
    binned = " UNION ALL ".join(
        f"SELECT {i} AS i, floor(round(unnest(v{i}) / {width}, 6)) AS bin FROM kept"  # noqa: S608  # a class's constants
        for i, (width, _) in enumerate(series)
    )
    return (
        f"WITH kept AS MATERIALIZED (SELECT {kept} FROM stage) "  # noqa: S608  # likewise
        f"SELECT i, bin::INTEGER, count(*) FROM ({binned}) WHERE isfinite(bin) GROUP BY ALL"
    )
