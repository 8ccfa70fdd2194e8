"""A source's md5 is held against the bytes that came, and what came of it stands in the row."""

import hashlib
import json

import pyarrow as pa
import pytest

from laion_coco_assets.fetching.fetcher import Fetched
from laion_coco_assets.fetching.reasons import Reason
from laion_coco_assets.fetching.rows import fetched_row
from laion_coco_assets.shards.schemas import FETCHED_IMAGES, SOURCE

IMAGE = b"the bytes of an image"
MD5 = hashlib.md5(IMAGE).hexdigest()


def row(extra: dict | None, result: Fetched) -> dict:
    source = dict.fromkeys(SOURCE.names) | {
        "row": 0,
        "sample_id": "0" * 32,
        "source_extra": None if extra is None else json.dumps(extra),
    }
    made = fetched_row(source, result)
    assert list(made) == FETCHED_IMAGES.names
    pa.RecordBatch.from_pylist([made], schema=FETCHED_IMAGES)
    return made


@pytest.mark.parametrize(
    ("extra", "matches"),
    [
        ({"md5": MD5}, True),
        ({"MD5": MD5.upper()}, True),
        ({"Md5": f" {MD5} "}, True),
        ({"md5": "0" * 32}, False),
        ({"md5": ""}, None),
        ({"md5": None}, None),
        ({"md5": 5}, None),
        ({"md5": "not a hash"}, None),
        ({"sha256": MD5}, None),
        ({"other": 1}, None),
        (None, None),
    ],
)
def test_md5(extra: dict | None, matches: bool | None):
    assert row(extra, Fetched(None, image=IMAGE))["md5_matches"] is matches


def test_without_bytes_there_is_nothing_to_compare():
    assert row({"md5": MD5}, Fetched(Reason.DNS, "no such name"))["md5_matches"] is None
