"""A folder of image files is a source: captions and records beside the images, and changes that are noticed."""

from pathlib import Path

import pytest

from laion_coco_assets.errors import SourceError
from laion_coco_assets.sources.listing import list_sources
from laion_coco_assets_tests.sources.example_sources import JPEG, PNG, A, folder_source, rows_of


def test_a_folder_of_images(tmp_path: Path) -> None:
    rows = rows_of(folder_source(tmp_path))
    assert [(row["URL"], row["TEXT"], row["reason"]) for row in rows] == [
        (A, "an ape", None),
        ("my%20photos/b.jpg", "a bee", None),
        ("my%20photos/c.webp", None, "not_an_image"),
    ]
    assert rows[0]["hash"] == 5
    assert [row["image"] for row in rows] == [PNG, JPEG, None]


def test_a_folder_of_names_with_dots_is_a_source(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "png").write_bytes(PNG)  # a name without an extension
    with pytest.raises(SourceError, match="has no shards"):
        list_sources(str(photos))
    (photos / "img.0001.jpg").write_bytes(JPEG)
    (photos / "img.0001.txt").write_text("one")
    assert [(row["URL"], row["TEXT"], row["reason"]) for row in rows_of(photos)] == [
        ("photos/img.0001.jpg", "one", None)
    ]


def test_a_changed_folder_has_another_digest_and_version(tmp_path: Path) -> None:
    source = folder_source(tmp_path)
    (shard,) = list_sources(str(source)).values()
    before = shard.digest, shard.version
    assert (shard.digest, shard.version) == before
    (source / "b.txt").write_text("another caption\n")
    assert shard.digest != before[0]
    assert shard.version != before[1]
