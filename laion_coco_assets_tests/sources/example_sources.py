"""Sources with images for tests: the same five rows as a tar and as parquet, and a folder of image files."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from laion_coco_assets.fetching.fetched_rows import fetch_shard
from laion_coco_assets.fetching.fetcher import Fetcher
from laion_coco_assets.sources.listing import list_sources
from laion_coco_assets_tests.images import pictures

#: Not one of these hosts exists: whoever asks the network gets no image.
A, B, C, D = (f"http://{name}.invalid/x.jpg" for name in "abcd")
JPEG, PNG, HTML = pictures.JPEG, pictures.PNG, b"<!doctype html><html></html>"


def write_tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def record(url: str, caption: str | None, **more: Any) -> bytes:
    return json.dumps({"url": url, "caption": caption, "key": "0", "status": "success", **more}).encode()


def tar_source(folder: Path) -> Path:
    files = {
        "__meta__.json": b"{}",
        "000.jpg": JPEG,
        "000.json": record(A, "a cat", width=256, original_width=640, similarity=0.25),
        "000.txt": b"a cat",
        "001.png": PNG,
        "001.json": record(B, None),
        "002.jpg": HTML,
        "002.json": record(C, "c"),
        "003.jpg": JPEG,
        "003.json": record(A, "again"),
        "004.json": record(D, "no image"),
    }
    write_tar(folder / "00000.tar", files)
    return folder / "00000.tar"


def parquet_source(folder: Path) -> Path:
    table = pa.table(
        {
            "url": [A, B, C, A, D],
            "caption": ["a cat", None, "c", "again", "no image"],
            "original": ["kept"] * 5,
            "WIDTH": [640, None, None, None, None],
            "similarity": [0.25, None, None, None, None],
            "jpg": pa.array([JPEG, PNG, HTML, JPEG, None], pa.binary()),
        }
    )
    pq.write_table(table, folder / "00000.parquet")
    return folder / "00000.parquet"


def structs_source(folder: Path) -> Path:
    images = [{"bytes": content, "path": "x"} for content in (JPEG, PNG, HTML, JPEG)] + [None]
    table = pa.table(
        {
            "URL": [A, B, C, A, D],
            "TEXT": ["a cat", None, "c", "again", "no image"],
            "WIDTH": ["640", None, None, None, None],
            "similarity": [0.25, None, None, None, None],
            "image": images,
        }
    )
    pq.write_table(table, folder / "00000.parquet")
    return folder / "00000.parquet"


def folder_source(folder: Path) -> Path:
    photos = folder / "my photos"
    photos.mkdir()
    (photos / "b.jpg").write_bytes(JPEG)
    (photos / "b.txt").write_text("a bee\n")
    (photos / "a.PNG").write_bytes(PNG)
    (photos / "a.json").write_bytes(record(A, "an ape", hash=5))
    (photos / "c.webp").write_bytes(HTML)
    (photos / "c.json").write_text("[broken")
    (photos / "notes.pdf").write_bytes(b"%PDF")
    return photos


def rows_of(source: Path, done: int = 0) -> list[dict[str, Any]]:
    (shard,) = list_sources(str(source)).values()
    with Fetcher(pictures.settings()) as fetcher:
        return [row for some in fetch_shard(shard, fetcher, done) for row in some]
