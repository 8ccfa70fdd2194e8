"""Reading source shards: parquet with LAION's columns in any casing, brought to one schema a batch at a time.

A file may bring its images along in a column; tars and folders of images are read by `image_sources`.
"""

import base64
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from laion_coco_assets.contract.schemas import CARRIED_OVER, SOURCE
from laion_coco_assets.errors import SourceError

_REQUIRED: Final = ("URL", "TEXT")
_BATCH_ROWS: Final = 1024
_WILDCARDS: Final = "*?["
_SUFFIXES: Final = (".parquet", ".tar")
#: What a parquet source's images are called; of several, the first that holds bytes.
_IMAGES: Final = ("image", "jpg", "png", "webp", "bytes")
_IMAGE_BATCH_ROWS: Final = 16
_READ_BYTES: Final = 1 << 20
#: File systems take names of 255 bytes, and what is made of a shard has names that are longer by up to 42.
_KEY_BYTES: Final = 200
_MEND: Final = "put the whole file there, or take it out of the source"
#: img2dataset's `width` and `height` are those after resizing; before those of the picture as it was, this stands.
ORIGINAL: Final = "original_"
#: What file systems tell of a file's content without reading it, the surest first.
_VERSIONS: Final = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "updated", "created")


def sample_id(url: str | None, text: str | None) -> str:
    """First 128 bits, hex, of SHA-256 over URL, NUL, TEXT: what joins every output of every run."""
    material = (url or "").encode() + b"\0" + (text or "").encode()
    return hashlib.sha256(material).hexdigest()[:32]


def list_sources(source: str) -> dict[str, "SourceShard"]:
    """The source shards of a file, a folder or a glob, local or on any fsspec URL, by shard key (the file's stem).

    Raises:
        SourceError: nothing there, two files of one stem, or a stem that can not be a partition key.
    """
    found: dict[str, SourceShard] = {}
    for path, info in _listed(source):
        shard = replace(_shard(path), listed=version_of(info) if info else None)
        key = shard.key
        if not key or "..." in key or any(not char.isprintable() or char in "/\\" for char in key):
            raise SourceError(f"{path}: the file's stem names the shard, and {key!r} can not; rename the file")
        if len(key.encode()) > _KEY_BYTES:
            raise SourceError(
                f"{path}: the file's stem names the shard, with {_KEY_BYTES} bytes at most; rename the file"
            )
        if key in found:
            raise SourceError(f"{path} and {found[key].path} would both be shard {key!r}; rename one, or name a glob")
        found[key] = shard
    return found


def find_source(source: str, key: str) -> "SourceShard | None":
    """One shard of a file, a folder or a glob, without listing the others where it can be told without; None: not there.

    Raises:
        SourceError: as `list_sources`.
    """
    folder, _, pattern = source.rpartition("/")
    if any(char in folder for char in _WILDCARDS) or "**" in pattern:
        return list_sources(source).get(key)
    if "/" in key:
        return None
    try:
        at = UPath(source)
        if any(char in pattern for char in _WILDCARDS):
            names = [f"{key}{suffix}" for suffix in _SUFFIXES if fnmatchcase(f"{key}{suffix}", pattern)]
            candidates = [UPath(folder or ".") / name for name in names]
        else:
            candidates = [at / f"{key}.parquet", at]
        found = [path for path in candidates if path.is_file() and _shard(path).key == key]
        if found and found[0] != at and (at / f"{key}.tar").is_file():
            _in_folder(at)  # raises: says what is wrong
        if not found and at in candidates and at.is_dir():
            # Tars, or images: which of them it holds is told by all that is there.
            found = [path for path, _ in _in_folder(at) if _shard(path).key == key]
    except SourceError:
        raise
    except Exception as error:  # of any file system's client
        raise SourceError(f"source {source!r} can not be read: {error or type(error).__name__}") from error
    return _shard(found[0]) if found else None


