"""What a stage's step reports to Dagster: materialisations with versions, or a failure that names the bad shards."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from laion_coco_assets.contract.stage_info import StageInfo
from laion_coco_assets.orchestration.records import CODE_VERSION, materialisation_tags


def result(
    context: dg.AssetExecutionContext, fingerprint: str, made: Mapping[str, tuple[StageInfo, Mapping[str, Any]]]
) -> dg.MaterializeResult[Any]:
    """The step's result when every shard was made; a run over one shard reports its content as the data version."""
    # Without the tag Dagster writes the deployment's code version, and a trial's shards would not be stale.
    tags = {CODE_VERSION: fingerprint}
    if len(made) == 1:
        ((info, metadata),) = made.values()
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(info.content), tags=tags)
    for shard, (_, metadata) in made.items():
        context.add_asset_metadata(metadata, partition_key=shard)
    return dg.MaterializeResult(tags=tags)


def materialisation(
    context: dg.AssetExecutionContext, shard: str, info: StageInfo, metadata: Mapping[str, Any]
) -> dg.AssetMaterialization:
    """One shard's event, for a step that fails because of another shard."""
    assets = {key.to_user_string() for key in context.assets_def.asset_deps[context.asset_key]}
    inputs = assets.intersection(info.key.inputs)
    tags = materialisation_tags(
        context.instance, shard, inputs, code_version=info.key.fingerprint, data_version=info.content
    )
    return dg.AssetMaterialization(context.asset_key, partition=shard, metadata=dict(metadata), tags=tags)


def failure(context: dg.AssetExecutionContext, failed: Mapping[str, Exception]) -> dg.Failure:
    """The step's end when some shards failed: it names each with its error."""
    named = "\n".join(f"{shard}: {error}" for shard, error in failed.items())
    asset, count = context.asset_key.to_user_string(), len(context.partition_keys)
    return dg.Failure(
        description=f"{asset}: {len(failed)} of {count} shards failed\n{named}",
        metadata={"failed_shards": dg.MetadataValue.json({shard: str(error) for shard, error in failed.items()})},
        allow_retries=False,  # what may pass was tried again already, see `retries`
    )
