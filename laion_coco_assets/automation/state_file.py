"""Files in which schedules keep what their ticks have read: the daemon starts a new code server every minute.

What a file holds is decided by the caches that use it: `materialisations`, `attempts` and `fetched_files`.
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

#: Below the instance's own folder: storage ids of events have a meaning in that instance alone. Not in its `storage`,
#: whose folders are those of runs and may be deleted.
_FOLDER: Final = "laion_coco"
_ABANDONED_S: Final = 3600.0


class State(BaseModel):
    """What a file holds; by default nothing. Subclasses add their fields."""

    model_config = ConfigDict(extra="forbid")

    #: Raise it when fields get another meaning: the state of an older version is then dropped.
    version: Literal[1] = 1


StateT = TypeVar("StateT", bound=State)


class StateFile(Generic[StateT]):
    """One JSON file beside the instance. When it cannot be read or written, events are read again; the tick goes on."""

    def __init__(self, name: str, kind: type[StateT]) -> None:
        self._name = name
        self._kind = kind
        self._path: Path | None = None
        self._version: tuple[int, int] | None = None  # of the file, as this process last read or wrote it

    def load(self, instance: dg.DagsterInstance, log: logging.Logger, scope: str = "") -> StateT | None:
        """The file's state; None when this process has read or written the same before.

        `scope` names what the state is about, where one instance may have several such files.
        """
        path = self._file(instance, scope)
        same_path, self._path = path == self._path, path
        try:
            version = _version(path)
            if same_path and version == self._version:
                return None
            self._version = version
            return self._kind.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            pass  # nothing was saved yet, or it could not be written
        except (OSError, ValueError) as error:
            log.warning(f"{path} cannot be used; the next ticks read its content again, part by part: {_brief(error)}")
        return None if same_path else self._kind()

    def save(self, instance: dg.DagsterInstance, log: logging.Logger, state: StateT, scope: str = "") -> None:
        """Write the state, whole or not at all. When two processes save at once, the last one's state stays."""
        path = self._file(instance, scope)
        try:
            with atomically(UPath(path)) as scratch:
                scratch.write_text(state.model_dump_json(), encoding="utf-8")
            self._version = _version(path)
            _sweep(path.parent)
        except (OSError, ValueError) as error:
            log.warning(
                f"{path} cannot be written; after this process has ended, what this tick read is read again: {error}"
            )

    def _file(self, instance: dg.DagsterInstance, scope: str) -> Path:
        suffix = f"-{hashlib.sha256(scope.encode()).hexdigest()[:16]}" if scope else ""
        return Path(instance.root_directory) / _FOLDER / f"{self._name}{suffix}.json"


def _version(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def _sweep(folder: Path) -> None:
    """Delete what processes left that were killed while they wrote."""
    for scratch in folder.glob(".writing-*"):
        with suppress(FileNotFoundError):  # another process has just finished
            if time.time() - scratch.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(scratch, ignore_errors=True)


def _brief(error: Exception) -> str:
    return str(error).partition("\n")[0]
