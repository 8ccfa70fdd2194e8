"""The removal list: URLs, sample_ids and domains that must not be published, and which rows they match."""

import hashlib
import io
import json
import re
import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from laion_coco_assets.contract.reasons import Reason, RejectedError
from laion_coco_assets.errors import UserError
from laion_coco_assets.fetching.urls import check_url

#: Why a row that matches the list is in the ledger.
REMOVED: Final = "removed"

_SAMPLE_ID: Final = re.compile(r"[0-9a-f]{32}")
#: A sample_id that was cut off or is written in another way: it does not have 32 hex digits. No domain looks like it.
_LIKE_A_SAMPLE_ID: Final = re.compile(r"(0x)?[0-9a-f-]{8,}", re.IGNORECASE)
_COLUMNS: Final = ("sample_id", "url", "domain")
_SUFFIXES: Final = (".txt", ".parquet")

#: The beginning of a text that is meant as a URL, mistyped or not.
_SCHEME: Final = re.compile(r"https?:|https?\W*//|[^/?#]*:/", re.IGNORECASE)
#: Such a text stands for the URL of an image that its source brings along.
_OTHER_SCHEMES: Final = re.compile(r"(ftps?|sftp|file|s3|gs|az|abfs|hdfs|hf)://.", re.IGNORECASE)
_SHOWN: Final = 10

_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset(string.ascii_letters + string.digits + "-._~")


