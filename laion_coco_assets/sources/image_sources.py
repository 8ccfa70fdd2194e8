"""Source shards that bring their images along: a WebDataset tar, as img2dataset writes it, or a folder of image files."""

import hashlib
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import IO, Any, Final, Self
from urllib.parse import quote

import pyarrow as pa
from upath import UPath

from laion_coco_assets.contract.schemas import CARRIED_OVER, SOURCE
from laion_coco_assets.errors import SourceError
from laion_coco_assets.sources.source import ORIGINAL, SourceShard, list_folder, number, plain, sample_id, version_of

#: Extensions that pictures go by, more than are supported: a picture that is not kept has its reason in the row.
PICTURES: Final = frozenset(
    {
        "jpg",
        "jpeg",
        "jpe",
        "jfif",
        "png",
        "webp",
        "gif",
        "avif",
        "bmp",
        "tif",
        "tiff",
        "heic",
        "heif",
        "jxl",
        "jp2",
        "svg",
    }
)
_TEXTS: Final = ("txt", "json")
_MAX_TEXT_BYTES: Final = 1 << 20
_BATCH_ROWS: Final = 256


@dataclass
class Sample:
    """An image with its caption and record, as far as they are there. `name`, quoted, stands for the URL where there is none."""

    name: str
    image: bytes | None = None
    texts: dict[str, bytes] = field(default_factory=dict)  # by extension: txt, json


@dataclass(frozen=True)
class _Samples(SourceShard):
    """What tar and folder share: a row for each sample, in their order."""

    def samples(self, max_bytes: int) -> Iterator[Sample]:
        """All samples, of each image at most `max_bytes` bytes. Raises SourceError."""
        raise NotImplementedError

    @property
    def rows(self) -> int:
        """Number of samples; raises SourceError for what can not be a source."""
        rows = sum(1 for _ in self.samples(0))
        if rows == 0:
            raise SourceError(f"{self.path}: has no samples; remove it from the source")
        return rows

    @property
    def brings_images(self) -> bool:
        """They always do."""
        return True

    def images(self, max_bytes: int) -> Iterator[bytes | None]:
        """See `SourceShard.images`."""
        return (each.image for each in self.samples(max_bytes))

    def batches(self, start: int = 0) -> Iterator[pa.RecordBatch]:
        """The rows from `start` on, with schema SOURCE, in batches of bounded size."""
        rows = (_row(i, sample) for i, sample in islice(enumerate(self.samples(0)), start, None))
        while some := list(islice(rows, _BATCH_ROWS)):
            yield pa.RecordBatch.from_pylist(some, schema=SOURCE)


@dataclass(frozen=True)
class TarShard(_Samples):
    """A WebDataset tar. Members of one name up to the first dot, one behind the other, are a sample.

    Of several images there each is a sample, with the same texts, as in a folder.
    """

    def samples(self, max_bytes: int) -> Iterator[Sample]:
        """See `_Samples`."""
        try:
            with self.path.open("rb") as stream, tarfile.open(fileobj=stream, mode="r:", tarinfo=_Header) as tar:
                members = ((*_split(member.name), member) for member in _members(tar) if member.isfile())
                for key, files in groupby(members, lambda each: each[0]):
                    if key.rpartition("/")[2].startswith("__"):
                        continue  # metadata, by WebDataset's convention
                    sample = Sample(f"{self.path.name}/{key}")
                    further = []  # read when it is their turn: one image at a time is in memory
                    for _, extension, member in files:
                        if extension in PICTURES and sample.image is not None:
                            further.append(member)
                        elif extension in PICTURES:
                            sample.name = f"{self.path.name}/{member.name}"
                            sample.image = _read(tar, member, max_bytes)
                        elif extension in _TEXTS:
                            sample.texts[extension] = _read(tar, member, _MAX_TEXT_BYTES)
                    yield sample
                    for member in further:
                        name = f"{self.path.name}/{member.name}"
                        yield Sample(name, _read(tar, member, max_bytes), sample.texts)
                _require_end(stream, tar.offset)
        except (tarfile.TarError, EOFError, OSError, ValueError) as error:
            raise SourceError(f"{self.path}: not a whole tar file: {error}") from None


