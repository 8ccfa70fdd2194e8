"""What the five assets share: how a stage is declared to Dagster, and how a run goes over its shards."""

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

import dagster as dg
import pyarrow as pa

from laion_coco_assets.contract.fingerprint import fingerprints, stage_settings
from laion_coco_assets.contract.profile import Profile
from laion_coco_assets.contract.schemas import Stage
from laion_coco_assets.contract.stage_info import Replacing, StageInfo, StageKey
from laion_coco_assets.errors import StoreError, UserError
from laion_coco_assets.orchestration.blocking_checks import Gate
from laion_coco_assets.orchestration.metadata import column_schema, settings_table, shard_metadata, speed_when_made
from laion_coco_assets.orchestration.retries import WAITS, is_transient
from laion_coco_assets.orchestration.shard_checks import ShardChecks
from laion_coco_assets.progress import Progress
from laion_coco_assets.publishing.removal_list import RemovalList
from laion_coco_assets.store.removed_shards import note_added
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets.store.trial import keep_whole, profile_of_run
from laion_coco_assets.wording import counted

#: One partition a source shard; registered by the sensor `new_shards` or by `laion-coco shards add`.
SHARDS: Final = dg.DynamicPartitionsDefinition(name="shards")

GROUP: Final = "laion_coco"
OWNERS: Final = ["team:captions"]

_CODE_VERSION: Final = "dagster/code_version"

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Work:
    """What a stage has to do to one shard."""

    key: StageKey
    # The rest is called only when the file is not there yet.
    #: How many rows the finished file will have, for the progress bar.
    total: Callable[[], int]
    #: Yields the rows behind the first `done` ones, in order.
    rows: Callable[[int], Iterator[Rows | pa.RecordBatch]]
    #: What the file is to say of itself beside its key.
    record: Callable[[], Mapping[str, Any]] = dict
    #: What the UI shows of the finished file beside what it shows of every stage's.
    shown: Callable[[], Mapping[str, Any]] = dict
    #: The file of another key that rows are taken over from.
    extending: Callable[[], Replacing | None] = lambda: None
    #: Set when a complete file of this key is to be made again.
    replacing: Replacing | None = None
    #: Done before anything else, also where the file is complete.
    first: Callable[[], None] = lambda: None


