"""The shipped files of the Dagster instance: their settings arrive, on SQLite and on Postgres, and fit each other."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.instance import InstanceRef
from dagster._core.launcher import DefaultRunLauncher

ROOT = Path(__file__).parents[1]
SQLITE = ROOT / "deployment" / "dagster.yaml"
POSTGRES = ROOT / "deployment" / "dagster-postgres.yaml"
OPERATIONS = (ROOT / "docs" / "OPERATIONS.md").read_text()
#: Sections and keys that a loaded machine and killed runs need, as an instance keeps them.
SETTINGS = {
    "run_monitoring": {
        "enabled": True,
        "poll_interval_seconds": 60,
        "free_slots_after_run_end_seconds": 30,
        "start_timeout_seconds": 600,
        "cancel_timeout_seconds": 300,
    },
    "code_servers": {"local_startup_timeout": 600, "reload_timeout": 600},
}
RETRIES = {"max_user_code_failure_retries": 10, "user_code_failure_retry_delay": 60}
#: Where Dagster keeps its defaults for requests to a code server.
REQUEST_TIMEOUTS = """
import json
from dagster._grpc import client
names = ("DEFAULT_GRPC_TIMEOUT", "DEFAULT_SENSOR_GRPC_TIMEOUT", "DEFAULT_SCHEDULE_GRPC_TIMEOUT")
print(json.dumps([getattr(client, name) for name in names]))
"""


def test_dagster_runs_with_the_time_outs_and_retries_of_the_shipped_file(tmp_path: Path) -> None:
    shutil.copy(SQLITE, tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert {section: instance.get_settings(section) for section in SETTINGS} == SETTINGS
        assert instance.run_monitoring_enabled
        assert "MONITORING" in instance.get_required_daemon_types()
        assert instance.run_monitoring_poll_interval_seconds == 60
        assert instance.run_monitoring_start_timeout_seconds == 600
        assert instance.run_monitoring_cancel_timeout_seconds == 300
        assert instance.code_server_process_startup_timeout == 600
        assert instance.code_server_reload_timeout == 600
        queue = instance.get_concurrency_config().run_queue_config
        assert queue is not None
        assert {name: getattr(queue, name) for name in RETRIES} == RETRIES
        assert queue.max_concurrent_runs == 4
        # What the file and the document say of dead processes holds as long as this does.
        assert isinstance(instance.run_launcher, DefaultRunLauncher)
        assert not instance.run_launcher.supports_check_run_worker_health


def test_on_postgres_the_same_settings_arrive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sections = [set(yaml.safe_load(file.read_text())) for file in (SQLITE, POSTGRES)]
    assert not set.intersection(*sections), "a section that stands twice loses what the first one says"
    for name in ("PGHOST", "PGDATABASE", "PGUSER", "PGPASSWORD"):
        monkeypatch.setenv(name, "unused")
    monkeypatch.setenv("PGPORT", "5432")
    (tmp_path / "dagster.yaml").write_text(SQLITE.read_text() + POSTGRES.read_text())
    # Dagster's own reading of the file; the database is not opened.
    reference = InstanceRef.from_dir(str(tmp_path))
    assert {section: reference.settings[section] for section in SETTINGS} == SETTINGS
    coordinator = reference.run_coordinator
    assert coordinator is not None
    queue = coordinator.get_run_queue_config()
    assert {name: getattr(queue, name) for name in RETRIES} == RETRIES
    assert reference.custom_instance_class_data is None
    storage = reference.storage_data
    assert storage.class_name == "DagsterPostgresStorage"


def test_a_run_has_longer_to_start_than_the_request_that_starts_its_process() -> None:
    (seconds,) = re.findall(r"export DAGSTER_GRPC_TIMEOUT_SECONDS=(\d+)", OPERATIONS)
    own = {name: value for name, value in os.environ.items() if not name.endswith("GRPC_TIMEOUT_SECONDS")}
    printed = subprocess.run(
        [sys.executable, "-c", REQUEST_TIMEOUTS],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
        env={**own, "DAGSTER_GRPC_TIMEOUT_SECONDS": seconds},
    ).stdout
    assert json.loads(printed) == [int(seconds)] * 3
    assert SETTINGS["run_monitoring"]["start_timeout_seconds"] >= 2 * int(seconds)


def test_the_document_names_each_time_out_with_the_file_s_value_and_dagster_s(tmp_path: Path) -> None:
    chapter = OPERATIONS.split("\n### A loaded machine\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)`.*? \| (\d+)(?: s)? \| (\d+)(?: s)? \|", chapter, re.MULTILINE)
    written = {name: (int(ours), int(default)) for name, ours, default in rows}
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        queue = instance.get_concurrency_config().run_queue_config
        assert queue is not None
        assert written == {
            "DAGSTER_GRPC_TIMEOUT_SECONDS": (300, 60),
            "max_user_code_failure_retries": (10, queue.max_user_code_failure_retries),
            "user_code_failure_retry_delay": (60, queue.user_code_failure_retry_delay),
            "local_startup_timeout": (600, instance.code_server_process_startup_timeout),
            "reload_timeout": (600, instance.code_server_reload_timeout),
            "start_timeout_seconds": (600, instance.run_monitoring_start_timeout_seconds),
            "cancel_timeout_seconds": (300, instance.run_monitoring_cancel_timeout_seconds),
            "poll_interval_seconds": (60, instance.run_monitoring_poll_interval_seconds),
        }


def test_dg_dev_finds_no_configuration_in_the_checkout_to_warn_of() -> None:
    assert not [name for name in ("dagster.yaml", "dagster.yml") if (ROOT / name).exists()]
