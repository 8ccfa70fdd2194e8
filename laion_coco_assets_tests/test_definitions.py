"""Dagster loads the definitions quickly, and they are exactly these."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from laion_coco_assets.definitions import build_defs
from laion_coco_assets.settings import Settings
from laion_coco_assets.shards.fingerprint import fingerprints
from laion_coco_assets.shards.profile import load_profile, shipped_profiles
from laion_coco_assets.shards.schemas import COLUMNS, Stage

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
def test_five_stages_share_one_partitions_definition(profile: str) -> None:
    defs = build_defs(Settings(profile=profile))
    dg.Definitions.validate_loadable(defs)
    graph = defs.resolve_asset_graph()
    assert [key.to_user_string() for key in graph.toposorted_asset_keys] == [stage.value for stage in Stage]
    nodes = [graph.get(key) for key in graph.toposorted_asset_keys]
    assert {node.partitions_def for node in nodes} == {dg.DynamicPartitionsDefinition(name="shards")}
    assert {node.group_name for node in nodes} == {"laion_coco"}
    assert all(node.description and node.kinds and node.owners and node.code_version for node in nodes)
    codes = {node.key.to_user_string(): node.code_version for node in nodes}
    assert codes == {stage.value: code for stage, code in fingerprints(load_profile(profile)).items()}
    for node in nodes:
        (reference,) = node.metadata["dagster/code_references"].code_references
        line = Path(reference.file_path).read_text().splitlines()[reference.line_number - 1]
        assert (Path(reference.file_path).stem, line.strip()) == (node.key.to_user_string(), "@stage_asset(")
        columns = {column.name: column.description for column in node.metadata["dagster/column_schema"].columns}
        assert columns == {column.name: column.description for column in COLUMNS[node.key.to_user_string()]}
    policies = {node.backfill_policy for node in nodes}
    assert policies == {dg.BackfillPolicy.multi_run(20)}
