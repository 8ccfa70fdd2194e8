"""Running the rules over stage files with DuckDB."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import duckdb
import pyarrow as pa

from laion_coco_assets.checks.results import Offender, RuleResult, Status
from laion_coco_assets.checks.rules import Rule
from laion_coco_assets.errors import StoreError
from laion_coco_assets.fetching.reasons import Reason
from laion_coco_assets.shards.schemas import SCHEMAS, Stage
from laion_coco_assets.shards.store import ShardStore, StageInfo

#: What a stage may reject a sample for.
REASONS: Final[Mapping[str, tuple[str, ...]]] = {
    Stage.FETCHED_IMAGES: tuple(each.value for each in Reason),
    Stage.BLIP_CANDIDATES: ("no_caption", "decode_error"),
}

#: The shard of a result that is about all of them.
ALL_SHARDS: Final = "(all)"

_OFFENDERS_SHOWN: Final = 10

# The tables that rules read beside the stages' rows.
_FILES: Final = pa.schema(
    [
        ("stage", pa.string()),
        ("shard", pa.string()),
        ("path", pa.string()),
        ("fingerprint", pa.string()),
        ("expected_fingerprint", pa.string()),
        ("content", pa.string()),
        ("rows", pa.int64()),
        ("source_rows", pa.int64()),
        ("settings", pa.string()),
        ("models", pa.string()),
    ]
)
_INPUTS: Final = pa.schema([(name, pa.string()) for name in ("stage", "shard", "input", "content")])
_REASONS: Final = pa.schema([(name, pa.string()) for name in ("stage", "reason")])


def check_shard(
    store: ShardStore, shard: str, rules: Iterable[Rule], expected: Mapping[Stage, str] | None = None
) -> list[RuleResult]:
    """The rules of scope shard over one shard's files.

    `expected`: the fingerprint each stage should have, by a profile; without it files are only held against each other.
    """
    return _check(store, [shard], shard, [rule for rule in rules if not rule.all_shards], expected)


def check_across(store: ShardStore, shards: Sequence[str], rules: Iterable[Rule]) -> list[RuleResult]:
    """The rules of scope `all shards`, over these shards' files together."""
    return _check(store, shards, ALL_SHARDS, [rule for rule in rules if rule.all_shards], None)


def _check(
    store: ShardStore,
    shards: Sequence[str],
    name: str,
    rules: Sequence[Rule],
    expected: Mapping[Stage, str] | None,
) -> list[RuleResult]:
    if not rules:
        return []
    infos, broken = _infos(store, shards, {need for rule in rules for need in rule.needs})
    present = {stage for stage, _ in infos}
    results: list[RuleResult] = []
    with duckdb.connect() as connection:
        _register(connection, store, infos, expected or {})
        wrong_columns: set[str] = set()
        for rule in rules:
            damaged = [problem for stage, problem in broken if stage in rule.needs]
            missing = [need for need in rule.needs if need not in present]
            unreadable = [need for need in rule.needs if need in wrong_columns and not rule.on_columns]
            if damaged:
                offenders = tuple(Offender(None, problem) for problem in damaged[:_OFFENDERS_SHOWN])
                result = RuleResult(rule, name, Status.FAILED, len(damaged), offenders)
            elif missing:
                result = RuleResult(rule, name, Status.SKIPPED, why=f"no file of {', '.join(missing)}")
            elif unreadable:
                result = RuleResult(rule, name, Status.SKIPPED, why=f"the columns of {', '.join(unreadable)} are wrong")
            else:
                result = _evaluate(connection, rule, name)
            if rule.on_columns and result.status == Status.FAILED:
                wrong_columns.add(rule.needs[-1])
            results.append(result)
    return results


def _infos(
    store: ShardStore, shards: Sequence[str], stages: Iterable[str]
) -> tuple[dict[tuple[str, str], StageInfo], list[tuple[str, str]]]:
    """What the files say of themselves, and the problems of those that can not be read."""
    infos: dict[tuple[str, str], StageInfo] = {}
    broken: list[tuple[str, str]] = []
    for stage in stages:
        for shard in shards:
            try:
                info = store.info(stage, shard)
            except StoreError as error:
                broken.append((stage, str(error)))
                continue
            if info is not None:
                infos[stage, shard] = info
    return infos, broken


