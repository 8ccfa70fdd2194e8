"""The errors that users read. Each names what happened, the file, row or setting, and what to do.

All of them derive from `UserError`. The command line prints its message without a traceback and exits with 2.
"""

import errno
from typing import Final

_PASSING: Final = frozenset(
    getattr(errno, name)
    for name in ("EAGAIN", "EBUSY", "EINTR", "EIO", "ENETDOWN", "ENETUNREACH", "EHOSTUNREACH", "ESTALE", "ETIMEDOUT")
    if hasattr(errno, name)  # Windows lacks some
)


class UserError(Exception):
    """Something that the user can fix. The message is complete: no traceback is needed to understand it."""


class ProfileError(UserError):
    """A profile that cannot be used: names the file and the key."""


class SourceError(UserError):
    """A source shard that cannot be read: names the file, and the column or row."""


class StoreError(UserError):
    """A stage file that is missing, damaged or not ours: names the file and the stage that writes it."""


class StoreUnavailableError(StoreError):
    """A stage file that is not available now: another process is writing it, or its file system failed."""


class ModelUnavailableError(UserError):
    """A model that is not available.

    Names the model, where it comes from, its size, the command that fetches it and the setting for a local copy.
    """


class DeviceError(UserError):
    """A device or dtype that this machine does not have: names the setting."""


class DeviceMemoryError(DeviceError):
    """Not even the smallest piece of work fits into the device's free memory."""


def may_pass_by_itself(error: OSError) -> bool:
    """Whether the cause is a failed connection or file system, rather than a file that does or does not exist."""
    return isinstance(error, (ConnectionError, TimeoutError)) or error.errno in _PASSING
