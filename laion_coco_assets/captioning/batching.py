"""How many images go through a model together: as many as fit and pay, fewer when memory runs out, none lost by it."""

import gc
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

import torch

from laion_coco_assets.errors import DeviceMemoryError

T = TypeVar("T")
R = TypeVar("R")

#: Of the free memory so much is planned with: estimates are estimates, and others use the device too.
_USABLE: Final = 0.6
#: More at once is no faster: a CPU's matrix products are at full speed with a few images, a GPU's with some hundred.
_CEILING: Final = {"cpu": 8, "mps": 16, "cuda": 256}
#: Pieces of work (batches, steps of the sampler) that go well before a larger batch is tried again, at first and at most:
#: what is lost by trying, one piece of work, is then a few per cent at first and next to nothing at last.
_PATIENCE: Final = 32
_MOST_PATIENCE: Final = 1024
_log = logging.getLogger(__name__)


class Batches:
    """Takes items through `work` a batch at a time, with a batch size that is no part of the result.

    Example:
        >>> Batches(0, device, bytes_each=300 << 20).run(images, encode)  # 0: picks itself
    """

    def __init__(self, asked: int, device: torch.device, bytes_each: int, ceiling_factor: int = 1) -> None:
        """Prepare.

        Args:
            asked: items at once; 0 lets it pick itself, anew at each run, from the memory that is free then.
            device: where the work is done.
            bytes_each: an upper estimate of what one item needs on the device while it is worked on.
            ceiling_factor: how many items are as much work as one image, for the size beyond which nothing is gained.
        """
        if asked < 0:
            raise ValueError(f"batch size is {asked}")
        self._asked = asked
        self._device = device
        self._bytes_each = max(bytes_each, 1)
        self._ceiling = most_at_once(device) * ceiling_factor
        self._fits: int | None = None  # what was found out the hard way
        self._in_a_row = 0  # pieces of work of that size that went well
        self._patience = _PATIENCE
        self._proven = 0  # the size that it was doubled from, having gone well with all the patience there is
        #: How often memory ran out, and fewer items went together from then on.
        self.backed_off = 0

    @property
    def size(self) -> int:
        """Items at once, as things are now."""
        return self.within(self.plan())

    def plan(self) -> int:
        """Items at once by what was asked for or by the memory that is free now; for `within`."""
        return self._asked or pick_batch_size(self._device, self._bytes_each, self._ceiling)

    def within(self, planned: int) -> int:
        """The same, or what it was found out to be the hard way."""
        return planned if self._fits is None else min(planned, self._fits)

    def run(self, items: Sequence[T], work: Callable[[Sequence[T]], Sequence[R]]) -> list[R]:
        """What `work` gives for each item, in order. A batch that runs out of memory is done again in halves.

        Raises:
            DeviceMemoryError: not even one item fits.
        """
        done: list[R] = []
        planned = self.plan()
        while len(done) < len(items):
            batch = items[len(done) : len(done) + self.within(planned)]
            done += self.attempt(len(batch), lambda: work(batch)) or []  # noqa: B023
        return done

    def attempt(self, at_once: int, work: Callable[[], R]) -> R | None:
        """What `work` gives; None when memory ran out, and only half of `at_once` go together from now on.

        What took the memory may have gone: after many pieces of work of that size, twice as many are tried again. Each
        time that was in vain, twice the patience is had before the next; once it was not, as little as at first.

        Raises:
            DeviceMemoryError: it was one item.
        """
        try:
            result = work()
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            self._went_well(at_once)
            return result
        # Outside of the handler, and no cause of what is raised: the error's frames hold on to the batch's tensors.
        release_memory(self._device)
        if at_once == 1:
            raise DeviceMemoryError(
                f"{self._device} has not the memory for one image ({_gibibytes(free_memory(self._device))} "
                "free): free some, or choose another device with LAION_COCO_DEVICE / --device"
            )
        self._back_off(at_once)
        return None

    def _went_well(self, at_once: int) -> None:
        if self._fits is None or at_once < self._fits:
            return
        self._in_a_row += 1
        if self._in_a_row < self._patience:
            return
        if self._proven:
            self._patience = _PATIENCE
        self._proven, self._fits, self._in_a_row = self._fits, 2 * self._fits, 0

    def _back_off(self, at_once: int) -> None:
        if 0 < self._proven < at_once:
            self._patience = min(2 * self._patience, _MOST_PATIENCE)
        self._fits, self._in_a_row, self._proven = at_once // 2, 0, 0
        self.backed_off += 1
        _log.warning("%s ran out of memory with %d images at once; going on with %d", self._device, at_once, self._fits)


def most_at_once(device: torch.device) -> int:
    """Images beyond which a larger batch is no faster on such a device."""
    return _CEILING.get(device.type, 1)


def pick_batch_size(device: torch.device, bytes_each: int, ceiling: int) -> int:
    """As many items as fit into the free memory with room to spare, and no more than make it faster."""
    return max(1, min(ceiling, int(free_memory(device) * _USABLE) // bytes_each))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it says that memory ran out, in whichever way the device has."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        words in str(error) for words in ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
    )


def release_memory(device: torch.device) -> None:
    """Give back what is not in use, so that a smaller batch finds it in one piece."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def free_memory(device: torch.device) -> int:
    """Bytes that can still be had on a device; on a CPU, of the machine's and of the container's the lesser."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return min(_machine_free(), _container_free())


def _machine_free() -> int:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    pages = os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return pages * os.sysconf("SC_PAGE_SIZE") // 2 if pages else 4 << 30


def _container_free(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """What the process' control groups, version 1 or 2, still allow; a page cache they could drop counts as free.

    A limit may stand at any group above the process' own. In a container its own group is usually mounted as the root,
    whatever its path is called, so the root counts, too.
    """
    free = 1 << 62
    for mount, path, names in _memory_groups(root, own):
        for folder in {mount, *(mount / each for each in (path, *path.parents))}:
            free = min(free, _group_free(folder, *names))
    return free


def _memory_groups(root: Path, own: Path) -> Iterator[tuple[Path, Path, tuple[str, str, str]]]:
    """Where the groups that count memory are mounted, the process' own there, and the names of limit, use and cache."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = ["0::/", "1:memory:/"]
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        inside = Path(path.lstrip("/"))
        if not controllers:
            yield root, inside, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            yield root / "memory", inside, ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def _group_free(folder: Path, limit_name: str, used_name: str, cache_name: str) -> int:
    try:
        limit = (folder / limit_name).read_text(encoding="ascii").strip()
        if limit == "max":
            return 1 << 62
        used = int((folder / used_name).read_text(encoding="ascii"))
        facts = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
        return max(0, int(limit) - used + int(facts.get(cache_name, 0)))
    except (OSError, ValueError):
        return 1 << 62


def _gibibytes(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB"