@dataclass(frozen=True)
class FolderShard(_Samples):
    """A folder of image files, by name; files of the same stem with `.txt` or `.json` go with them. No folders below."""

    @staticmethod
    def is_one(path: UPath) -> bool:
        """Whether there is an image file in the folder."""
        return any(_extension(each.name) in PICTURES for each in path.iterdir())

    @property
    def version(self) -> str:
        """Number of files, and a digest of what the listing tells of each."""
        versions = [(path.name, version_of(info)) for path, info in self._listed()]
        return f"{len(versions)} files {hashlib.sha256(repr(versions).encode()).hexdigest()[:16]}"

    @property
    def digest(self) -> str:
        """What is in the files, under which names (32 hex digits)."""
        digest = hashlib.sha256()
        for each in self._files():
            content = SourceShard(each.name, each).digest
            digest.update(f"{content} {each.name}\0".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()[:32]

    def samples(self, max_bytes: int) -> Iterator[Sample]:
        """See `_Samples`."""
        files = self._files()
        there = {each.name: each for each in files}
        try:
            for each in files:
                if _extension(each.name) not in PICTURES:
                    continue
                stem = each.name.rpartition(".")[0]
                sample = Sample(f"{self.path.name}/{each.name}")
                sample.image = _head(each, max_bytes)
                beside = {text: there[f"{stem}.{text}"] for text in _TEXTS if f"{stem}.{text}" in there}
                sample.texts = {text: _head(path, _MAX_TEXT_BYTES) for text, path in beside.items()}
                yield sample
        except OSError as error:
            raise SourceError(f"{self.path}: can not be read: {error.strerror or error}") from None

    def _files(self) -> list[UPath]:
        return [path for path, _ in self._listed()]

    def _listed(self) -> list[tuple[UPath, dict[str, Any]]]:
        wanted = PICTURES.union(_TEXTS)
        try:
            there = list_folder(self.path)
        except OSError as error:
            raise SourceError(f"{self.path}: can not be read: {error.strerror or error}") from None
        return sorted((each for each in there if _extension(each[0].name) in wanted), key=lambda each: each[0].name)


def _split(name: str) -> tuple[str, str]:
    """Key and extension as WebDataset tells them: the base name up to its first dot, with its folder, and the rest."""
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return f"{folder}{slash}{stem}", extension.lower()


def _extension(name: str) -> str:
    """Of a file in a folder: what is behind its last dot; empty without one."""
    return name.rpartition(".")[2].lower() if "." in name else ""


class _Header(tarfile.TarInfo):
    """A member's header, refused where its size would lead backwards, or further headers' sizes into all of memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """As tarfile calls it; raises HeaderError."""
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or (header.type not in tarfile.REGULAR_TYPES and header.size > _MAX_TEXT_BYTES):
            raise tarfile.HeaderError(f"a header speaks of {header.size} bytes")
        return header


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """One behind the other, none kept: tarfile itself would keep all. Raises ReadError for one of negative size."""
    while (member := tar.next()) is not None:
        tar.members = []  # type: ignore[attr-defined]  # documented by its uses alone
        if member.size < 0:  # by an extended header: the next member would be an earlier one, for ever (CVE-2025-8194)
            raise tarfile.ReadError(f"{member.name!r} has {member.size} bytes")
        yield member


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo, at_most: int) -> bytes:
    stream = tar.extractfile(member)
    return b"" if stream is None else stream.read(min(at_most, member.size))


def _require_end(stream: IO[bytes], offset: int) -> None:
    """Raises ReadError unless the archive ends at `offset`: tarfile takes a damaged or missing header for the end."""
    stream.seek(offset)
    block = stream.read(tarfile.BLOCKSIZE)
    whole = len(block) == tarfile.BLOCKSIZE
    while block and not any(block):
        block = stream.read(1 << 20)
    if block or not whole:
        raise tarfile.ReadError(f"no member and no end of the archive at byte {offset}")


def _head(path: UPath, at_most: int) -> bytes:
    with path.open("rb") as stream:
        return bytes(stream.read(at_most))


def _row(i: int, sample: Sample) -> dict[str, Any]:
    """The row of SOURCE. URL and caption are img2dataset's, where the record has them; the `.txt` goes before."""
    record = _record(sample.texts.get("json"))
    names = {name.casefold(): name for name in reversed(list(record))}
    url, text = (_text(record, names, *known) for known in (("url",), ("text", "caption")))
    if "txt" in sample.texts:
        text = sample.texts["txt"].decode("utf-8", "replace").strip()
    # As in a URL: names stay distinct where a URL's fragment is cut off, and bytes that are no text are text.
    url = url or quote(sample.name, errors="surrogateescape")
    row: dict[str, Any] = {"row": i, "sample_id": sample_id(url, text), "URL": url, "TEXT": text}
    for name, type_ in CARRIED_OVER.items():
        # img2dataset's own width is that after resizing.
        given = names.get(f"{ORIGINAL}{name}".casefold()) or names.get(name.casefold())
        row[name] = None
        if given is not None:
            row[name] = number(record[given], pa.types.is_integer(type_))
        if given is not None and row[name] is not None:
            del record[given]
    return row | {"source_extra": json.dumps(record) if record else None}


def _text(record: dict[str, Any], names: dict[str, str], *known: str) -> str | None:
    for name in known:
        value = record[names[name]] if name in names else None
        if isinstance(value, str):
            del record[names[name]]
            return _clean(value)
    return None


def _clean(text: str) -> str:
    """JSON may hold halves of characters, which parquet can not."""
    return text.encode(errors="replace").decode()


def _record(content: bytes | None) -> dict[str, Any]:
    """The JSON object; an empty one where there is none, or one nested too deep to be written again."""
    try:
        record = plain(json.loads(content or b"{}"))
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}
