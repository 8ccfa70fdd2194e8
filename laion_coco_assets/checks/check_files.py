"""Running the rules over a shard's stage files, or over all shards' together."""

from collections.abc import Iterable, Mapping, Sequence

from laion_coco_assets.assets import STAGES
from laion_coco_assets.checks.execute_rule import CheckedFiles, execute
from laion_coco_assets.checks.listed_rows import listed_rows
from laion_coco_assets.checks.results import ALL_SHARDS, RuleResult
from laion_coco_assets.checks.rule_tables import create_removed, create_tables
from laion_coco_assets.checks.rules import Rule, Scope
from laion_coco_assets.checks.staleness import Staleness, stale_files
from laion_coco_assets.contract.stage_info import StageInfo
from laion_coco_assets.errors import StoreError, StoreUnavailableError
from laion_coco_assets.publishing.removal_list import RemovalList
from laion_coco_assets.stages.pipeline import with_side_files
from laion_coco_assets.stages.stage import Stage
from laion_coco_assets.store.sql import connected
from laion_coco_assets.store.store import ShardStore


def check_shard(
    store: ShardStore,
    shard: str,
    rules: Iterable[Rule],
    expected: Mapping[str, str] | None = None,
    removals: RemovalList | None = None,
    stages: tuple[type[Stage], ...] = STAGES,
) -> list[RuleResult]:
    """The rules of scope shard over one shard's files. Those about stale files have the status `STALE`.

    Args:
        store: where the files lie.
        shard: whose files are checked.
        rules: those of other scopes are left out.
        expected: the fingerprint that each stage should have, by a profile. Without it files are only compared with
            each other.
        removals: what must not be published.
        stages: those of the profile.

    Raises:
        StoreUnavailableError: memory ran out, or a file's file system failed: neither is the file's fault.
    """
    of_shard = [rule for rule in rules if rule.scope == Scope.SHARD]
    return _check(store, [shard], shard, of_shard, expected, removals, stages)


def check_across(
    store: ShardStore, shards: Sequence[str], rules: Iterable[Rule], stages: tuple[type[Stage], ...] = STAGES
) -> list[RuleResult]:
    """The rules of scope `all shards`, over these shards' files together.

    Files that cannot be read, or whose columns are not their contract's, are left out: `check_shard` reports them.

    Raises:
        StoreUnavailableError: memory ran out, or a file's file system failed.
    """
    return _check(store, shards, ALL_SHARDS, [rule for rule in rules if rule.scope == Scope.ALL], None, None, stages)


def _check(
    store: ShardStore,
    shards: Sequence[str],
    name: str,
    rules: Sequence[Rule],
    expected: Mapping[str, str] | None,
    removals: RemovalList | None,
    stages: tuple[type[Stage], ...],
) -> list[RuleResult]:
    if not rules:
        return []
    across = name == ALL_SHARDS
    # A shard's fingerprints are compared with all its files. Over all shards, opening files is what takes the time.
    files = with_side_files(stages)
    opened = sorted({need for rule in rules for need in rule.needs}) if across else [file.name for file in files]
    infos, broken = _infos(store, opened, shards)
    with connected(store) as connection:
        wrong_columns = create_tables(connection, store, infos, expected or {}, files, strict=across)
        create_removed(connection, listed_rows(store, infos, wrong_columns, removals, broken))
        of_shard = {stage: info for (stage, _), info in infos.items()}
        staleness = Staleness() if across else stale_files(of_shard, expected or {}, stages)
        checked = CheckedFiles(store, name, {*of_shard}, broken, wrong_columns, staleness)
        return [execute(connection, rule, checked) for rule in rules]


def _infos(
    store: ShardStore, stages: Sequence[str], shards: Sequence[str]
) -> tuple[dict[tuple[str, str], StageInfo], dict[tuple[str, str], str]]:
    """The files' infos, and what is wrong with files that cannot be read, by stage and shard."""
    infos: dict[tuple[str, str], StageInfo] = {}
    broken: dict[tuple[str, str], str] = {}
    for stage in stages:
        for shard in shards:
            try:
                info = store.info(stage, shard)
            except StoreUnavailableError:
                raise  # not the file's fault: a failed result would hold its shard back for good
            except StoreError as error:
                broken[stage, shard] = str(error)
                continue
            if info is not None:
                infos[stage, shard] = info
    return infos, broken
