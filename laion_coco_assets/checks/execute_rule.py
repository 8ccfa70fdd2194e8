"""Executes one rule over tables that exist: its result, or which missing files it would need."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from laion_coco_assets.checks.results import ALL_SHARDS, OFFENDERS_SHOWN, Offender, RuleResult, Status
from laion_coco_assets.checks.rule_tables import statement
from laion_coco_assets.checks.rules import Rule
from laion_coco_assets.checks.staleness import Staleness
from laion_coco_assets.contract.stage_names import LEDGER
from laion_coco_assets.errors import StoreUnavailableError
from laion_coco_assets.store.sql import damaged_files, may_pass
from laion_coco_assets.store.store import ShardStore

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_CHARACTERS_SHOWN: Final = 500


@dataclass(frozen=True)
class CheckedFiles:
    """The files that rules are executed over.

    Attributes:
        store: where they lie.
        shard: whose they are, or `ALL_SHARDS`.
        present: stages with a file that can be read.
        broken: what is wrong with the others, by stage and shard.
        wrong_columns: stages with a file whose columns are not the contract's.
        staleness: which of them are stale, if they are one shard's.
    """

    store: ShardStore
    shard: str
    present: Collection[str]
    broken: Mapping[tuple[str, str], str]
    wrong_columns: Collection[str]
    staleness: Staleness

    @property
    def of_all_shards(self) -> bool:
        """Whether they are several shards' files, together."""
        return self.shard == ALL_SHARDS


def execute(connection: "DuckDBPyConnection", rule: Rule, files: CheckedFiles) -> RuleResult:
    """A rule's result over these files.

    Raises:
        StoreUnavailableError: memory ran out, or a file's file system failed: neither is the file's fault.
    """
    damaged = [] if files.of_all_shards else [why for (stage, _), why in files.broken.items() if stage in rule.needs]
    if damaged:
        return _failed(rule, files, "a whole file", damaged)
    missing = [need for need in rule.needs if need not in files.present]
    if LEDGER in missing and rule.stage in files.present:
        actual = "no ledger: rows that are not published have no reason on record"
        return _failed(rule, files, "a ledger beside what is published", [actual])
    if rule.stage in missing and LEDGER in rule.needs and LEDGER in files.present:
        actual = "no file: it was deleted, or never finished; materialise it again"
        return _failed(rule, files, f"a file of {rule.stage} beside its ledger", [actual])
    if missing:
        return RuleResult(rule, files.shard, Status.SKIPPED, why=f"no file of {', '.join(missing)}")
    unusable = [] if rule.on_columns else [need for need in rule.needs if need in files.wrong_columns]
    if unusable:
        return RuleResult(rule, files.shard, Status.SKIPPED, why=f"the columns of {', '.join(unusable)} are wrong")
    return _run(connection, rule, files)


def _run(connection: "DuckDBPyConnection", rule: Rule, files: CheckedFiles) -> RuleResult:
    import duckdb

    query = statement("offenders").format(rule=rule.sql, characters=_CHARACTERS_SHOWN, offenders=OFFENDERS_SHOWN)
    try:
        rows = connection.execute(query).fetchall()
    except duckdb.Error as error:
        message = str(error).splitlines()[0]
        problems = [] if files.of_all_shards else damaged_files(files.store, rule.needs, files.shard)
        if not problems and may_pass(error):
            raise StoreUnavailableError(f"{rule.name} over shard {files.shard}: {message}") from error
        return _failed(
            rule, files, "files that can be read" if problems else "a rule that DuckDB can run", problems or [message]
        )
    if not rows:
        return RuleResult(rule, files.shard, Status.PASSED)
    offenders = tuple(Offender(sample_id, expected, actual) for sample_id, expected, actual, _ in rows)
    status, why = (Status.STALE, files.staleness.why) if _is_stale(rule, files) else (Status.FAILED, "")
    return RuleResult(rule, files.shard, status, rows[0][-1], offenders, why)


def _is_stale(rule: Rule, files: CheckedFiles) -> bool:
    """Whether offenders only say that files wait for their stages to run again."""
    if rule.on_columns:
        return False
    return files.staleness.between(rule.needs) or (rule.on_origin and files.staleness.of(rule.stage))


def _failed(rule: Rule, files: CheckedFiles, expected: str, actual: Sequence[str]) -> RuleResult:
    offenders = tuple(Offender(None, expected, text) for text in actual[:OFFENDERS_SHOWN])
    return RuleResult(rule, files.shard, Status.FAILED, len(actual), offenders)
