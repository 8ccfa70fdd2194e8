"""What the UI shows of a shard's stage file: counts by reason, speed, scores; read from the file itself."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from laion_coco_assets.contract.profile import Profile
from laion_coco_assets.contract.ranker_labels import with_ranker_labels
from laion_coco_assets.contract.stage_info import StageInfo
from laion_coco_assets.markdown import Markdown, table
from laion_coco_assets.orchestration.records import last_materialisation
from laion_coco_assets.stages.figures import figures, rejected_by_reason
from laion_coco_assets.stages.histogram_picture import histograms
from laion_coco_assets.stages.stage import Stage


def shard_metadata(stage: Stage, info: StageInfo, *, made: int | None, seconds: float) -> dict[str, Any]:
    """Metadata of one shard's materialisation. `made`: rows made in this run, None when the file was complete."""
    store, shard = stage.store, stage.shard
    metadata: dict[str, Any] = {
        "dagster/row_count": info.rows,
        "dagster/uri": str(store.path(stage.name, shard)),
        "dagster/column_schema": column_schema(type(stage), stage.profile),
        "fingerprint": info.key.fingerprint,
        "content": info.content,
        "skipped": made is None,
    }
    for name in ("max_samples", "models", "device"):
        if name in info.metadata:
            metadata[name] = info.metadata[name]
    if made is not None:
        metadata["seconds"] = _three_digits(seconds)
        metadata["samples_per_second"] = _three_digits(made / seconds) if seconds > 0 else 0.0
        if "rows_kept" in info.metadata:
            metadata["rows_kept"] = info.metadata["rows_kept"]
    if info.metadata.get("settings"):
        metadata["settings"] = settings_table(info.metadata["settings"])
    metadata |= figures(store, type(stage), shard)
    if "reason" in stage.schema().names:
        metadata["rejected_by_reason"] = rejected_by_reason(store, stage.name, shard)
    metadata |= stage.shown()
    pictures = histograms(store, stage.name, shard, stage.panels(stage.profile))
    if pictures is not None:
        metadata["histograms"] = pictures
    return {name: _shown(value) for name, value in metadata.items()}


def _shown(value: Any) -> Any:
    """A value as Dagster takes it."""
    return dg.MetadataValue.md(value) if isinstance(value, Markdown) else value


def speed_when_made(instance: dg.DagsterInstance, info: StageInfo) -> dict[str, Any]:
    """How fast a skipped file was made, from this file's last event: plots over shards keep their points."""
    last = last_materialisation(instance, info.key.stage, info.key.shard)
    if last is None or "content" not in last.metadata or last.metadata["content"].value != info.content:
        return {}
    return {name: last.metadata[name] for name in ("seconds", "samples_per_second") if name in last.metadata}


def _three_digits(value: float) -> float:
    """Three significant digits. With fixed decimals, a small shard's seconds would look like steps in a plot."""
    return float(f"{value:.3g}")


def settings_table(settings: Mapping[str, Any]) -> dg.MarkdownMetadataValue:
    """A stage's settings, one per line, by their dotted names in the profile. Long fractions are cut to four digits."""
    return dg.MetadataValue.md(table(["setting", "value"], sorted(_flat(settings))))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, _in_words(value)


def _in_words(value: Any) -> str:
    """A setting's value as people read it. A table in a list is shown by its keys."""
    match value:
        case None:
            return "not set"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.4g}"
        case list() | tuple():
            return "; ".join(map(_in_words, value))
        case Mapping():
            return ", ".join(f"{name} {_in_words(item)}" for name, item in sorted(value.items()))
        case _:
            return str(value)


def column_schema(stage: type[Stage], profile: Profile) -> dg.TableSchema:
    """The columns of a stage's file, as the UI shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                column.type_name,
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=column.nullable),
            )
            for column in with_ranker_labels(stage.columns, profile)
        ]
    )