def _shard(path: UPath) -> "SourceShard":
    from laion_coco_assets.sources.image_sources import FolderShard, TarShard

    if path.name.endswith(".parquet"):  # most are, so no file system is asked
        return SourceShard(path.name.removesuffix(".parquet"), path)
    if path.name.endswith(".tar"):
        return TarShard(path.name.removesuffix(".tar"), path)
    return FolderShard(path.name, path) if path.is_dir() else SourceShard(path.name, path)


#: What a listing tells of a file: size, and tag or date. None where it tells of a folder.
_Info = dict[str, Any] | None


def list_folder(path: UPath) -> list[tuple[UPath, dict[str, Any]]]:
    """What lies in a folder, with what the listing itself tells of it: no file is asked one by one. Raises OSError."""
    found = path.fs.ls(path.path, detail=True)
    return [(path / each["name"].rstrip("/").rpartition("/")[2], each) for each in found]


def _in_folder(path: UPath) -> list[tuple[UPath, _Info]]:
    """A folder's parquet files; where it has none, its tars; where it has none either, itself if it has images.

    Raises:
        SourceError: a tar with parquet of the same stem beside it.
    """
    from laion_coco_assets.sources.image_sources import FolderShard

    # Hidden ones are no shards: macOS leaves one beside each file that it copies.
    there = [(each, info) for each, info in list_folder(path) if not each.name.startswith(".")]
    names = {each.name for each, _ in there}
    if twice := sorted(name for name in names if name.endswith(".tar") and f"{name[:-4]}.parquet" in names):
        raise SourceError(
            f"{path} has {twice[0]} and {twice[0][:-4]}.parquet, as img2dataset leaves them: "
            f"name '{path}/*.tar' to take the images that are there, or '{path}/*.parquet' to fetch them again"
        )
    for suffix in _SUFFIXES:
        if some := [(each, info) for each, info in there if each.name.endswith(suffix)]:
            return list(some)
    return [(path, None)] if FolderShard.is_one(path) else []


def _listed(source: str) -> list[tuple[UPath, _Info]]:
    found: list[tuple[UPath, _Info]]
    try:
        path = UPath(source)
        path.fs.invalidate_cache()  # clients of object stores keep listings, and a sensor lives for weeks
        if any(char in source for char in _WILDCARDS):
            protocol = f"{path.protocol}://" if path.protocol not in ("", "file", "local") else ""
            matches = path.fs.glob(path.path, detail=True).items()
            found = [
                (UPath(protocol + str(match), **path.storage_options), info)
                for match, info in matches
                if str(match).endswith(_SUFFIXES)
            ]
        elif path.is_dir():
            found = _in_folder(path)
        else:
            found = [(path, None)] if path.exists() else []
    except SourceError:
        raise
    except Exception as error:  # of any file system's client: no such protocol, no package for it, no access, no answer
        raise SourceError(f"source {source!r} can not be listed: {error or type(error).__name__}") from error
    if not found:
        raise SourceError(
            f"source {source!r}: no .parquet file there, nor a tar or images; name a file, a folder or a glob in quotes"
        )
    return sorted(found, key=lambda each: each[0].name)


def version_of(info: Mapping[str, Any]) -> str:
    """Size, and tag or date, of what a file system tells of a file."""
    told = next((info[name] for name in _VERSIONS if info.get(name)), "")
    return f"{info.get('size')} {told}"