def _evaluate(connection: duckdb.DuckDBPyConnection, rule: Rule, name: str) -> RuleResult:
    query = f"SELECT sample_id, problem, count(*) OVER () FROM ({rule.sql}\n) ORDER BY ALL LIMIT {_OFFENDERS_SHOWN}"  # noqa: S608  # our own files
    rows = connection.execute(query).fetchall()
    if not rows:
        return RuleResult(rule, name, Status.PASSED)
    offenders = tuple(Offender(sample_id, problem) for sample_id, problem, _ in rows)
    return RuleResult(rule, name, Status.FAILED, rows[0][2], offenders)


def _register(
    connection: duckdb.DuckDBPyConnection,
    store: ShardStore,
    infos: Mapping[tuple[str, str], StageInfo],
    expected: Mapping[Stage, str],
) -> None:
    """The views that rules read: a stage's rows under its name, and what the files say of themselves."""
    connection.execute("SET enable_progress_bar = false")
    if not store.is_local:
        connection.register_filesystem(store.root.fs)
    connection.register("said", pa.Table.from_pylist([*_file_rows(store, infos, expected)], _FILES))
    as_json = "SELECT * REPLACE (settings::JSON AS settings, models::JSON AS models) FROM said"
    connection.execute(f"CREATE TEMP TABLE files AS {as_json}")
    inputs = [
        {"stage": stage, "shard": shard, "input": name, "content": content}
        for (stage, shard), info in infos.items()
        for name, content in info.key.inputs.items()
    ]
    connection.register("inputs", pa.Table.from_pylist(inputs, _INPUTS))
    reasons = [{"stage": stage, "reason": reason} for stage, listed in REASONS.items() for reason in listed]
    connection.register("reasons", pa.Table.from_pylist(reasons, _REASONS))
    connection.execute("CREATE TEMP TABLE contract (stage VARCHAR, position BIGINT, name VARCHAR, type VARCHAR)")
    connection.execute("CREATE TEMP TABLE columns (stage VARCHAR, position BIGINT, name VARCHAR, type VARCHAR)")
    by_stage: dict[str, list[str]] = {}
    for stage, shard in infos:
        by_stage.setdefault(stage, []).append(shard)
    for stage, shards in by_stage.items():
        paths = [store.sql_path(stage, shard) for shard in shards]
        connection.register("empty", SCHEMAS[stage].empty_table())
        _describe(connection, "contract", stage, "SELECT * FROM empty")
        connection.unregister("empty")
        _describe(connection, "columns", stage, f"SELECT * FROM read_parquet({_literal(paths[0])})")  # noqa: S608
        # A view can not be prepared with parameters, so paths stand in it as literals.
        connection.execute(
            f"CREATE TEMP VIEW {stage} AS SELECT rows.*, files.shard, files.fingerprint AS file_fingerprint "  # noqa: S608
            f"FROM read_parquet([{', '.join(map(_literal, paths))}], file_row_number = true, filename = 'file_name') AS rows "
            f"JOIN files ON files.stage = '{stage}' AND files.path = rows.file_name"
        )


def _describe(connection: duckdb.DuckDBPyConnection, table: str, stage: str, query: str) -> None:
    described = connection.execute(f"DESCRIBE {query}").fetchall()
    rows = [(stage, position, row[0], row[1]) for position, row in enumerate(described, start=1)]
    connection.executemany(f"INSERT INTO {table} VALUES (?, ?, ?, ?)", rows)  # noqa: S608


def _file_rows(
    store: ShardStore, infos: Mapping[tuple[str, str], StageInfo], expected: Mapping[Stage, str]
) -> Iterator[dict[str, Any]]:
    for (stage, shard), info in infos.items():
        expected_fingerprint = expected.get(Stage(stage)) if stage in list(Stage) else expected.get(Stage.PUBLISHED)
        yield {
            "stage": stage,
            "shard": shard,
            "path": store.sql_path(stage, shard),
            "fingerprint": info.key.fingerprint or None,
            "expected_fingerprint": expected_fingerprint,
            "content": info.content,
            "rows": info.rows,
            "source_rows": info.metadata.get("source_rows"),
            "settings": json.dumps(info.metadata.get("settings")),
            "models": json.dumps(info.metadata.get("models")),
        }


def _literal(path: str) -> str:
    return "'" + path.replace("'", "''") + "'"
