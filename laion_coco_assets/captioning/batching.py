"""Decides how many images go through a model together. It uses fewer when memory runs out, and no image is lost."""

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

#: The share of the free memory to plan with. The estimates are rough, and other programs use the device too.
_USABLE: Final = 0.6
#: A larger batch is no faster: matrix products reach full speed with a few images on a CPU, some hundred on a GPU.
_CEILING: Final = {"cpu": 8, "mps": 16, "cuda": 256}
#: How many pieces of work (batches, steps of the sampler) must succeed before a larger batch is tried again: at first, and
#: at most. A failed try costs one piece of work, so a few per cent at first and almost nothing later.
_PATIENCE: Final = 32
_MOST_PATIENCE: Final = 1024
_log = logging.getLogger(__name__)


class Batches:
    """Runs `work` over items, one batch at a time. The batch size does not affect the result.

    Example:
        >>> Batches(0, device, bytes_each=300 << 20).run(images, encode)  # 0: chosen automatically
    """

    def __init__(self, asked: int, device: torch.device, bytes_each: int, ceiling_factor: int = 1) -> None:
        """Set the batch size, or what it is chosen from.

        Args:
            asked: items per batch; 0 chooses it at each run from the memory that is free then.
            device: where the work is done.
            bytes_each: an upper estimate of the device memory that one item needs, in bytes.
            ceiling_factor: how many items are as much work as one image. It sets the size above which a batch is no faster.
        """
        if asked < 0:
            raise ValueError(f"batch size is {asked}")
        self._asked = asked
        self._device = device
        self._bytes_each = max(bytes_each, 1)
        self._ceiling = most_at_once(device) * ceiling_factor
        self._fits: int | None = None  # the batch size after memory ran out
        self._in_a_row = 0  # how many pieces of work of that size have succeeded
        self._patience = _PATIENCE
        self._proven = 0  # the size that it was doubled from, after it had succeeded often enough
        #: How often memory ran out and the batch was made smaller.
        self.backed_off = 0

    @property
    def size(self) -> int:
        """Items per batch now."""
        return self.within(self.plan())

    def plan(self) -> int:
        """Items per batch as asked for, or from the memory that is free now. Pass it to `within`."""
        return self._asked or pick_batch_size(self._device, self._bytes_each, self._ceiling)

    def within(self, planned: int) -> int:
        """The planned size, or the smaller one that is used since memory ran out."""
        return planned if self._fits is None else min(planned, self._fits)

    def run(self, items: Sequence[T], work: Callable[[Sequence[T]], Sequence[R]]) -> list[R]:
        """The results of `work` for all items, in order. A batch that runs out of memory is run again in halves.

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
        """The result of `work`. None when memory ran out: from then on a batch has half of `at_once` items.

        Another program may have freed memory since. So after many successes, a batch of twice the size is tried. When
        that fails, the next try waits for twice as many successes. When it succeeds, the wait is as short as at first.

        Raises:
            DeviceMemoryError: one item alone does not fit.
        """
        try:
            result = work()
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            self._went_well(at_once)
            return result
        # Outside of the handler, and without a cause: the error's frames would keep the batch's tensors alive.
        release_memory(self._device)
        if at_once == 1:
            raise DeviceMemoryError(
                f"{self._device} does not have enough memory for one image ({_gibibytes(free_memory(self._device))} "
                "free): free some memory, or choose another device with LAION_COCO_DEVICE / --device"
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
        _log.warning(
            "%s ran out of memory with %d images at once; continuing with %d", self._device, at_once, self._fits
        )


def most_at_once(device: torch.device) -> int:
    """The batch size in images above which this kind of device is no faster."""
    return _CEILING.get(device.type, 1)


def pick_batch_size(device: torch.device, bytes_each: int, ceiling: int) -> int:
    """How many items fit into the free memory with room to spare, at most `ceiling`."""
    return max(1, min(ceiling, int(free_memory(device) * _USABLE) // bytes_each))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error says that memory ran out, in the words of any device."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        words in str(error) for words in ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
    )


def release_memory(device: torch.device) -> None:
    """Free the memory that is not in use, so that a smaller batch gets it in one piece."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a device. On a CPU: what the machine or the container has free, whichever is less."""
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
    """Bytes that the process' control groups (version 1 or 2) still allow. Page cache that they can drop counts as free.

    Any group above the process' own may have a limit. In a container, its own group is usually mounted as the root,
    whatever its path is called, so the root counts too.
    """
    free = 1 << 62
    for mount, path, names in _memory_groups(root, own):
        for folder in {mount, *(mount / group for group in (path, *path.parents))}:
            free = min(free, _group_free(folder, *names))
    return free


def _memory_groups(root: Path, own: Path) -> Iterator[tuple[Path, Path, tuple[str, str, str]]]:
    """Where memory groups are mounted, the process' own group in it, and the file names of limit, use and cache."""
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
