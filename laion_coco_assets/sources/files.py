"""What file systems tell of files: folder listings, versions, digests of content. Knows no source format."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from upath import UPath

from laion_coco_assets.errors import SourceError

_READ_BYTES: Final = 1 << 20
#: What file systems tell of a file's content without reading it, the surest first.
_VERSIONS: Final = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "updated", "created")


def list_folder(folder: UPath) -> list[tuple[UPath, dict[str, Any]]]:
    """The entries of a folder, with what the listing tells of each: no file is asked one by one. Raises OSError."""
    entries = folder.fs.ls(folder.path, detail=True)
    return [(folder / entry["name"].rstrip("/").rpartition("/")[2], entry) for entry in entries]


def version_of(info: Mapping[str, Any]) -> str:
    """Size, and tag or date, of what a file system tells of a file."""
    tag_or_date = next((info[name] for name in _VERSIONS if info.get(name)), "")
    return f"{info.get('size')} {tag_or_date}"


def version_of_file(path: UPath) -> str:
    """As `version_of`, for one file. Raises SourceError."""
    try:
        return version_of(path.fs.info(path.path))
    except OSError as error:
        raise unreadable(path, error) from None


def content_digest(path: UPath) -> str:
    """First 128 bits, hex, of SHA-256 over a file's content. Raises SourceError."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(_READ_BYTES):
                digest.update(block)
    except OSError as error:
        raise unreadable(path, error) from None
    return digest.hexdigest()[:32]


def unreadable(path: UPath, error: OSError) -> SourceError:
    """The error for a file or folder that the file system does not give."""
    return SourceError(f"{path}: cannot be read: {error.strerror or error}")
