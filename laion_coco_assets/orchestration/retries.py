"""Which failures may pass by themselves, and when a stage tries again. Its rows are kept, see `store.writer`."""

from typing import Final

from laion_coco_assets.errors import DeviceMemoryError, StoreUnavailableError, UserError, may_pass_by_itself

#: Seconds before each further try. By then another process has freed its memory or its shard, or a network drive is
#: back; if not, it will take long. A retry policy of the asset would repeat every error, also those outside a shard's
#: work.
WAITS: Final = (10, 20, 40)


def is_transient(error: BaseException) -> bool:
    """Whether the same work may succeed after a while, without any change.

    It may when memory ran out, when another process writes the file, or when a connection or file system failed. All
    other errors would come back: the user's mistakes, and mistakes in the code.
    """
    if isinstance(error, UserError):
        return isinstance(error, (StoreUnavailableError, DeviceMemoryError))
    if isinstance(error, OSError):
        return may_pass_by_itself(error)
    from laion_coco_assets.captioning.batching import is_out_of_memory

    return is_out_of_memory(error)
