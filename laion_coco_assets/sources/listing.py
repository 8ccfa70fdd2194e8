"""Finding the shards of a source: a file, a folder or a glob, local or on any fsspec URL.

Formats come from the registry, and from `formats`: further format classes, which go before those of the registry.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Final

from upath import UPath

from laion_coco_assets.errors import SourceError
from laion_coco_assets.sources.files import list_folder, version_of
from laion_coco_assets.sources.formats import DEFAULT_FORMAT, FORMATS
from laion_coco_assets.sources.protocol import SourceShard

_WILDCARDS: Final = "*?["
#: File systems take names of 255 bytes; names of files made from a shard are longer than its key, by up to 42 bytes.
_KEY_BYTES: Final = 200

_Formats = Sequence[type[SourceShard]]


def list_sources(source: str, formats: _Formats = ()) -> dict[str, SourceShard]:
    """The source shards by key (the file's name without its ending), in order of file names.

    Raises:
        SourceError: no shards, two shards of one key, or a key that cannot be a partition key.
    """
    shards: dict[str, SourceShard] = {}
    for shard in _list(source, (*formats, *FORMATS)):
        _require_partition_key(shard)
        if earlier := shards.get(shard.key):
            raise SourceError(
                f"{shard.path} and {earlier.path} would both be shard {shard.key!r}; rename one, or name a glob"
            )
        shards[shard.key] = shard
    return shards


def find_source(source: str, key: str, formats: _Formats = ()) -> SourceShard | None:
    """One shard, without listing the others if that is not needed; None if the source does not have it.

    Raises:
        SourceError: as `list_sources`.
    """
    folder, _, pattern = source.rpartition("/")
    if _is_glob(folder) or "**" in pattern:
        return list_sources(source, formats).get(key)
    if "/" in key:
        return None
    known = (*formats, *FORMATS)
    try:
        if _is_glob(pattern):
            return _find_by_pattern(UPath(folder or "."), pattern, key, known)
        return _find(UPath(source), key, known)
    except SourceError:
        raise
    except Exception as error:  # of any file system's client
        raise SourceError(f"source {source!r} cannot be read: {error or type(error).__name__}") from error


def _is_glob(source: str) -> bool:
    return any(char in source for char in _WILDCARDS)


def _require_partition_key(shard: SourceShard) -> None:
    key = shard.key
    if not key or "..." in key or any(not char.isprintable() or char in "/\\" for char in key):
        raise SourceError(f"{shard.path}: the file's stem names the shard, and {key!r} cannot; rename the file")
    if len(key.encode()) > _KEY_BYTES:
        raise SourceError(
            f"{shard.path}: the file's stem names the shard, with {_KEY_BYTES} bytes at most; rename the file"
        )


def _list(source: str, formats: _Formats) -> list[SourceShard]:
    try:
        path = UPath(source)
        path.fs.invalidate_cache()  # clients of object stores keep listings, and a sensor lives for weeks
        if _is_glob(source):
            shards = _in_glob(path, formats)
        elif path.is_dir():
            shards = _in_folder(path, formats)
        else:
            shards = [_open_file(path, formats)] if path.exists() else []
    except SourceError:
        raise
    except Exception as error:  # of any file system's client: no such protocol, no package for it, no access, no answer
        raise SourceError(f"source {source!r} cannot be listed: {error or type(error).__name__}") from error
    if not shards:
        descriptions = "; ".join(format_.description for format_ in formats if format_.description)
        raise SourceError(
            f"source {source!r} does not exist, or has no shards; name a file, a folder or a glob in quotes. "
            f"Shards are: {descriptions}"
        )
    return sorted(shards, key=lambda shard: shard.path.name)


def _in_glob(glob: UPath, formats: _Formats) -> list[SourceShard]:
    protocol = f"{glob.protocol}://" if glob.protocol not in ("", "file", "local") else ""
    suffixes = _suffixes(formats)
    return [
        _open_file(UPath(protocol + str(match), **glob.storage_options), formats, version_of(info) if info else None)
        for match, info in glob.fs.glob(glob.path, detail=True).items()
        if str(match).endswith(suffixes)
    ]


def _in_folder(folder: UPath, formats: _Formats) -> list[SourceShard]:
    """The files of the first format that has any; where a format before it takes whole folders, the folder itself.

    Raises:
        SourceError: files of one key.
    """
    suffixes = _suffixes(formats)
    shards = [
        _open_file(path, formats, version_of(info))
        for path, info in list_folder(folder)
        # Hidden files are no shards: macOS leaves one beside each file that it copies.
        if not path.name.startswith(".") and path.name.endswith(suffixes)
    ]
    _require_one_file_a_key(folder, shards)
    for format_ in formats:
        if of_format := [shard for shard in shards if type(shard) is format_]:
            return of_format
        if format_.takes_folder(folder):
            return [format_(folder.name, folder)]
    return []


def _require_one_file_a_key(folder: UPath, shards: Iterable[SourceShard]) -> None:
    """A folder has the files of one format: img2dataset leaves parquet without images beside its tars."""
    by_key = defaultdict(list)
    for shard in shards:
        by_key[shard.key].append(shard)
    for key, same in sorted(by_key.items()):
        if len(same) > 1:
            same.sort(key=lambda shard: shard.path.name)
            names = " and ".join(shard.path.name for shard in same)
            choices = " or ".join(
                f"'{folder}/*{shard.path.name.removeprefix(key)}' ({shard.description})" for shard in same
            )
            raise SourceError(f"{folder} has {names}, which would both be shard {key!r}; name {choices}")


def _find_by_pattern(folder: UPath, pattern: str, key: str, formats: _Formats) -> SourceShard | None:
    names = [f"{key}{suffix}" for suffix in _suffixes(formats) if fnmatchcase(f"{key}{suffix}", pattern)]
    return _first_of([folder / name for name in names], key, formats)


def _find(path: UPath, key: str, formats: _Formats) -> SourceShard | None:
    """In a folder, or the file itself. Files of the first format go before all others, so no listing is needed for them."""
    shard = _first_of([*(path / f"{key}{suffix}" for suffix in formats[0].suffixes), path], key, formats)
    if shard is not None:
        others = [path / f"{key}{suffix}" for suffix in _suffixes(formats)] if shard.path != path else []
        if any(other.is_file() for other in others if other != shard.path):
            _in_folder(path, formats)  # raises: two files of one key
        return shard
    if not path.is_dir():
        return None
    # A client may have this listing from earlier, so the version is not taken from it.
    return next((replace(shard, listed=None) for shard in _in_folder(path, formats) if shard.key == key), None)


def _first_of(paths: Iterable[UPath], key: str, formats: _Formats) -> SourceShard | None:
    for path in paths:
        if path.is_file() and (shard := _open_file(path, formats)).key == key:
            return shard
    return None


def _open_file(path: UPath, formats: _Formats, listed: str | None = None) -> SourceShard:
    for format_ in formats:
        for suffix in format_.suffixes:
            if path.name.endswith(suffix):
                return format_(path.name.removesuffix(suffix), path, listed)
    return DEFAULT_FORMAT(path.name, path, listed)


def _suffixes(formats: _Formats) -> tuple[str, ...]:
    return tuple(suffix for format_ in formats for suffix in format_.suffixes)