@dataclass(frozen=True)
class SourceShard:
    """One source shard; here a parquet file."""

    key: str
    path: UPath
    #: Its version as the listing told it that it was found by.
    listed: str | None = field(default=None, compare=False)

    @property
    def rows(self) -> int:
        """Number of rows; raises SourceError for a file that can not be a source."""
        with self._open() as file:
            return int(file.metadata.num_rows)

    @property
    def version(self) -> str:
        """Size, and tag or date, as the file system tells them: another version may be another content."""
        if self.listed is not None:
            return self.listed
        try:
            return version_of(self.path.fs.info(self.path.path))
        except OSError as error:
            raise SourceError(f"{self.path}: can not be read: {error.strerror or error}") from None

    @property
    def digest(self) -> str:
        """What is in the file (32 hex digits): stages made from other content are stale."""
        digest = hashlib.sha256()
        try:
            with self.path.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise SourceError(f"{self.path}: can not be read: {error.strerror or error}") from None
        return digest.hexdigest()[:32]

    def batches(self, start: int = 0) -> Iterator[pa.RecordBatch]:
        """The rows from `start` on, with schema SOURCE, in batches of bounded size."""
        with self._open() as file:
            image = _image_column(file.schema_arrow)
            read = [name for name in dict.fromkeys(file.schema_arrow.names) if name != image]
            row = 0
            columns: dict[str, int] = {}
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=read if image else None):
                columns = columns or self._columns(batch.schema, images=image is not None)
                if row + batch.num_rows > start:
                    skip = max(0, start - row)
                    yield self._normalise(batch.slice(skip), columns, row + skip)
                row += batch.num_rows

    @property
    def brings_images(self) -> bool:
        """Whether the source has the images themselves, so that none is fetched."""
        with self._open() as file:
            return _image_column(file.schema_arrow) is not None

    def images(self, max_bytes: int) -> Iterator[bytes | None]:
        """The first `max_bytes` bytes of each row's image, in the order of `batches`; None where there is none.

        Only if `brings_images`.
        """
        with self._open() as file:
            column = _image_column(file.schema_arrow)
            for batch in file.iter_batches(batch_size=_IMAGE_BATCH_ROWS, columns=[column]):
                for value in batch.column(0).to_pylist():
                    content = value.get("bytes") if isinstance(value, dict) else value
                    yield None if content is None else content[:max_bytes]

    @contextmanager
    def _open(self) -> Iterator[pq.ParquetFile]:
        try:
            stream = self.path.open("rb")
        except OSError as error:
            raise SourceError(f"{self.path}: can not be read: {error.strerror or error}") from None
        with stream:
            try:
                # Read in pieces: a row group of images may be larger than memory.
                file = pq.ParquetFile(stream, buffer_size=_READ_BYTES)
            except (pa.ArrowInvalid, OSError) as error:
                raise SourceError(f"{self.path}: not a parquet file, or not a whole one; {_MEND} ({error})") from None
            self._columns(file.schema_arrow, images=_image_column(file.schema_arrow) is not None)
            if file.metadata.num_rows == 0:
                raise SourceError(f"{self.path}: has no rows; remove it from the source")
            try:
                yield file
            except pa.ArrowException as error:
                raise SourceError(f"{self.path}: damaged; {_MEND} ({error})") from None

    def _columns(self, schema: pa.Schema, *, images: bool) -> dict[str, int]:
        """Index of each known column: by its own name if it is there, else by that name in another casing.

        `images`: the file brings them along, so its columns may be called as img2dataset calls them.
        """

        def called(name: str) -> list[int]:
            return [i for i, have in enumerate(schema.names) if have.casefold() == name.casefold()]

        columns: dict[str, int] = {}
        for name in (*_REQUIRED, *CARRIED_OVER):
            same = called(name)
            if images and name == "TEXT":
                same = same or called("caption")
            elif images and name in CARRIED_OVER:
                same = called(f"{ORIGINAL}{name}") or same
            exact = [i for i in same if schema.names[i] == name]
            if same:
                columns[name] = (exact or same)[0]
        missing = [name for name in _REQUIRED if name not in columns]
        if missing:
            have = ", ".join(schema.names) or "none"
            raise SourceError(f"{self.path}: no column {' and '.join(missing)} (any casing); its columns are: {have}")
        return columns

    def _normalise(self, batch: pa.RecordBatch, columns: dict[str, int], first_row: int) -> pa.RecordBatch:
        known: dict[str, pa.Array] = {}
        extra = {name: i for i, name in enumerate(batch.schema.names) if i not in columns.values()}
        for name in _REQUIRED:
            known[name] = self._strings(batch.column(columns[name]), name)
        for name, type_ in CARRIED_OVER.items():
            if name not in columns:
                known[name] = pa.nulls(batch.num_rows, type_)
                continue
            column = batch.column(columns[name])
            known[name] = _numbers(column, type_)
            if known[name].null_count > column.null_count:
                extra[name] = columns[name]  # what is no such number is kept as it came
        pairs = zip(known["URL"].to_pylist(), known["TEXT"].to_pylist(), strict=True)
        known["row"] = pa.array(range(first_row, first_row + batch.num_rows), pa.int64())
        known["sample_id"] = pa.array([sample_id(url, text) for url, text in pairs], pa.string())
        known["source_extra"] = _extra(batch, extra)
        return pa.RecordBatch.from_arrays([known[name] for name in SOURCE.names], schema=SOURCE)

    def _strings(self, column: pa.Array, name: str) -> pa.Array:
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        type_ = column.type
        textual = pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_)
        if not (textual or pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or pa.types.is_null(type_)):
            raise SourceError(f"{self.path}: column {name} is {type_}; it must be text")
        try:
            strings = column.cast(pa.string())
            strings.validate(full=True)
        except pa.ArrowInvalid:  # not UTF-8: keep the row, mark what could not be read
            raw = column.cast(pa.binary()).to_pylist()
            return pa.array([None if each is None else each.decode("utf-8", "replace") for each in raw], pa.string())
        return strings


