"""File descriptors: as many as the system grants this process, and the error for the user when they run out."""

import errno
import socket
from contextlib import suppress
from typing import Final

from laion_coco_assets.errors import UserError

try:
    import resource
except ImportError:  # not POSIX: no such limit
    resource = None  # type: ignore[assignment]

_SHORTAGE_ERRORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
#: More than any `concurrency` asks for; some systems grant a thousand million, which child processes would go through.
_ENOUGH: Final = 65_536


def raise_limit() -> None:
    """Lets this process open as many files as its hard limit grants: the soft one is made for programs that open few."""
    if resource is not None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            with suppress(OSError, ValueError):  # macOS has another limit below the one it names
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def shortage() -> OSError | None:
    """The system's error if it has no socket left for this process just now. For libraries that do not report it."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
    except OSError as error:
        return error if error.errno in _SHORTAGE_ERRORS else None
    return None


def shortage_error(error: OSError) -> UserError | None:
    """The error for the user if this machine has no socket, pipe or memory left: no server's fault, and no row's."""
    if error.errno not in _SHORTAGE_ERRORS:
        return None
    return UserError(
        f"this machine has too few sockets or files for so many requests at once ({errno.errorcode[error.errno]}): "
        "raise the limit (`ulimit -n`), or lower --fetch-concurrency (LAION_COCO_FETCH_CONCURRENCY)"
    )
