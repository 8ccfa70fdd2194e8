"""Copies one shard's records in Dagster's SQLite tables for many other shards.

Dagster itself stores one event at a time, which would take days for tens of thousands of shards. So one shard is really run,
and the rows of its runs are copied under other names, in the form that this version of Dagster wrote. This module names only
the columns that hold a row's id, shard or run. All others are copied unchanged.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from laion_coco_assets.orchestration.records import RANGE_END
from laion_coco_assets.store.joining import chunks

_AT_ONCE: Final = 500
#: Columns of `event_logs` that depend on shard or run, without `id`.
_EVENTS: Final = "run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition"
_TAGS: Final = "event_id, asset_key, key, value, event_timestamp"
_CHECKS: Final = (
    "asset_key, check_name, partition, run_id, execution_status, evaluation_event, evaluation_event_timestamp, "
    "evaluation_event_storage_id, materialization_event_storage_id, create_timestamp"
)


@dataclass(frozen=True, slots=True)
class CopiedRun:
    """A run to create from the template: its id, and the neighbouring shards that it covers."""

    run_id: str
    shards: Sequence[str]


@dataclass(frozen=True, slots=True)
class Template:
    """A run over one shard that really took place."""

    run_id: str
    shard: str


def copy_run(home: Path, template: Template, runs: Sequence[CopiedRun], done: Callable[[int], None]) -> None:
    """Write the template's rows for each run and its shards, in order. `done` gets the number of finished shards each time.

    Nothing else may have the instance of `home` open.
    """
    with closing(_connect(home / "history" / "runs" / "index.db")) as index:
        index.executescript(
            "CREATE TEMP TABLE copies (number INTEGER PRIMARY KEY, shard TEXT, run TEXT);"
            "CREATE TEMP TABLE template (rank INTEGER PRIMARY KEY, id INTEGER UNIQUE);"
        )
        of_shard = (
            "run_id = :run AND (partition IS NOT NULL OR id IN (SELECT evaluation_event_storage_id "
            "FROM asset_check_executions WHERE run_id = :run AND partition IS NOT NULL))"
        )
        per_shard = [(shard, run.run_id) for run in runs for shard in run.shards]
        for chunk in _copied(index, template, of_shard, per_shard):
            done(chunk)
        per_run = [(run.shards[0], run.run_id) for run in runs]
        for _ in _copied(index, template, f"run_id = :run AND NOT ({of_shard})", per_run):
            pass
    with closing(_connect(home / "history" / "runs.db")) as database, database:
        _copy_run_rows(database, template, runs)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous = OFF")  # an interrupted simulation starts again
    connection.execute("PRAGMA cache_size = -1000000")  # kB, for pages of the indexes, which are written all over
    return connection


def _copied(
    index: sqlite3.Connection, template: Template, which: str, copies: Iterable[tuple[str, str]]
) -> Iterator[int]:
    """Copy the template's events that match `which`, with their tags and checks. Yields how many copies were written."""
    names = {"shard": template.shard, "run": template.run_id}
    with index:
        index.execute("DELETE FROM template")
        index.execute(
            f"INSERT INTO template SELECT row_number() OVER (ORDER BY id) - 1, id FROM event_logs WHERE {which}",  # noqa: S608  # our own text
            names,
        )
    (rows,) = index.execute("SELECT count(*) FROM template").fetchone()
    for chunk in chunks(iter(copies), _AT_ONCE):
        with index:
            (last,) = index.execute("SELECT max(id) FROM event_logs").fetchone()
            index.execute("DELETE FROM copies")
            index.executemany(
                "INSERT INTO copies VALUES (?, ?, ?)", ((number, *copy) for number, copy in enumerate(chunk))
            )
            for statement in _STATEMENTS:
                index.execute(statement, {**names, "first": last + 1, "rows": rows})
        yield len(chunk)


_ID: Final = ":first + copies.number * :rows + template.rank"
_PAIRS: Final = "FROM copies CROSS JOIN template"
_STATEMENTS: Final = (
    f"""INSERT INTO event_logs (id, {_EVENTS})
    SELECT {_ID}, copies.run, replace(replace(event, :shard, copies.shard), :run, copies.run), dagster_event_type,
        timestamp, step_key, asset_key, iif(partition IS NULL, NULL, copies.shard)
    {_PAIRS} JOIN event_logs ON event_logs.id = template.id ORDER BY copies.number, template.rank""",
    f"""INSERT INTO asset_event_tags ({_TAGS})
    SELECT {_ID}, asset_key, key, value, event_timestamp
    {_PAIRS} JOIN asset_event_tags ON event_id = template.id ORDER BY copies.number, template.rank""",
    f"""INSERT INTO asset_check_executions ({_CHECKS})
    SELECT asset_key, check_name, iif(partition IS NULL, NULL, copies.shard), copies.run, execution_status,
        replace(replace(evaluation_event, :shard, copies.shard), :run, copies.run), evaluation_event_timestamp, {_ID},
        :first + copies.number * :rows + made.rank, create_timestamp
    {_PAIRS} JOIN asset_check_executions AS checks ON checks.evaluation_event_storage_id = template.id
    LEFT JOIN template AS made ON made.id = checks.materialization_event_storage_id
    ORDER BY copies.number, template.rank""",
)


def _copy_run_rows(database: sqlite3.Connection, template: Template, runs: Sequence[CopiedRun]) -> None:
    for table in ("runs", "run_tags"):
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})") if row[1] != "id"]
        names = ", ".join(f'"{name}"' for name in columns)
        rows = database.execute(f"SELECT {names} FROM {table} WHERE run_id = ?", (template.run_id,)).fetchall()  # noqa: S608  # column names of Dagster
        database.executemany(
            f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))})",  # noqa: S608  # likewise
            (
                [_renamed(value, template, run, is_end=RANGE_END in row) for value in row]
                for run in runs
                for row in rows
            ),
        )


def _renamed(value: object, template: Template, run: CopiedRun, *, is_end: bool) -> object:
    if not isinstance(value, str):
        return value
    end = f'"{RANGE_END}": "{{}}"'
    value = value.replace(end.format(template.shard), end.format(run.shards[-1]))
    return value.replace(template.shard, run.shards[-1 if is_end else 0]).replace(template.run_id, run.run_id)