def _image_column(schema: pa.Schema) -> str | None:
    """The column of image bytes, plain or as Hugging Face's structs of bytes and path; None without one."""
    for name in _IMAGES:
        for each in schema:
            type_ = each.type
            if pa.types.is_struct(type_) and type_.get_field_index("bytes") >= 0:
                type_ = type_.field("bytes").type
            if each.name.casefold() == name and (pa.types.is_binary(type_) or pa.types.is_large_binary(type_)):
                return str(each.name)
    return None


def _numbers(column: pa.Array, type_: pa.DataType) -> pa.Array:
    """Int, float or text to `type_`; null where it is no such number. Unsigned keys of the 64-bit hash keep their bits."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_integer(column.type):
        return column.cast(type_, safe=False)
    return pa.array([number(value, pa.types.is_integer(type_)) for value in _values(column)], type_)


def number(value: Any, whole: bool) -> int | float | None:
    try:
        if whole and isinstance(value, str):
            try:
                number: int | float = int(value)
            except ValueError:
                number = round(float(value))
        else:
            number = round(value) if whole else float(value)
    except (TypeError, ValueError, OverflowError):  # text, NaN, infinity, a list
        return None
    fits = -(1 << 63) <= number < 1 << 63 if whole else math.isfinite(number)
    return number if fits else None


def _extra(batch: pa.RecordBatch, columns: dict[str, int]) -> pa.Array:
    if not columns:
        return pa.nulls(batch.num_rows, pa.string())
    values = zip(*(_values(batch.column(i)) for i in columns.values()), strict=True)
    rows = ({name: plain(value) for name, value in zip(columns, row, strict=True)} for row in values)
    return pa.array([json.dumps(row, ensure_ascii=False) for row in rows], pa.string())


def _values(column: pa.Array) -> list[Any]:
    """Python values; those that Python can not hold (text that is not UTF-8, times before year 1) as readable text."""
    try:
        return list(column.to_pylist())
    except (UnicodeDecodeError, pa.ArrowException, ValueError, OverflowError):
        return [_value(each) for each in column]


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except (UnicodeDecodeError, pa.ArrowException, ValueError, OverflowError):
        if hasattr(scalar, "as_buffer"):
            return scalar.as_buffer().to_pybytes().decode("utf-8", "replace")
        return str(getattr(scalar, "value", scalar.type))


def plain(value: Any) -> Any:
    """A value that JSON has: bytes as base64, not-a-number as null, times and decimals as text."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case bytes():
            return base64.b64encode(value).decode()
        case dict():
            return {str(key): plain(each) for key, each in value.items()}
        case list() | tuple():
            return [plain(each) for each in value]
        case _:
            return str(value)
