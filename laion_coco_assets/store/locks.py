"""Lock files, which keep two processes on one machine from writing the same file. Elsewhere, and off POSIX, nothing does."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from upath import UPath

from laion_coco_assets.errors import StoreUnavailableError
from laion_coco_assets.store.atomic import is_local

try:
    import fcntl
except ImportError:  # not POSIX: writers are not kept apart
    fcntl = None  # type: ignore[assignment]


@contextmanager
def locked(lock: UPath, written: UPath) -> Iterator[None]:
    """Hold the lock file `lock`; only its holder writes `written`.

    The operating system releases the lock when the process dies, however it dies.

    Raises:
        StoreUnavailableError: another process holds it.
    """
    if not is_local(lock) or fcntl is None:
        yield
        return
    lock.parent.mkdir(parents=True, exist_ok=True)
    with Path(lock.path).open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreUnavailableError(
                f"{written} is being written by another process; wait for it, or stop it"
            ) from None
        yield
