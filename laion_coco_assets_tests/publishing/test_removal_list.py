"""The removal list means the rows it names, in any spelling, and nothing is published past one that cannot be read."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from upath import UPath

from laion_coco_assets.errors import UserError
from laion_coco_assets.publishing.removal_list import RemovalList, digest

ID = "0123456789abcdef" * 2
OTHER = "f" * 32


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("http://a.com/x.jpg", "http://a.com/x.jpg"),
        ("http://a.com/x.jpg", "https://A.com:443/x.jpg#top"),
        ("a.com/x.jpg", " http://a.com/x.jpg "),
        ("https://a.com/x.jpg?size=2", "http://a.com/x.jpg?size=2"),
        ("a.com", "http://a.com/x.jpg"),
        ("A.com", "https://img.a.com/y"),
        ("*.a.com", "http://a.com/"),
        ("bücher.example", "http://xn--bcher-kva.example/x"),
        ("192.0.2.1", "http://192.0.2.1/x"),
        ("Photos/my cat.jpg", "Photos/my cat.jpg"),
        ("Photos/my cat.jpg", "Photos/my%20cat.jpg"),
        ("my%20photos/b.jpg", "my%20photos/b.jpg"),
        ("00000.tar/b.jpg", "00000.tar/b.jpg"),
        ("b.jpg", "b.jpg"),
        ("ftp://a.com/x.jpg", "ftp://a.com/x.jpg"),
        ("http://me:secret@a.com/x.jpg", "http://me:secret@a.com/x.jpg"),
        ("//a.com/x.jpg", "https://a.com/x.jpg"),
        ("https://A.com/%7Euser/x.jpg", "http://a.com/~user/x.jpg"),
        ("http://a.com/x.jpg?%6Eame=%2fb%2Fc", "http://a.com/x.jpg?name=%2Fb%2fc"),
        ("http://a.com/a b.jpg", "http://A.com./a%20b.jpg"),
        ("http://a.com.:8080/x", "https://a.com:8080/x"),
        ("http://a.com/a/%2E%2e/x.jpg", "http://a.com/x.jpg"),
        ("http://[2001:DB8::1]/%78", "http://[2001:db8:0::1]/x"),
        ("%7Eme/b.jpg", "~me/b.jpg"),
        ("a.com/show?of=http://b.com/x.jpg", "http://a.com/show?of=http://b.com/x.jpg"),
    ],
)
def test_an_entry_means_its_rows(entry: str, url: str) -> None:
    assert RemovalList.of([entry]).entry(OTHER, url) is not None


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("http://a.com/x.jpg", "http://a.com/x.jpg?size=2"),
        ("http://a.com/x.jpg", "http://a.com/X.jpg"),
        ("a.com", "http://ba.com/x.jpg"),
        ("a.com", "http://a.com.evil.example/x.jpg"),
        ("a.com", "http://b.com/a.com"),
        ("img.a.com", "http://a.com/x"),
        ("a.com", None),
        ("a.com", "no URL"),
        ("photos", "photos/cat.jpg"),
        ("Photos/cat.jpg", "photos/cat.jpg"),
        ("00000.tar/b.jpg", "00000.tar/a/../b.jpg"),
        ("http://a.com/x%2Fy.jpg", "http://a.com/x/y.jpg"),
        ("http://a.com/%2541.jpg", "http://a.com/A.jpg"),
        ("http://a.com/x%3Fsize=2", "http://a.com/x?size=2"),
    ],
)
def test_an_entry_means_no_other_rows(entry: str, url: str | None) -> None:
    assert RemovalList.of([entry]).entry(OTHER, url) is None


@pytest.mark.parametrize(
    "entry",
    [
        "htp://bad.example/x.jpg",
        "http:/bad.example/x.jpg",
        "http:bad.example/x.jpg",
        "http//bad.example/x.jpg",
        "http;//bad.example/x.jpg",
        "http ://bad.example/x.jpg",
        "://bad.example/x.jpg",
        "http://bad example/x.jpg",
        "https://bad.example:99999/x.jpg",
    ],
)
def test_a_mistyped_url_is_an_error(entry: str) -> None:
    with pytest.raises(ValueError, match="neither a URL nor a sample_id nor a domain"):
        RemovalList.of([entry])


@pytest.mark.parametrize("entry", [ID[:-1], f"{ID}0", "DEADBEEF-DEADBEEF", "0xdeadbeef"])
def test_a_sample_id_that_is_cut_or_written_otherwise_is_no_domain(entry: str) -> None:
    with pytest.raises(ValueError, match="is neither a sample_id, which has 32 hex digits"):
        RemovalList.of([entry])


def test_a_column_of_urls_may_hold_the_names_of_images_that_are_there(tmp_path: Path) -> None:
    pq.write_table(pa.table({"URL": ["000000123"]}), tmp_path / "list.parquet")
    assert RemovalList.load(str(tmp_path / "list.parquet")).entry(OTHER, "000000123") == "URL 000000123"


@pytest.mark.parametrize("domain", ["a.com", "https://a.com/", "HTTP://A.com", "//a.com", "*.a.com"])
def test_a_column_of_domains_means_all_below_them(tmp_path: Path, domain: str) -> None:
    pq.write_table(pa.table({"domain": [domain]}), tmp_path / "list.parquet")
    assert RemovalList.load(str(tmp_path / "list.parquet")) == RemovalList(domains=frozenset({"a.com"}))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("domain", "http://a.com/x.jpg"),
        ("domain", ID),
        ("domain", 1),
        ("sample_id", ID[:-1]),
        ("sample_id", "a.com"),
        ("sample_id", 12345678),
        ("URL", 1),
    ],
)
def test_a_value_that_is_not_what_its_column_says_is_an_error(tmp_path: Path, column: str, value: Any) -> None:
    pq.write_table(pa.table({column: [value]}), tmp_path / "list.parquet")
    with pytest.raises(UserError, match=f"{column} of row 0: .* is not "):
        RemovalList.load(str(tmp_path / "list.parquet"))


def test_a_sample_id_and_where_a_redirect_led_count_too() -> None:
    assert RemovalList.of([ID.upper()]).entry(ID, None) == f"sample_id {ID}"
    assert RemovalList.of(["a.com"]).entry(OTHER, "http://b.com/x", "http://cdn.a.com/x") == "domain a.com"


def test_a_folder_of_text_and_parquet(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text(f"\ufeff# why\n\n{ID}  # a comment\nhttp://a.com/x#y\n")
    pq.write_table(pa.table({"Url": ["http://b.com/z", None], "DOMAIN": [None, "c.com"]}), tmp_path / "two.parquet")
    (tmp_path / "three.TXT").write_text("d.com")
    (tmp_path / ".gitignore").write_text("*.bak")
    found = RemovalList.load(str(tmp_path))
    assert found == RemovalList(
        frozenset({ID}), frozenset({"a.com/x", "b.com/z"}), frozenset({"c.com", "d.com"}), frozenset({"d.com"})
    )
    assert not RemovalList.load("")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.txt", None, "does not exist"),
        ("bad.txt", b"a.com\nnot a domain\n", "line 2: 'not a domain' is neither a URL nor a sample_id nor a domain"),
        ("cut.txt", b"http://\n", "line 1: 'http://' is neither"),
        ("two.txt", b"htp://a.com/x\nb.com\nhttp:/c.com/x", "line 3: 'http:/c.com/x' is neither"),
        ("many.txt", b"htp://a.com/x\n" * 12, "and 2 more"),
        ("latin.txt", b"b\xfccher.example", "cannot be read"),
        ("bad.parquet", b"no parquet", "cannot be read"),
        ("nohttp://scheme", None, "removal list"),
    ],
)
def test_a_list_that_can_not_be_read_is_one_clear_error(
    tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match="removal list") as error:
        RemovalList.load(name if "://" in name else str(tmp_path / name))
    assert said in str(error.value)


@pytest.mark.parametrize("name", ["removals.csv", "more.txt.gz", "without"])
def test_nothing_in_a_folder_is_left_out_in_silence(tmp_path: Path, name: str) -> None:
    (tmp_path / "one.txt").write_text("a.com")
    (tmp_path / name).write_text("b.com")
    with pytest.raises(UserError, match=f"removal list .*{name}: neither .txt nor .parquet"):
        RemovalList.load(str(tmp_path))


def test_an_object_store_s_marker_of_the_folder_is_no_file_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = MemoryFileSystem.ls

    def ls(self: MemoryFileSystem, path: str, **arguments: Any) -> list[Any]:
        return [{"name": f"{path}/", "size": 0, "type": "file"}, *listed(self, path, **arguments)]

    monkeypatch.setattr(MemoryFileSystem, "ls", ls)
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    UPath("memory://removals/one.txt").write_text("a.com")
    assert RemovalList.load("memory://removals").domains == {"a.com"}


def test_a_parquet_file_is_one_in_any_casing(tmp_path: Path) -> None:
    pq.write_table(pa.table({"domain": ["a.com"]}), tmp_path / "ONE.PARQUET")
    assert RemovalList.load(str(tmp_path / "ONE.PARQUET")).domains == {"a.com"}


def test_the_digest_is_of_the_entries_alone() -> None:
    assert digest(["a", "b", "a"]) == digest(["b", "a"]) != digest(["a"])