def stage_asset(
    profile: Profile,
    stage: Stage,
    *,
    after: Iterable[Stage] = (),
    kinds: set[str],
    shards_per_run: int,
    pool: str | None = None,
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """`dg.asset` with what all stages have in common."""
    settings = stage_settings(profile, stage) or {}

    def declare(function: Callable[..., Any]) -> dg.AssetsDefinition:
        with warnings.catch_warnings():
            # Known: both are in beta. Bulk runs are made of the one, the other leads from the UI to the source lines;
            # a user can do nothing about it.
            warnings.filterwarnings("ignore", "Parameter `backfill_policy`", dg.BetaWarning)
            warnings.filterwarnings("ignore", r".*(CodeReference|code_reference)", dg.BetaWarning)
            asset = dg.asset(
                name=stage.value,
                deps=[each.value for each in after],
                partitions_def=SHARDS,
                group_name=GROUP,
                owners=OWNERS,
                kinds=kinds,
                pool=pool,
                code_version=fingerprints(profile)[stage],
                backfill_policy=dg.BackfillPolicy.multi_run(shards_per_run),
                tags={"profile": profile.name},
                metadata={
                    "profile": profile.name,
                    "settings": settings_table(settings),
                    "dagster/column_schema": column_schema(stage),
                },
            )(function)
            (linked,) = dg.with_source_code_references([asset])
        return cast("dg.AssetsDefinition", linked)

    return declare


def profile_record(profile: Profile) -> dict[str, Any]:
    """What every stage file says of the profile it was made with, a trial's cap by name."""
    cap = profile.fetch.max_samples
    return {"profile": profile.name} | ({} if cap is None else {"max_samples": cap})


def stage_key(profile: Profile, store: ShardStore, stage: Stage, shard: str, *inputs: Stage) -> StageKey:
    """The key of a stage's file, made from the files of `inputs` as they are now.

    Raises:
        StoreError: a file of `inputs` is not there, was made with other settings than the profile's, or from other
            files than the ones there now.
    """
    current = fingerprints(profile)
    infos = {each.value: store.need(each, shard) for each in inputs}
    contents = {name: info.content for name, info in infos.items()}
    cap = profile.fetch.max_samples
    for name, info in infos.items():
        older = [before for before, content in info.key.inputs.items() if contents.get(before, content) != content]
        trial, why = info.metadata.get("max_samples"), ""
        if trial != cap:
            why = "of the whole shard, and this is a trial" if trial is None else f"in a trial, of {trial} samples"
        elif info.key.fingerprint != current[Stage(name)]:
            why = "with other settings than this profile's"
        why = why or (f"from an earlier {', '.join(older)}" if older else "")
        if why:
            raise StoreError(f"{store.path(name, shard)} was made {why}: materialise {name} of shard {shard} first")
    return StageKey(stage, shard, current[stage], contents)


@contextmanager
def said_plainly() -> Iterator[None]:
    """A mistake in what a run was asked for fails its step with the message alone, and is not tried again."""
    try:
        yield
    except UserError as error:
        raise dg.Failure(str(error), allow_retries=False) from None


def run_shards(
    context: dg.AssetExecutionContext,
    profile: Profile,
    store: ShardStore,
    progress: Progress,
    plan: Callable[[Profile, str], Work],
    removals: Callable[[], RemovalList] = RemovalList,
) -> dg.MaterializeResult[Any]:
    """Do a stage's work for every shard of the run; one bad shard fails alone.

    `plan` gets the profile that the run goes by: the deployment's, or a trial's. `removals` is what the stage's checks
    hold it against.

    An exception would leave no shard of the run materialised, so it is held back until the others are done, and theirs
    are then logged one by one, with the results of their checks, which Dagster skips behind a step that failed.
    """
    done: dict[str, tuple[StageInfo, dict[str, Any]]] = {}
    failed: dict[str, Exception] = {}
    stage = Stage(context.asset_key.to_user_string())
    with said_plainly():
        checks = ShardChecks(context.op_execution_context, profile, store, removals)
        profile = profile_of_run(profile, context.run.tags)
    gate = Gate(context, stage, context.partition_keys, checks)
    note_added(store, context.partition_keys)  # one that was removed is back: what is made of it now is no leftover
    for shard in context.partition_keys:
        try:
            keep_whole(store, shard, profile)
            work = plan(profile, shard)
            gate.admit(shard)
            done[shard] = _run_shard(context, profile, store, progress, work)
        except Exception as error:  # whatever it was, the other shards go on and it is raised below
            failed[shard] = error
            if isinstance(error, UserError):
                context.log.error(f"shard {shard}: {error}")  # noqa: TRY400  # the message is whole
            else:
                context.log.exception(f"shard {shard}")
    if failed:
        for shard, (info, metadata) in done.items():
            context.log_event(_materialization(context, shard, info, metadata))
        # One that may pass is enough: the others that failed fail again quickly, and what was made is skipped.
        passing = [error for error in failed.values() if is_transient(error)]
        if passing and context.retry_number < len(WAITS):
            progress.wait(WAITS[context.retry_number], str(passing[0]))
            raise dg.RetryRequested(len(WAITS), WAITS[context.retry_number]) from passing[0]
        if done:
            _check(context, stage, list(done), checks)
        raise _failure(context, failed) from next(iter(failed.values()))
    # Dagster itself would write the deployment's, and a trial's shards would not be stale.
    tags = {_CODE_VERSION: fingerprints(profile)[stage]}
    if len(done) == 1:
        ((info, metadata),) = done.values()
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(info.content), tags=tags)
    for shard, (_, metadata) in done.items():
        context.add_asset_metadata(metadata, partition_key=shard)
    return dg.MaterializeResult(tags=tags)


