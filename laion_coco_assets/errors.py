"""The errors meant for the reader: what happened, to which file, row or setting, and what to do.

Everything here derives from `UserError`; the command line prints its message without a traceback and exits with 2.
"""

import errno
from typing import Final

_PASSING: Final = frozenset(
    getattr(errno, name)
    for name in ("EAGAIN", "EBUSY", "EINTR", "EIO", "ENETDOWN", "ENETUNREACH", "EHOSTUNREACH", "ESTALE", "ETIMEDOUT")
    if hasattr(errno, name)  # Windows lacks some
)


class UserError(Exception):
    """Something the user can mend. The message is whole: no traceback is needed to understand it."""


class ProfileError(UserError):
    """A profile that can not be used: names the file and the key."""


class SourceError(UserError):
    """A source shard that can not be read: names the file, and the column or row."""


class StoreError(UserError):
    """A stage file that is missing, foreign or damaged: names the file and the stage that writes it."""


class StoreUnavailableError(StoreError):
    """A stage file that can not be had just now: another process writes it, or its file system failed."""


class ModelUnavailableError(UserError):
    """A model that can not be had: which, from where, how large, how to fetch it, which setting names a local copy."""


class DeviceError(UserError):
    """A device or dtype that this machine does not have: names the setting."""


class DeviceMemoryError(DeviceError):
    """Not even the smallest piece of work fits into what is free of the device's memory just now."""


def may_pass_by_itself(error: OSError) -> bool:
    """Whether it speaks of a connection or file system that failed, and not of what is or is not there."""
    return isinstance(error, (ConnectionError, TimeoutError)) or error.errno in _PASSING
