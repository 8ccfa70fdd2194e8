"""A Postgres of its own for a test: Debian's programs, a fresh cluster, a free loopback port, a role with a password."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

#: Debian keeps them off the PATH, a folder a version.
PROGRAMS = max(
    (file.parent for file in Path("/usr/lib/postgresql").glob("*/bin/initdb")),
    key=lambda folder: float(folder.parent.name),
    default=None,
)
DEADLINE_S = 120
PASSWORD = "p@ss:w/rd %41'"  # what a URL, a format string and SQL each take for their own

needs_postgres = pytest.mark.skipif(PROGRAMS is None, reason="no Postgres server (Debian: apt install postgresql)")


def _unprivileged() -> str | None:
    """Who runs the server; it refuses root. None: whoever runs the tests."""
    if os.geteuid() != 0:
        return None
    return "postgres" if "postgres" in {each.pw_name for each in pwd.getpwall()} else "nobody"


def _call(user: str | None, folder: Path, program: str, *arguments: str, script: str = "") -> None:
    assert PROGRAMS is not None
    group = pwd.getpwnam(user).pw_gid if user else None
    done = subprocess.run(
        [PROGRAMS / program, *arguments],
        check=False,
        input=script,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=2 * DEADLINE_S,
        cwd=folder,  # the checkout may be closed to the user
        env={"PATH": os.defpath, "HOME": str(folder), "PGHOST": str(folder), "LC_ALL": "C"},
        user=user,
        group=group,
        extra_groups=None if user is None else (),
    )
    if done.returncode:
        log = folder / "log"
        raise AssertionError(f"{program}: {done.stdout}\n{log.read_text() if log.exists() else ''}")


@contextmanager
def postgres_server() -> Iterator[Mapping[str, str]]:
    """libpq's variables for an empty database `dagster` of a role without further rights, until the block ends."""
    user = _unprivileged()
    # Not pytest's folder: that one is closed to other users. A short path, since the socket's name lies in it.
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as name:
        folder = Path(name)
        if user is not None:
            shutil.chown(folder, user)
        cluster = str(folder / "cluster")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        auth = ("--auth-local=trust", "--auth-host=scram-sha-256")  # the folder is open to its owner only
        _call(user, folder, "initdb", "--pgdata", cluster, "--username=admin", "--encoding=UTF8", "--no-sync", *auth)
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        wait = ("--wait", "--timeout", str(DEADLINE_S))
        log = ("--log", str(folder / "log"))
        try:
            _call(user, folder, "pg_ctl", "start", "--pgdata", cluster, *wait, *log, "--options", options)
            quoted = PASSWORD.replace("'", "''")
            statements = f"CREATE ROLE dagster LOGIN PASSWORD '{quoted}';\nCREATE DATABASE dagster OWNER dagster;\n"
            to_admin = ("--port", port, "--username=admin", "--dbname=postgres", "--set=ON_ERROR_STOP=1", "--quiet")
            _call(user, folder, "psql", *to_admin, script=statements)
            yield {
                "PGHOST": "127.0.0.1",
                "PGPORT": port,
                "PGDATABASE": "dagster",
                "PGUSER": "dagster",
                "PGPASSWORD": PASSWORD,
            }
        finally:
            if (folder / "cluster" / "postmaster.pid").exists():
                _call(user, folder, "pg_ctl", "stop", "--pgdata", cluster, *wait, "--mode=immediate")
