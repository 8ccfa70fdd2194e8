"""How a file appears at once and whole, on this machine or on any fsspec URL. Knows nothing of stages."""

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
#: An object appears there only when its upload is complete, so no rename is needed.
_OBJECT_STORES: Final = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl")


def is_local(path: UPath) -> bool:
    """Whether it lies on this machine's own file system."""
    return path.protocol in _LOCAL


@contextmanager
def atomically(path: UPath, scratch_in: UPath | None = None) -> Iterator[Path]:
    """A local file to write; when the block ends normally it appears at `path`, else nothing does.

    It is written in a folder of its own below `scratch_in`, by default beside `path`, or for what is not local wherever
    this machine keeps temporary files.
    """
    scratch = _scratch_dir(path.parent if scratch_in is None else scratch_in)
    try:
        local = scratch / path.name
        yield local
        publish(local, path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def publish(local: Path, path: UPath) -> None:
    """Make a local file appear at `path` at once and whole; the local one is gone afterwards."""
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
    """A local folder from which `publish` can move a file to `folder`'s file system at once."""
    if is_local(folder):
        folder.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".writing-", dir=folder.path))
    return Path(tempfile.mkdtemp(prefix="laion-coco-"))
