"""Running the rules over stage files with DuckDB."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import duckdb
import pyarrow as pa

from laion_coco_assets.checks.results import OFFENDERS_SHOWN, Offender, RuleResult, Status
from laion_coco_assets.checks.rules import Rule, Scope
from laion_coco_assets.contract.reasons import Reason
from laion_coco_assets.contract.schemas import LEDGER, SCHEMAS, Stage
from laion_coco_assets.contract.stage_info import StageInfo
from laion_coco_assets.errors import StoreError, StoreUnavailableError
from laion_coco_assets.images.sniff import SUPPORTED
from laion_coco_assets.publishing.removal_list import REMOVED, RemovalList
from laion_coco_assets.store.joining import stage_rows
from laion_coco_assets.store.store import ShardStore

#: What a stage may reject a sample for.
REASONS: Final[Mapping[str, tuple[str, ...]]] = {
    Stage.FETCHED_IMAGES: tuple(each.value for each in Reason),
    Stage.BLIP_CANDIDATES: ("no_caption", "decode_error"),
    Stage.PUBLISHED: (REMOVED,),
}

#: The shard of a result that is about all of them.
ALL_SHARDS: Final = "(all)"

#: What DuckDB says of the machine or the file system, not of a file.
_MAY_PASS: Final = (duckdb.OutOfMemoryException, duckdb.IOException, duckdb.HTTPException)

_SHOWN: Final = 500  # characters: captions and URLs from the web have no end

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
        ("max_samples", pa.int64()),
        ("settings", pa.string()),
        ("models", pa.string()),
        ("device", pa.string()),
        ("brings_images", pa.bool_()),
    ]
)
_INPUTS: Final = pa.schema([(name, pa.string()) for name in ("stage", "shard", "input", "content")])
_REASONS: Final = pa.schema([(name, pa.string()) for name in ("stage", "reason")])
_REMOVED: Final = pa.schema([(name, pa.string()) for name in ("shard", "sample_id", "entry")])


def check_shard(
    store: ShardStore,
    shard: str,
    rules: Iterable[Rule],
    expected: Mapping[Stage, str] | None = None,
    removals: RemovalList | None = None,
) -> list[RuleResult]:
    """The rules of scope shard over one shard's files.

    `expected`: the fingerprint each stage should have, by a profile; without it files are only held against each other.
    `removals`: what must not be published.

    Raises:
        StoreUnavailableError: memory ran out, or a file's file system failed: neither is the file's fault.
    """
    return _check(store, [shard], shard, [rule for rule in rules if rule.scope == Scope.SHARD], expected, removals)


def check_across(store: ShardStore, shards: Sequence[str], rules: Iterable[Rule]) -> list[RuleResult]:
    """The rules of scope `all shards`, over these shards' files together.

    Files that can not be read, or whose columns are not their contract's, are left out: `check_shard` reports them.
    """
    return _check(store, shards, ALL_SHARDS, [rule for rule in rules if rule.scope == Scope.ALL], None, None)


def _check(
    store: ShardStore,
    shards: Sequence[str],
    name: str,
    rules: Sequence[Rule],
    expected: Mapping[Stage, str] | None,
    removals: RemovalList | None,
) -> list[RuleResult]:
    if not rules:
        return []
    # A shard's fingerprints are held against all its files. Over all shards, opening files is what takes the time.
    stages = sorted({need for rule in rules for need in rule.needs}) if name == ALL_SHARDS else list(SCHEMAS)
    infos, broken = _infos(store, stages, shards)
    with duckdb.connect() as connection:
        foreign = _register(connection, store, infos, expected or {}, strict=name == ALL_SHARDS)
        removed = [] if Stage.PUBLISHED in foreign else _removed(store, infos, foreign, removals, broken)
        connection.register("removed", pa.Table.from_pylist(removed, _REMOVED))
        present = {stage for stage, _ in infos}
        return [_outcome(connection, store, rule, name, broken, foreign, present) for rule in rules]


def _outcome(
    connection: duckdb.DuckDBPyConnection,
    store: ShardStore,
    rule: Rule,
    name: str,
    broken: Mapping[tuple[str, str], str],
    foreign: Collection[str],
    present: Collection[str],
) -> RuleResult:
    damaged = [problem for (stage, _), problem in broken.items() if stage in rule.needs and name != ALL_SHARDS]
    missing = [need for need in rule.needs if need not in present]
    unreadable = [need for need in rule.needs if need in foreign and not rule.on_columns]
    if damaged:
        return _failed(rule, name, "a whole file", damaged)
    if LEDGER in missing and rule.stage in present:
        return _failed(
            rule, name, "a ledger beside what is published", ["none: rows that are not here have no reason on record"]
        )
    if rule.stage in missing and LEDGER in rule.needs and LEDGER in present:
        return _failed(
            rule,
            name,
            f"a file of {rule.stage} beside its ledger",
            ["none: it is gone, or was never finished; materialise it (again)"],
        )
    if missing:
        return RuleResult(rule, name, Status.SKIPPED, why=f"no file of {', '.join(missing)}")
    if unreadable:
        return RuleResult(rule, name, Status.SKIPPED, why=f"the columns of {', '.join(unreadable)} are wrong")
    return _evaluate(connection, store, rule, name)


def _damaged(store: ShardStore, stages: Iterable[str], shard: str) -> list[str]:
    """The problems of files that are whole by their ends, and can not be read to them."""
    problems = []
    for stage in stages:
        try:
            for _ in store.batches(stage, shard):
                pass
        except StoreUnavailableError:
            raise
        except StoreError as error:
            problems.append(str(error))
    return problems


def _failed(rule: Rule, name: str, expected: str, actual: Sequence[str]) -> RuleResult:
    offenders = tuple(Offender(None, expected, each) for each in actual[:OFFENDERS_SHOWN])
    return RuleResult(rule, name, Status.FAILED, len(actual), offenders)


def _infos(
    store: ShardStore, stages: Sequence[str], shards: Sequence[str]
) -> tuple[dict[tuple[str, str], StageInfo], dict[tuple[str, str], str]]:
    """What the files say of themselves, and the problems of those that can not be read."""
    infos: dict[tuple[str, str], StageInfo] = {}
    broken: dict[tuple[str, str], str] = {}
    for stage in stages:
        for shard in shards:
            try:
                info = store.info(stage, shard)
            except StoreUnavailableError:
                raise  # no fault of the file: a result would hold its shard back for good
            except StoreError as error:
                broken[stage, shard] = str(error)
                continue
            if info is not None:
                infos[stage, shard] = info
    return infos, broken


def _evaluate(connection: duckdb.DuckDBPyConnection, store: ShardStore, rule: Rule, name: str) -> RuleResult:
    columns = f"sample_id, left(expected, {_SHOWN}), left(actual, {_SHOWN}), count(*) OVER ()"
    query = f"SELECT {columns} FROM ({rule.sql}\n) ORDER BY ALL LIMIT {OFFENDERS_SHOWN}"  # noqa: S608  # our own files
    try:
        rows = connection.execute(query).fetchall()
    except duckdb.Error as error:  # the rules run on whole files, so it is the file: pages that are damaged, say
        problems = [] if name == ALL_SHARDS else _damaged(store, rule.needs, name)
        if not problems and isinstance(error, _MAY_PASS):
            raise StoreUnavailableError(f"{rule.name} over shard {name}: {str(error).splitlines()[0]}") from error
        return _failed(rule, name, "files that can be read", problems or [str(error).splitlines()[0]])
    if not rows:
        return RuleResult(rule, name, Status.PASSED)
    offenders = tuple(Offender(sample_id, expected, actual) for sample_id, expected, actual, _ in rows)
    return RuleResult(rule, name, Status.FAILED, rows[0][-1], offenders)


def _register(
    connection: duckdb.DuckDBPyConnection,
    store: ShardStore,
    infos: Mapping[tuple[str, str], StageInfo],
    expected: Mapping[Stage, str],
    *,
    strict: bool,
) -> set[str]:
    """Make the views that rules read: a stage's rows under its name, and what the files say of themselves.

    Returns the stages with a file whose columns are not the contract's. With `strict` such files stay out of the views.
    """
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
    connection.register("formats", pa.table({"format": pa.array(SUPPORTED)}))
    for table in ("contract", "columns"):
        connection.execute(f"CREATE TEMP TABLE {table} (stage VARCHAR, position BIGINT, name VARCHAR, type VARCHAR)")
    return {stage for stage in SCHEMAS if not _register_stage(connection, store, stage, infos, strict=strict)}


def _register_stage(
    connection: duckdb.DuckDBPyConnection,
    store: ShardStore,
    stage: str,
    infos: Mapping[tuple[str, str], StageInfo],
    *,
    strict: bool,
) -> bool:
    """Make a stage's view; whether what stands in it has the contract's columns."""
    connection.register("empty", SCHEMAS[stage].empty_table())
    contract = _columns(connection, "SELECT * FROM empty")
    connection.unregister("empty")
    paths = [store.sql_pattern(stage, shard) for other, shard in infos if other == stage]
    columns = {path: _columns(connection, f"SELECT * FROM read_parquet({_literal(path)})") for path in paths}  # noqa: S608
    fit = [path for path in paths if columns[path] == contract]
    used = fit if strict else paths
    if used:
        _insert(connection, "contract", stage, contract)
        _insert(connection, "columns", stage, columns[used[0]])
        # A view can not be prepared with parameters, so paths stand in it as literals.
        connection.execute(
            f"CREATE TEMP VIEW {stage} AS SELECT rows.*, files.shard, files.fingerprint AS file_fingerprint, "  # noqa: S608
            f"files.device FROM read_parquet([{', '.join(map(_literal, used))}], "
            "file_row_number = true, filename = 'file_name') AS rows "
            f"JOIN files ON files.stage = '{stage}' AND files.path = rows.file_name"
        )
    return len(used) > 0 if strict else len(fit) == len(paths)


def _columns(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[str, str]]:
    return [(row[0], row[1]) for row in connection.execute(f"DESCRIBE {query}").fetchall()]


def _insert(connection: duckdb.DuckDBPyConnection, table: str, stage: str, columns: Sequence[tuple[str, str]]) -> None:
    rows = [(stage, position, name, type_) for position, (name, type_) in enumerate(columns, start=1)]
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
            "max_samples": info.metadata.get("max_samples"),
            "settings": json.dumps(info.metadata.get("settings")),
            "models": json.dumps(info.metadata.get("models")),
            "device": info.metadata.get("device"),
            "brings_images": info.metadata.get("brings_images"),
        }


def _removed(
    store: ShardStore,
    infos: Mapping[tuple[str, str], StageInfo],
    foreign: Collection[str],
    removals: RemovalList | None,
    broken: dict[tuple[str, str], str],
) -> list[dict[str, str]]:
    """The published rows that the list names, by where redirects led too, while the shard's `fetched_images` says so.

    Files that can not be read to their end join the `broken` ones.
    """
    if not removals:
        return []
    found = []
    for shard in (shard for stage, shard in infos if stage == Stage.PUBLISHED):
        traced = Stage.FETCHED_IMAGES not in foreign and (Stage.FETCHED_IMAGES, shard) in infos
        reading = Stage.FETCHED_IMAGES
        try:
            led_to = _redirected(store, shard) if traced else {}
            reading = Stage.PUBLISHED
            rows = list(stage_rows(store, reading, shard, ["sample_id", "URL"]))
        except StoreUnavailableError:
            raise
        except StoreError as error:
            broken[reading, shard] = str(error)
            continue
        for row in rows:
            name = row["sample_id"]
            if (entry := removals.entry(name, row["URL"], led_to.get(name))) is not None:
                found.append({"shard": shard, "sample_id": name, "entry": entry})
    return found


def _redirected(store: ShardStore, shard: str) -> dict[str, str]:
    """Where the images came from that did not come from their URL, by sample_id."""
    rows = stage_rows(store, Stage.FETCHED_IMAGES, shard, ["sample_id", "URL", "final_url", "status"])
    ok = ((row["sample_id"], row["URL"], row["final_url"]) for row in rows if row["status"] == "ok")
    return {name: final_url for name, url, final_url in ok if final_url not in (None, url)}


def _literal(path: str) -> str:
    return "'" + path.replace("'", "''") + "'"
