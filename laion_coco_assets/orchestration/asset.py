"""A stage's Dagster asset. All of it follows from the stage's class."""

import inspect
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import dagster as dg
from pydantic import create_model

from laion_coco_assets.orchestration.materialise import materialise_shards
from laion_coco_assets.orchestration.metadata import column_schema, settings_table
from laion_coco_assets.orchestration.records import SHARDS
from laion_coco_assets.stages.pipeline import Pipeline
from laion_coco_assets.stages.stage import Stage

#: The assets' group in the UI.
GROUP: Final = "laion_coco"

#: What every stage's step uses: the files, progress, and the removal list that its checks compare published rows with.
_COMMON_RESOURCES: Final = frozenset({"store", "progress", "removals"})


def build_asset(
    pipeline: Pipeline, stage: type[Stage], shards_per_run: int, owners: Sequence[str] = ()
) -> dg.AssetsDefinition:
    """The asset of a stage, partitioned by shard. `owners` are addresses and teams, as `Settings` has them."""
    profile = pipeline.profile
    with warnings.catch_warnings():
        # Both are in beta, and a user cannot change that. Bulk runs need the first; the second links the UI to the
        # source code.
        warnings.filterwarnings("ignore", "Parameter `backfill_policy`", dg.BetaWarning)
        warnings.filterwarnings("ignore", r".*(CodeReference|code_reference)", dg.BetaWarning)

        @dg.asset(
            name=stage.name,
            description=inspect.cleandoc(stage.__doc__ or ""),
            deps=[str(name) for name in stage.reads],  # Dagster serialises keys, and refuses an enumeration's members
            partitions_def=SHARDS,
            group_name=GROUP,
            owners=[*owners],
            kinds=set(stage.kinds),
            pool=stage.pool,
            code_version=pipeline.fingerprints[stage.name],
            backfill_policy=dg.BackfillPolicy.multi_run(shards_per_run),
            required_resource_keys={*_COMMON_RESOURCES, *stage.resources},
            config_schema=_config_schema(stage),
            tags={"profile": profile.name},
            metadata={
                "profile": profile.name,
                "settings": settings_table(stage.settings(profile) or {}),
                "dagster/column_schema": column_schema(stage, profile),
                "dagster/code_references": _code_reference(stage),
            },
        )
        def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
            return materialise_shards(context, pipeline, stage)

    return asset


def _config_schema(stage: type[Stage]) -> Any:
    """The stage's run configuration as Dagster has it: the UI shows its fields and their descriptions."""
    if stage.config_model is None:
        return None
    fields: Mapping[str, Any] = {
        name: (field.annotation, field) for name, field in stage.config_model.model_fields.items()
    }
    config = create_model(stage.config_model.__name__, __base__=dg.Config, **fields)
    return config.to_config_schema()


def _code_reference(stage: type[Stage]) -> dg.CodeReferencesMetadataValue:
    """Where the stage's class is defined."""
    _, line = inspect.getsourcelines(stage)
    file = Path(inspect.getsourcefile(stage) or "").resolve()
    reference = dg.LocalFileCodeReference(file_path=str(file), line_number=line, label=stage.__name__)
    return dg.CodeReferencesMetadataValue(code_references=[reference])
