"""Which failures may pass by themselves, and how a stage tries again. What it made before stays: see `shards.writer`."""

from typing import Final

from laion_coco_assets.errors import DeviceMemoryError, StoreUnavailableError, UserError, may_pass_by_itself

#: Seconds before each further try: a neighbour's memory, a network drive, the process before this one are back by then,
#: or not soon. A retry policy of the asset would try any error again, the ones outside of a shard's work too.
WAITS: Final = (10, 20, 40)


def is_transient(error: BaseException) -> bool:
    """Whether the same work may succeed in a while with nothing mended.

    That is memory that ran out, a file that another process writes, a connection or file system that failed. All else
    would fail again: what the user has to mend, and what is a mistake in the code.
    """
    if isinstance(error, UserError):
        return isinstance(error, (StoreUnavailableError, DeviceMemoryError))
    if isinstance(error, OSError):
        return may_pass_by_itself(error)
    from laion_coco_assets.captioning.batching import is_out_of_memory

    return is_out_of_memory(error)