@dataclass(frozen=True)
class RemovalList:
    """Entries in canonical spelling. URLs have no scheme and no fragment: a picture is the same over http and https.

    A row whose source brought the image along may have another text as its URL, most often a file's name. `names` are
    the entries that such a text may equal.
    """

    sample_ids: frozenset[str] = frozenset()
    urls: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.sample_ids or self.urls or self.domains or self.names)

    def entry(self, sample_id: str, *urls: str | None) -> str | None:
        """The entry that a row matches, as `domain example.com`; None when it may be published.

        Args:
            sample_id: the row's.
            urls: every URL that stands for the row's image: the source's, and where redirects led.
        """
        if sample_id in self.sample_ids:
            return f"sample_id {sample_id}"
        if not (self.urls or self.domains or self.names):
            return None
        for url in urls:
            host, bare = _canonical(url or "")
            if not host:
                if bare in self.names:
                    return f"URL {bare}"
            elif bare in self.urls:
                return f"URL {bare}"
            for domain in _parents(host):
                if domain in self.domains:
                    return f"domain {domain}"
        return None

    @classmethod
    def of(cls, entries: Iterable[str]) -> Self:
        """A list of entries in any spelling. 32 hex digits are a sample_id, text with a slash a URL, the rest domains.

        Raises:
            ValueError: an entry is none of these.
        """
        return cls._of_parsed(entry for text in entries for entry in _parsed(text))

    @classmethod
    def _of_parsed(cls, entries: Iterable[tuple[str, str]]) -> Self:
        kinds: dict[str, set[str]] = {kind: set() for kind in (*_COLUMNS, "name")}
        for kind, entry in entries:
            kinds[kind].add(entry)
        return cls(*(frozenset(group) for group in kinds.values()))

    @classmethod
    def load(cls, where: str) -> Self:
        """The list of a file, or of a folder of .txt and .parquet files, local or on fsspec. Empty without `where`.

        Text has one entry per line, and `#` starts a comment. Parquet has columns URL, sample_id or domain, in any
        casing. Hidden files of other types in a folder are skipped.

        Raises:
            UserError: the list does not exist, cannot be read completely, or its folder has other files, too. Nothing
                may be published without the whole list.
        """
        if not where:
            return cls()
        parsed: list[tuple[str, str]] = []
        for path in _files(where):
            wrong: list[str] = []
            for place, column, text in _entries(path):
                try:
                    parsed += _parsed(text) if column is None else _PARSED[column](text)
                except ValueError as error:
                    wrong.append(f"{place}: {error}")
            if wrong:
                more = [f"and {len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else []
                raise UserError("\n".join([f"removal list {path}, {wrong[0]}", *wrong[1:_SHOWN], *more]))
        return cls._of_parsed(parsed)


def digest(entries: Iterable[str]) -> str:
    """One hash (32 hex digits) of the entries that concern a shard. The rest of the list makes no file of it stale."""
    return hashlib.sha256(json.dumps(sorted(set(entries))).encode()).hexdigest()[:32]


def _files(where: str) -> list[UPath]:
    try:
        path = UPath(where)
        folder = path.is_dir()
        # An object store may list the folder's own marker as one of its files.
        existing = [file for file in (path.iterdir() if folder else [path]) if file.exists()]
    except Exception as error:  # every file system's client has its own
        raise UserError(f"removal list {where}: {error or type(error).__name__}") from error
    files = [file for file in existing if not folder or _suffix(file) in _SUFFIXES or not file.name.startswith(".")]
    if not files:
        raise UserError(
            f"removal list {where}: does not exist or has no files; name a text or parquet file, or a folder of them"
        )
    for file in files if folder else ():
        if _suffix(file) not in _SUFFIXES:
            raise UserError(f"removal list {file}: neither .txt nor .parquet; rename it, or move it out of the folder")
    return sorted(files, key=lambda file: file.name)


def _suffix(path: UPath) -> str:
    return path.suffix.lower()


def _entries(path: UPath) -> Iterator[tuple[str, str | None, Any]]:
    """Each entry: its place in the file, its parquet column, and its text."""
    try:
        content = path.read_bytes()
        if _suffix(path) == ".parquet":
            yield from _parquet_entries(path, pq.read_table(io.BytesIO(content)))
            return
        lines = content.decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise UserError(f"removal list {path}: cannot be read: {error}") from None
    for number, line in enumerate(lines, start=1):
        # The # of a URL's fragment has no blank before it; a comment's is at the beginning or after a blank.
        text = re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip()
        if text:
            yield f"line {number}", None, text


def _parquet_entries(path: UPath, table: pa.Table) -> Iterator[tuple[str, str | None, Any]]:
    known = [name for name in table.column_names if name.lower() in _COLUMNS]
    if not known:
        raise UserError(f"removal list {path}: it has none of the columns URL, sample_id and domain (any casing)")
    for name in known:
        for number, value in enumerate(table.column(name).to_pylist()):
            if value is not None:
                yield f"{name} of row {number}", name.lower(), value


def _parsed(text: str, *, names: bool = False) -> list[tuple[str, str]]:
    """What an entry may mean: kinds and canonical spellings. `names`: it is in a column of URLs, so any name is one."""
    bare = text.strip()
    if _SAMPLE_ID.fullmatch(bare.lower()):
        return [("sample_id", bare.lower())]
    if not names and _LIKE_A_SAMPLE_ID.fullmatch(bare):
        raise ValueError(f"{bare[:100]!r} is neither a sample_id, which has 32 hex digits, nor a domain")
    meanings = []
    has_scheme = _SCHEME.match(bare) is not None
    host, name = _canonical(bare)
    if not host and name.rpartition("/")[2] and not (has_scheme and _is_mistyped(bare)):
        meanings.append(("name", name))
    if "/" in bare:
        host, url = _canonical(bare if has_scheme else f"http://{bare.removeprefix('//')}")
        if host:
            meanings.append(("url", url))
    else:
        host, _ = _canonical(f"http://{bare.removeprefix('*').removeprefix('.')}/")
        # A file's name without a folder may look like a domain. A mistyped domain must not count as a name alone.
        meanings = [("domain", host), *meanings] if host else []
    if not meanings:
        raise ValueError(f"{bare[:100]!r} is neither a URL nor a sample_id nor a domain")
    return meanings


def _parsed_sample_id(value: Any) -> list[tuple[str, str]]:
    text = str(value).strip().lower()
    if not _SAMPLE_ID.fullmatch(text):
        raise ValueError(f"{text[:100]!r} is not a sample_id, which has 32 hex digits")
    return [("sample_id", text)]


def _parsed_url(value: Any) -> list[tuple[str, str]]:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")  # noqa: TRY004  # a mistake in the list, like the others
    return _parsed(value, names=True)


def _parsed_domain(value: Any) -> list[tuple[str, str]]:
    """A domain, as such or as a URL of its front page."""
    text = str(value).strip()
    bare = re.sub(r"^(https?:)?//", "", text, flags=re.IGNORECASE).removesuffix("/")
    meanings = [] if "/" in bare or not isinstance(value, str) else _parsed(bare)
    domains = [(kind, entry) for kind, entry in meanings if kind == "domain"]
    if not domains:
        raise ValueError(f"{text[:100]!r} is not a domain")
    return domains


_PARSED: Final = {"sample_id": _parsed_sample_id, "url": _parsed_url, "domain": _parsed_domain}


def _is_mistyped(url: str) -> bool:
    """Whether a text that begins like a URL is not one. As a name it would match no row, so all would be published."""
    if _OTHER_SCHEMES.match(url):
        return False
    try:
        check_url(url)
    except RejectedError as error:
        return error.rejection.reason != Reason.CREDENTIALS_IN_URL
    return False


def _canonical(url: str) -> tuple[str, str]:
    """The host, and the URL without scheme and fragment. For a text that is no such URL: no host, and the text, quoted.

    Spellings that RFC 3986, 6.2.2, calls equivalent become one here. The fetcher requests a URL as the source has it.
    """
    url = _ESCAPE.sub(_unescaped, url)
    try:
        parsed = check_url(url)
    except RejectedError:
        return "", quote(url.strip(), safe="/%", errors="replace")
    raw_host = parsed.raw_host or ""
    host = raw_host.removesuffix(".")
    return host, str(parsed).partition("://")[2].replace(raw_host, host, 1)


def _unescaped(escape: re.Match[str]) -> str:
    """The character that an escape stands for where it needs none, else the escape in upper case."""
    character = chr(int(escape[1], 16))
    return character if character in _UNRESERVED else escape[0].upper()


def _parents(host: str) -> Iterator[str]:
    """The host, and every domain that it is in."""
    while host:
        yield host
        host = host.partition(".")[2]
