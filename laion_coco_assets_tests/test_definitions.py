"""Dagster loads the definitions quickly, and they are exactly these."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._serdes import deserialize_value, serialize_value

from laion_coco_assets.assets import fingerprints
from laion_coco_assets.contract.profile_files import load_profile, shipped_profiles
from laion_coco_assets.contract.ranker_labels import with_ranker_labels
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.definitions import build_defs
from laion_coco_assets.settings import Settings
from laion_coco_assets_tests.contracts import COLUMNS

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "torchvision", "transformers", "open_clip", "ray", "datasets", "aiohttp", "duckdb")


def test_loading_imports_nothing_heavy() -> None:
    code = f"""
import sys
import dagster as dg
from laion_coco_assets.definitions import defs
dg.Definitions.validate_loadable(defs())
print([name for name in {HEAVY} if name in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("profile", shipped_profiles())
def test_a_code_server_can_send_the_definitions(profile: str) -> None:
    repository = build_defs(Settings(profile=profile)).get_repository_def()
    sent = serialize_value(RepositorySnap.from_def(repository))
    assert [node.asset_key.path for node in deserialize_value(sent, RepositorySnap).asset_nodes] == [
        [name] for name in sorted(stage.value for stage in StageName)
    ]


@pytest.mark.parametrize("profile", shipped_profiles())
def test_five_stages_share_one_partitions_definition(profile: str) -> None:
    owners = ("captions@example.com", "team:captions")
    defs = build_defs(Settings(profile=profile, owners=owners))
    dg.Definitions.validate_loadable(defs)
    graph = defs.resolve_asset_graph()
    assert [key.to_user_string() for key in graph.toposorted_asset_keys] == [stage.value for stage in StageName]
    nodes = [graph.get(key) for key in graph.toposorted_asset_keys]
    assert {node.partitions_def for node in nodes} == {dg.DynamicPartitionsDefinition(name="shards")}
    assert {node.group_name for node in nodes} == {"laion_coco"}
    assert all(node.description and node.kinds and node.code_version for node in nodes)
    assert {tuple(node.owners) for node in nodes} == {owners}
    codes = {node.key.to_user_string(): node.code_version for node in nodes}
    assert codes == fingerprints(load_profile(profile))
    for node in nodes:
        (reference,) = node.metadata["dagster/code_references"].code_references
        line = Path(reference.file_path).read_text().splitlines()[reference.line_number - 1]
        assert (Path(reference.file_path).stem, line.split("(")[0]) == (
            node.key.to_user_string(),
            f"class {reference.label}",
        )
        columns = {column.name: column.description for column in node.metadata["dagster/column_schema"].columns}
        assert columns == {
            column.name: column.description
            for column in with_ranker_labels(COLUMNS[node.key.to_user_string()], load_profile(profile))
        }
    policies = {node.backfill_policy for node in nodes}
    assert policies == {dg.BackfillPolicy.multi_run(20)}


def test_fetching_and_models_have_pools_of_their_own_and_publishing_none() -> None:
    graph = build_defs(Settings()).resolve_asset_graph()
    pools = {key.to_user_string(): graph.get(key).pools for key in graph.toposorted_asset_keys}
    assert pools == {
        "fetched_images": {"fetch"},
        "blip_candidates": {"gpu"},
        "clip_l_top5": {"gpu"},
        "rn50x64_final": {"gpu"},
        "published": set(),
    }


def test_an_instance_set_up_as_the_readme_says_fetches_side_by_side_and_shares_no_gpu(tmp_path: Path) -> None:
    shutil.copy(ROOT / "deployment" / "dagster.yaml", tmp_path)
    set_limit = r"^ *uv run dagster (instance concurrency set .*)$"
    commands = re.findall(set_limit, (ROOT / "README.md").read_text(), re.MULTILINE)
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path)}
    for command in commands:
        subprocess.run([sys.executable, "-m", "dagster", *command.split()], check=True, env=environment, timeout=120)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        storage = instance.event_log_storage
        limits = {pool.name: pool.limit for pool in storage.get_pool_limits()}
        at_once = instance.get_concurrency_config().run_queue_config
        assert at_once is not None
        # Each pool has a limit of its own: on Postgres, one that two runs make at once fails them.
        assert limits == {"fetch": at_once.max_concurrent_runs, "gpu": 1}
        assert instance.global_op_concurrency_default_limit == 1
    for chapter in ("## The first day", "## Postgres"):
        text = (ROOT / "docs" / "OPERATIONS.md").read_text().split(f"\n{chapter}\n")[1].split("\n## ")[0]
        assert re.findall(set_limit, text, re.MULTILINE) == commands
