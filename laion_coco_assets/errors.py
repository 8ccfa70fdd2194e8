"""The errors meant for the reader: what happened, to which file, row or setting, and what to do.

Everything here derives from `UserError`; the command line prints its message without a traceback and exits with 2.
"""


class UserError(Exception):
    """Something the user can mend. The message is whole: no traceback is needed to understand it."""


class ProfileError(UserError):
    """A profile that can not be used: names the file and the key."""


class SourceError(UserError):
    """A source shard that can not be read: names the file, and the column or row."""


class StoreError(UserError):
    """A stage file that is missing, foreign or damaged: names the file and the stage that writes it."""


class ModelUnavailableError(UserError):
    """A model that can not be had: which, from where, how large, how to fetch it, which setting names a local copy."""


class DeviceError(UserError):
    """A device or dtype that this machine does not have: names the setting."""
