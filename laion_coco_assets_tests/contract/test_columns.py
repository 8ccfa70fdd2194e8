"""Every column is described once, for files, UI and documents alike."""

import re
from pathlib import Path

import pyarrow as pa
import pytest

from laion_coco_assets.contract.columns import column_table
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets_tests.contracts import COLUMNS, SCHEMAS

README = Path(__file__).parents[2] / "data" / "README.md"


@pytest.mark.parametrize("name", COLUMNS)
def test_data_readme_shows_the_columns_as_they_are(name: str) -> None:
    section = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", README.read_text(), re.MULTILINE | re.DOTALL)
    assert section is not None
    shown = [line for line in section[1].splitlines() if line.startswith("|")]
    assert shown == column_table(COLUMNS[name]).splitlines()


@pytest.mark.parametrize("name", COLUMNS)
def test_a_description_is_a_line_and_stays_out_of_the_file(name: str) -> None:
    for column in COLUMNS[name]:
        assert column.description
        assert "\n" not in column.description
        assert "|" not in column.description
        assert SCHEMAS[name].field(column.name).metadata is None


def test_types_are_written_as_people_write_them() -> None:
    types = {column.name: column.type_name for column in COLUMNS[StageName.PUBLISHED]}
    assert (types["all_similarities"], types["WIDTH"], types["pwatermark"]) == ("list<float64>", "int64", "float64")
    assert "list\\<string\\>" in column_table(COLUMNS[StageName.PUBLISHED]), "markdown would take it for a tag"
    assert SCHEMAS[StageName.PUBLISHED].field("all_similarities").type == pa.list_(pa.float64())