def _check(context: dg.AssetExecutionContext, stage: Stage, shards: Sequence[str], checks: ShardChecks) -> None:
    try:
        checks.check_behind_failure(stage, shards)
    except Exception:  # what failed before is what the run ends with; the next stage's gate asks again
        context.log.exception("checking the shards that were made")


def _run_shard(
    context: dg.AssetExecutionContext, profile: Profile, store: ShardStore, progress: Progress, work: Work
) -> tuple[StageInfo, dict[str, Any]]:
    started = time.monotonic()
    work.first()
    settings, trial = stage_settings(profile, Stage(work.key.stage)), profile.fetch.max_samples is not None
    made = write_stage(store, work, progress, settings=settings, trial=trial)
    seconds = time.monotonic() - started
    info = store.need(work.key.stage, work.key.shard)
    metadata = shard_metadata(store, info, made=made, seconds=seconds)
    if made is None:
        context.log.info(f"shard {work.key.shard}: complete and unchanged, skipped")
        metadata |= speed_when_made(context.instance, info)
    else:
        there = f", {info.rows - made} more were there" if made < info.rows else ""
        context.log.info(f"shard {work.key.shard}: {counted(made, 'row')} made in {seconds:.1f} s{there}")
    return info, {**metadata, **work.shown()}


def write_stage(
    store: ShardStore, work: Work, progress: Progress, settings: Mapping[str, Any] | None, *, trial: bool
) -> int | None:
    """Make the stage's file unless it is complete and unchanged; returns the rows made now, None when skipped.

    Rows that are taken over from the file that is there come as arrow batches, and do not count as made. A trial leaves
    unfinished work on the whole shard alone.
    """
    if work.replacing is None and store.is_complete(work.key):
        return None
    with store.write(work.key, work.replacing or work.extending(), keep_others=trial) as writer:
        if writer.complete:  # another process has made it while this one waited for its turn
            return None
        found = writer.done
        made = 0
        progress.start(work.key.stage, work.key.shard, work.total(), found)
        try:
            writer.describe(settings=settings, **work.record())
            for rows in work.rows(found):
                writer.append(rows)
                made += 0 if isinstance(rows, pa.RecordBatch) else len(rows)
                progress.advance(len(rows))
        finally:
            progress.finish()
        return made


def _materialization(
    context: dg.AssetExecutionContext, shard: str, info: StageInfo, metadata: Mapping[str, Any]
) -> dg.AssetMaterialization:
    # Dagster writes these tags itself only for what it materialises itself; staleness is told from them.
    tags = {_CODE_VERSION: info.key.fingerprint, "dagster/data_version": info.content}
    for name in set(info.key.inputs) & set(Stage):
        records = context.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey(name), asset_partitions=[shard]), limit=1
        ).records
        for record in records:
            used = (record.asset_materialization.tags or {}) if record.asset_materialization else {}
            tags[f"dagster/input_data_version/{name}"] = used.get("dagster/data_version", "")
            tags[f"dagster/input_event_pointer/{name}"] = str(record.storage_id)
    return dg.AssetMaterialization(context.asset_key, partition=shard, metadata=dict(metadata), tags=tags)


def _failure(context: dg.AssetExecutionContext, failed: Mapping[str, Exception]) -> dg.Failure:
    named = "\n".join(f"{shard}: {error}" for shard, error in failed.items())
    return dg.Failure(
        description=f"{context.asset_key.to_user_string()}: {len(failed)} of {len(context.partition_keys)} shards failed\n{named}",
        metadata={"failed_shards": dg.MetadataValue.json({shard: str(error) for shard, error in failed.items()})},
        allow_retries=False,  # what may pass was tried again, see `retries`
    )
