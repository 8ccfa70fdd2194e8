"""Writing a file so that it appears at once and whole, on this machine or on any fsspec URL. Nothing here knows stages."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from upath import UPath

_LOCAL: Final = ("", "file", "local")
#: These show an object only when its upload is complete, so no rename is needed.
_OBJECT_STORES: Final = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl")


def is_local(path: UPath) -> bool:
    """Whether the path lies on this machine's own file system."""
    return path.protocol in _LOCAL


@contextmanager
def atomically(path: UPath, scratch_in: UPath | None = None) -> Iterator[Path]:
    """A local file to write. When the block ends normally it appears at `path`; else nothing does.

    The local file lies in a folder of its own: below `scratch_in` (by default beside `path`) if that is on this machine,
    else where this machine keeps temporary files.
    """
    scratch = _scratch_dir(path.parent if scratch_in is None else scratch_in)
    try:
        local = scratch / path.name
        yield local
        publish(local, path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def publish(local: Path, path: UPath) -> None:
    """Move a local file to `path`, where it appears at once and whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if is_local(path):
        with local.open("rb") as stream:
            os.fsync(stream.fileno())
        local.replace(path.path)
    elif path.protocol in _OBJECT_STORES:
        path.fs.put_file(str(local), path.path)
        local.unlink()
    else:
        beside = f"{path.parent.path}/.{path.name}.{uuid.uuid4().hex}"
        path.fs.put_file(str(local), beside)
        path.fs.mv(beside, path.path)
        local.unlink()


def _scratch_dir(folder: UPath) -> Path:
    """A new local folder. `publish` can move a file from it into `folder` at once."""
    if is_local(folder):
        folder.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".writing-", dir=folder.path))
    return Path(tempfile.mkdtemp(prefix="laion-coco-"))
