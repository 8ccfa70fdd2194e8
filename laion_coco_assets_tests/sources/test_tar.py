"""A tar is read to its end in bounded memory, or is one clear error; odd records and names cost no other row."""

import json
import tarfile
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from laion_coco_assets.errors import SourceError
from laion_coco_assets.sources.listing import list_sources
from laion_coco_assets_tests.contracts import FETCHED_IMAGES
from laion_coco_assets_tests.sources.example_sources import JPEG, B, record, rows_of, tar_source, write_tar


@pytest.mark.parametrize("content", [b"no tar", tarfile.TarInfo("a.jpg").tobuf()[:300], b""])
def test_a_damaged_tar_is_one_clear_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "s.tar").write_bytes(content)
    (shard,) = list_sources(str(tmp_path / "s.tar")).values()
    with pytest.raises(SourceError, match=r"s\.tar"):
        _ = shard.rows


def test_a_tar_cut_in_an_image_is_one_clear_error(tmp_path: Path) -> None:
    whole = tar_source(tmp_path)
    (tmp_path / "s.tar").write_bytes(whole.read_bytes()[:700])
    (shard,) = list_sources(str(tmp_path / "s.tar")).values()
    with pytest.raises(SourceError, match="not a whole tar file"):
        list(shard.images(1 << 20))


def test_a_tar_damaged_or_cut_between_members_is_one_clear_error(tmp_path: Path) -> None:
    whole = tar_source(tmp_path).read_bytes()
    with tarfile.open(tmp_path / "00000.tar") as tar:
        header = tar.getmember("002.jpg").offset
    spoilt = [
        whole[:header] + b"\xff" * 100 + whole[header + 100 :],  # damaged
        whole[:header],  # cut at a header
        whole[: header + 100],  # cut in a header
        whole[:header] + bytes(512) + whole[header:],  # zeros in the middle
        whole[:header] + bytes(100),  # cut in the end
        whole + whole,  # two in a row
    ]
    for content in spoilt:
        (tmp_path / "s.tar").write_bytes(content)
        (shard,) = list_sources(str(tmp_path / "s.tar")).values()
        with pytest.raises(SourceError, match="not a whole tar file"):
            _ = shard.rows
    (tmp_path / "s.tar").write_bytes(whole[:header] + bytes(512))  # one block says it, as tar itself has it
    (shard,) = list_sources(str(tmp_path / "s.tar")).values()
    assert shard.rows == 2


def _size_as_base_256(size: int) -> bytes:
    return size.to_bytes(12, "big", signed=True) if size < 0 else b"\x80" + size.to_bytes(11, "big")


def _header(name: str, size: int, kind: bytes) -> bytes:
    member = tarfile.TarInfo(name)
    member.type = kind
    block = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = _size_as_base_256(size)
    block[148:156] = b"%06o\0 " % (256 + sum(block[:148]) + sum(block[156:]))
    return bytes(block)


def _extended(name: str, headers: dict[str, str]) -> bytes:
    member = tarfile.TarInfo(name)
    member.pax_headers = headers
    return member.tobuf(tarfile.PAX_FORMAT)


@pytest.mark.parametrize(
    "header",
    [
        _header("x.jpg", -512, tarfile.REGTYPE),
        _header("x.jpg", -1024, tarfile.GNUTYPE_SPARSE),
        _header("x", -512, tarfile.XHDTYPE),
        _header("x", -1024, tarfile.GNUTYPE_LONGNAME),
        _header("x", 1 << 40, tarfile.XHDTYPE),
        _extended("x.jpg", {"size": "-2048"}),
    ],
    ids=["member", "sparse", "extended", "long name", "extended, endless", "by an extended header"],
)
def test_a_tar_whose_sizes_lead_backwards_or_nowhere_is_one_clear_error(header: bytes, tmp_path: Path) -> None:
    """Without a check, tarfile goes over the same members for ever (CVE-2025-8194)."""
    whole = tar_source(tmp_path).read_bytes()
    with tarfile.open(tmp_path / "00000.tar") as tar:
        end = tar.getmembers()[-1].offset
    (tmp_path / "s.tar").write_bytes(whole[:end] + header + whole[end:])
    (shard,) = list_sources(str(tmp_path / "s.tar")).values()
    with pytest.raises(SourceError, match="not a whole tar file"):
        list(islice(shard.images(100), 100))


def test_no_member_of_a_tar_is_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tarfile.TarFile] = []
    really = tarfile.open

    def noted(*arguments: Any, **named: Any) -> tarfile.TarFile:
        opened.append(really(*arguments, **named))
        return opened[-1]

    write_tar(tmp_path / "s.tar", {f"{number:03}.jpg": JPEG for number in range(50)})
    (shard,) = list_sources(str(tmp_path / "s.tar")).values()
    monkeypatch.setattr(tarfile, "open", noted)
    kept = [len(opened[0].members) for _ in shard.images(100)]
    assert (len(kept), max(kept)) == (50, 0)


def test_an_odd_record_costs_no_other_row(tmp_path: Path) -> None:
    deep = {f"{d}": b'{"caption": "c", "x": ' + b"[" * d + b"]" * d + b"}" for d in range(100, 1200, 50)}
    files = {"a.jpg": JPEG, "a.json": b'{"": "x"}'}
    for name, content in deep.items():
        files |= {f"{name}.jpg": JPEG, f"{name}.json": content}
    write_tar(tmp_path / "s.tar", files | {"z.jpg": JPEG, "z.json": record(B, "z")})
    first, *odd, last = rows_of(tmp_path / "s.tar")
    assert (first["URL"], json.loads(first["source_extra"])) == ("s.tar/a.jpg", {"": "x"})
    assert (last["URL"], last["TEXT"]) == (B, "z")
    assert odd[0]["TEXT"] == "c"
    assert (odd[-1]["TEXT"], odd[-1]["source_extra"]) == (None, None)
    assert all(row["reason"] is None for row in odd)


def test_strange_names_and_records_are_text(tmp_path: Path) -> None:
    files = {
        "../../etc/x.jpg": JPEG,
        "b\udcff.jpg": JPEG,
        "c.jpg": JPEG,
        "c.json": b'{"url": 5, "caption": "\\ud800", "WIDTH": "wide", "deep": NaN}',
        "d.jpg": JPEG,
        "d.txt": b"\xff\xfe",
    }
    write_tar(tmp_path / "s.tar", files)
    rows = rows_of(tmp_path / "s.tar")
    assert [row["URL"] for row in rows] == ["s.tar/../../etc/x.jpg", "s.tar/b%FF.jpg", "s.tar/c.jpg", "s.tar/d.jpg"]
    assert [row["reason"] for row in rows] == [None] * 4
    assert rows[2]["TEXT"] == "?"
    assert json.loads(rows[2]["source_extra"]) == {"url": 5, "WIDTH": "wide", "deep": None}
    pa.RecordBatch.from_pylist(rows, schema=FETCHED_IMAGES)
