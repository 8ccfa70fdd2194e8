"""Settings as a fingerprint takes them: plain values. A local model counts by its content, not by its path."""

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

_BLOCK: Final = 1 << 16
_BLOCKS: Final = 64


def plain_settings(section: BaseModel | None) -> dict[str, Any] | None:
    """A profile's section as plain values, with a hash of a local model's files. None without the section."""
    if section is None:
        return None
    settings = section.model_dump(mode="json")
    model = getattr(section, "model", None)
    if model is not None and model.path is not None:
        # The other keys still decide how the weights are used: CLIP's `pretrained` tells QuickGELU from GELU.
        own = model.model_dump(mode="json", exclude={"path", "revision"})
        settings["model"] = own | {"content": content_digest(model.path)}
    return settings


def content_digest(path: Path) -> str:
    """Hash (32 hex digits) of a file's or folder's content. Its path and its date do not matter.

    Files up to 4 MiB are read whole. Of a larger file, the length and 64 blocks of 64 KiB are hashed, spread evenly
    from its first byte to its last. New weights change all of them, and definitions that name 7 GB of models still load
    fast.
    """
    digest = hashlib.sha256()
    for name, file in _files(path):
        stat = file.stat()
        digest.update(f"{name}\0{stat.st_size}\0".encode())
        digest.update(_file_digest(file, stat.st_size, stat.st_mtime_ns))
    return digest.hexdigest()[:32]


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        yield "", path
        return
    for file in sorted(path.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
        if file.is_file() and not hidden and file.suffix != ".md":
            yield file.relative_to(path).as_posix(), file


@lru_cache(maxsize=1024)
def _file_digest(file: Path, size: int, _mtime_ns: int) -> bytes:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        if size <= _BLOCK * _BLOCKS:
            digest.update(stream.read())
        else:
            for i in range(_BLOCKS):
                stream.seek((size - _BLOCK) * i // (_BLOCKS - 1))
                digest.update(stream.read(_BLOCK))
    return digest.digest()
