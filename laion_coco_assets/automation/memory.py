"""How what a schedule's ticks have read outlives the process: the daemon starts a new code server every minute.

What is kept is the business of whoever reads it: `events`, `attempts` and `fetched_files`.
"""

import hashlib
import logging
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Generic, Literal, TypeVar

import dagster as dg
from pydantic import BaseModel, ConfigDict
from upath import UPath

from laion_coco_assets.store.atomic import atomically

#: Below the instance's own folder, since storage ids of events mean something to that instance alone. Not in its
#: `storage`, whose folders are those of runs and may be deleted.
_FOLDER: Final = "laion_coco"
_ABANDONED_S: Final = 3600.0


class Kept(BaseModel):
    """What a file holds; by default nothing. Subclasses say of what."""

    model_config = ConfigDict(extra="forbid")

    #: To be raised when what is kept means something else: what an older version kept is forgotten.
    version: Literal[1] = 1


KeptT = TypeVar("KeptT", bound=Kept)


class Memory(Generic[KeptT]):
    """One JSON file with the instance. One that can not be read or written costs reading anew, never the tick."""

    def __init__(self, name: str, kind: type[KeptT]) -> None:
        self._name = name
        self._kind = kind
        self._path: Path | None = None
        self._version: tuple[int, int] | None = None  # of the file, as this process read or wrote it last

    def recall(self, instance: dg.DagsterInstance, log: logging.Logger, of: str = "") -> KeptT | None:
        """What the file holds, if that is not what this process read from it or wrote to it last.

        `of` names what it is about, where one instance may have several of them.
        """
        path = self._file(instance, of)
        same, self._path = path == self._path, path
        try:
            version = _version(path)
            if same and version == self._version:
                return None
            self._version = version
            return self._kind.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            pass  # nothing was kept yet, or it could not be written
        except (OSError, ValueError) as error:
            log.warning(f"{path} can not be used, so what it told is read anew, a part in each tick: {_brief(error)}")
        return None if same else self._kind()

    def keep(self, instance: dg.DagsterInstance, log: logging.Logger, kept: KeptT, of: str = "") -> None:
        """Put it into the file, whole or not at all; of two processes at once the last one's stays."""
        path = self._file(instance, of)
        try:
            with atomically(UPath(path)) as scratch:
                scratch.write_text(kept.model_dump_json(), encoding="utf-8")
            self._version = _version(path)
            _sweep(path.parent)
        except (OSError, ValueError) as error:
            log.warning(
                f"{path} can not be written, so what this tick read is read again when the process has ended: {error}"
            )

    def _file(self, instance: dg.DagsterInstance, of: str) -> Path:
        which = f"-{hashlib.sha256(of.encode()).hexdigest()[:16]}" if of else ""
        return Path(instance.root_directory) / _FOLDER / f"{self._name}{which}.json"


def _version(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


def _sweep(folder: Path) -> None:
    """Delete what processes left that were killed while they wrote."""
    for scratch in folder.glob(".writing-*"):
        with suppress(FileNotFoundError):  # another process has just finished
            if time.time() - scratch.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(scratch, ignore_errors=True)


def _brief(error: Exception) -> str:
    return str(error).partition("\n")[0]
