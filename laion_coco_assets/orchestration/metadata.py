"""What the UI shows of a shard's stage file: counts by reason, speed, scores; read from the file itself."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import dagster as dg

from laion_coco_assets.contract.schemas import COLUMNS, LEDGER, Stage
from laion_coco_assets.contract.stage_info import StageInfo
from laion_coco_assets.markdown import table
from laion_coco_assets.orchestration.illustrations import histograms
from laion_coco_assets.orchestration.query import query
from laion_coco_assets.store.store import ShardStore

#: Of each stage's file: numbers worth seeing, as SQL over its rows (`stage`).
_FIGURES: Final[Mapping[str, Mapping[str, str]]] = {
    Stage.FETCHED_IMAGES: {
        "ok": "count(*) FILTER (status = 'ok')",
        "fetch_success_share": "avg(CASE WHEN status = 'ok' THEN 1.0 ELSE 0.0 END)",
        "duplicate_url_share": "avg(CASE WHEN reason = 'duplicate_url' THEN 1.0 ELSE 0.0 END)",
        "image_megabytes": "coalesce(sum(image_bytes), 0) / 1e6",
    },
    Stage.BLIP_CANDIDATES: {
        "distinct_captions_mean": "avg(len(captions))",
        "caption_tokens_mean": "avg(list_avg(token_counts))",
        "captions_drawn": "coalesce(sum(list_sum(multiplicities)), 0)",
    },
    Stage.CLIP_L_TOP5: {
        "best_score_mean": "avg(top_scores[1])",
        "all_scores_mean": "avg(list_avg(scores))",
        "alt_text_score_mean": "avg(alt_text_score)",
        "score_uplift": "avg(top_scores[1] - alt_text_score)",
    },
    Stage.RN50X64_FINAL: {
        "winner_score_mean": "avg(list_max(scores))",
        "alt_text_score_mean": "avg(alt_text_score)",
        "score_uplift": "avg(list_max(scores) - alt_text_score)",
        "winner_is_first_rankers_best": "avg(CASE WHEN scores IS NULL OR scores[1] = list_max(scores) THEN 1.0 ELSE 0.0 END)",
    },
    Stage.PUBLISHED: {
        "caption_words_mean": "avg(len(string_split(top_caption, ' ')))",
        "alternatives_mean": "avg(len(all_captions) - 1)",
        "duplicate_caption_share": "1 - count(DISTINCT top_caption) / nullif(count(*), 0)",
        # By the ranker that decided: a profile may have the first one only.
        "score_uplift": "avg(coalesce(list_max(final_similarities) - alt_text_final_similarity, "
        "all_similarities[1] - alt_text_similarity))",
    },
}

_REASONS: Final = (
    "SELECT reason, count(*) AS rows, printf('%.1f %%', 100 * count(*) / any_value(total)) AS \"of all\" "
    "FROM (SELECT reason, count(*) OVER () AS total FROM stage) WHERE reason IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1"
)
_WITH_REASONS: Final = (Stage.FETCHED_IMAGES, Stage.BLIP_CANDIDATES)


def shard_metadata(store: ShardStore, info: StageInfo, *, made: int | None, seconds: float) -> dict[str, Any]:
    """Metadata of one shard's materialisation. `made`: rows made in this run, None when the file was complete."""
    stage, shard = info.key.stage, info.key.shard
    metadata: dict[str, Any] = {
        "dagster/row_count": info.rows,
        "dagster/uri": str(store.path(stage, shard)),
        "dagster/column_schema": column_schema(Stage(stage)),
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
    metadata |= _figures(store, stage, shard)
    if stage in _WITH_REASONS:
        metadata["rejected_by_reason"] = _rejected(store, stage, shard)
    if stage == Stage.PUBLISHED:
        ledger = store.need(LEDGER, shard)
        metadata["source_rows"] = ledger.rows
        metadata["rejected"] = ledger.rows - info.rows
        metadata["rejected_by_reason"] = _rejected(store, LEDGER, shard)
    pictures = histograms(store, Stage(stage), shard)
    if pictures is not None:
        metadata["histograms"] = pictures
    return metadata


def speed_when_made(instance: dg.DagsterInstance, info: StageInfo) -> dict[str, Any]:
    """How fast a file that is skipped was made, by the last event of this very file: plots over shards keep their points."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(info.key.stage), asset_partitions=[info.key.shard])
    for record in instance.fetch_materializations(wanted, limit=1).records:
        said = record.asset_materialization.metadata if record.asset_materialization else {}
        if "content" in said and said["content"].value == info.content:
            return {name: said[name] for name in ("seconds", "samples_per_second") if name in said}
    return {}


def _three_digits(value: float) -> float:
    """Decimals would make steps of a small shard's seconds when they are plotted."""
    return float(f"{value:.3g}")


def settings_table(settings: Mapping[str, Any]) -> dg.MarkdownMetadataValue:
    """A stage's settings, a line each, by their dotted names in the profile. Long fractions are cut to four digits."""
    return table(["setting", "value"], sorted(_flat(settings)))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, _said(value)


def _said(value: Any) -> str:
    """A setting's value as the profile has it; of a list of tables, each by its keys."""
    match value:
        case None:
            return "not set"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.4g}"
        case list() | tuple():
            return "; ".join(map(_said, value))
        case Mapping():
            return ", ".join(f"{name} {_said(each)}" for name, each in sorted(value.items()))
        case _:
            return str(value)


def _figures(store: ShardStore, stage: str, shard: str) -> dict[str, float | int]:
    select = ", ".join(f'{sql} AS "{name}"' for name, sql in _FIGURES[stage].items())
    names, (values,) = query(store, stage, shard, f"SELECT {select} FROM stage")  # noqa: S608  # our own constants
    numbers = {name: value for name, value in zip(names, values, strict=True) if value is not None}
    return {name: value if isinstance(value, int) else round(float(value), 4) for name, value in numbers.items()}


def _rejected(store: ShardStore, stage: str, shard: str) -> dg.MarkdownMetadataValue | str:
    names, rows = query(store, stage, shard, _REASONS)
    return table(names, rows, numbers=("rows", "of all")) if rows else "none"


def column_schema(stage: Stage) -> dg.TableSchema:
    """The columns of a stage's file, as the UI shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                each.name,
                each.type_name,
                description=each.description,
                constraints=dg.TableColumnConstraints(nullable=each.nullable),
            )
            for each in COLUMNS[stage]
        ]
    )
