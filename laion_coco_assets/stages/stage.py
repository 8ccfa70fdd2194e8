"""A stage: one class that declares what its file holds and depends on. Its instances make the file for one shard.

A stage outside the package is a subclass, named in a profile under `stages`. Everything else follows from the class: the
Dagster asset, its fingerprint, its contract rules, what the UI shows, its part in the terminal's run.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

import pyarrow as pa
from pydantic import BaseModel

from laion_coco_assets.contract.columns import Column, schema_of
from laion_coco_assets.contract.fingerprint import plain_settings
from laion_coco_assets.contract.profile import Profile
from laion_coco_assets.contract.stage_info import ReusedFile, StageKey
from laion_coco_assets.stages.panels import Panel
from laion_coco_assets.store.inputs import need_current
from laion_coco_assets.store.store import ShardStore

Rows = list[dict[str, Any]]
T = TypeVar("T")


@dataclass(frozen=True)
class RowsOf:
    """Each of these rows of an earlier stage has exactly one row in this file, in the same order.

    The rule `<stage>_every_image` checks it. Both files need the columns `row` and `sample_id`.
    """

    stage: str
    #: SQL over the earlier stage's rows.
    where: str
    #: Such a row in words, as in "Every ok image has one row".
    what: str


@dataclass(frozen=True)
class StageRun:
    """What a run gives to the stages that it makes. A context manager: its end closes what they opened."""

    #: The deployment's, or a trial's.
    profile: Profile
    #: Of every stage with this profile.
    fingerprints: Mapping[str, str]
    #: Of every stage with this profile, as plain values.
    settings_by_stage: Mapping[str, dict[str, Any] | None]
    store: ShardStore
    #: What the stage asked for in `Stage.resources`, by name.
    resources: Mapping[str, Any] = field(default_factory=dict)
    #: What the run asks of the stage, see `Stage.config_model`.
    config: Mapping[str, Any] = field(default_factory=dict)
    run_id: str = ""
    log: logging.Logger = field(default_factory=lambda: logging.getLogger(__name__))
    _stack: ExitStack = field(default_factory=ExitStack)
    _opened: dict[str, Any] = field(default_factory=dict)

    def open_once(self, name: str, opener: Callable[[], AbstractContextManager[T]]) -> T:
        """An object that all shards of the run share under this name. It is opened when the first shard needs it."""
        if name not in self._opened:
            self._opened[name] = self._stack.enter_context(opener())
        opened: T = self._opened[name]
        return opened

    def once(self, name: str, function: Callable[[], T]) -> T:
        """A function's result, computed for the first shard that needs it."""
        return self.open_once(name, lambda: nullcontext(function()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)


class Stage(ABC):
    """One stage. The class declares it; an instance makes it for one shard of a run.

    The class's docstring is the asset's description in the UI.
    """

    #: The asset's key, the folder's name and the name in every table.
    name: ClassVar[str]
    #: Raise it by one when a change of the code gives another output for the same settings.
    version: ClassVar[int] = 1
    #: The profile's section that decides the output; None: `stage_settings.<name>`, for stages outside the package.
    section: ClassVar[str | None] = None
    #: Earlier stages whose files are read, in pipeline order.
    reads: ClassVar[tuple[str, ...]] = ()
    #: What else the file is made from, by the names that `inputs` gives it.
    outside_inputs: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[Column, ...]]
    rows_of: ClassVar[RowsOf | None] = None
    #: Why a row may be rejected: a closed list. Stages with reasons have a column `reason`.
    reasons: ClassVar[tuple[str, ...]] = ()
    #: Rules about its rows, by name: SQL with a header, as the files in `laion_coco_assets/checks` have it.
    rules: ClassVar[Mapping[str, str]] = {}
    #: Files that are written with this stage's, each as a stage of its own that is not an asset. The ledger is one.
    side_files: ClassVar[tuple[type["Stage"], ...]] = ()
    #: Dagster's tags for what it computes with, and the pool that limits how many runs make it at once.
    kinds: ClassVar[frozenset[str]] = frozenset({"parquet"})
    pool: ClassVar[str | None] = None
    #: Names of the resources that its instances use, see `laion_coco_assets.resources.build_resources`.
    resources: ClassVar[frozenset[str]] = frozenset()
    #: What one run may ask of it, as Dagster's run configuration.
    config_model: ClassVar[type[BaseModel] | None] = None
    #: Numbers that the UI shows of a file and plots over shards: SQL over its rows (`stage`), by name.
    figures: ClassVar[Mapping[str, str]] = {}

    def __init__(self, run: StageRun, shard: str) -> None:
        self.run = run
        self.shard = shard
        self.profile = run.profile
        self.store = run.store

    @classmethod
    def schema(cls) -> pa.Schema:
        """The arrow schema of its file."""
        return schema_of(cls.columns)

    @classmethod
    def settings(cls, profile: Profile) -> dict[str, Any] | None:
        """The settings that decide its output, as plain values; None where the profile has no such section."""
        if cls.section is None:
            return profile.stage_settings.get(cls.name, {})
        return plain_settings(getattr(profile, cls.section))

    @classmethod
    def panels(cls, profile: Profile) -> Sequence[Panel]:
        """The histograms that the UI shows of a file."""
        return ()

    @classmethod
    def validate_config(cls, config: Mapping[str, Any]) -> None:
        """Refuse what a run asks for in `config`, before any shard. Raises UserError."""

    @classmethod
    def preflight(cls, run: StageRun) -> None:
        """Load what the stage needs and find out what is missing, before hours of work. Raises UserError."""

    @cached_property
    def key(self) -> StageKey:
        """What the file must have been made from.

        Raises:
            StoreError: a file of `reads` is missing, or was made with other settings, or from files that have changed
                since.
        """
        return StageKey(self.name, self.shard, self.run.fingerprints[self.name], self.inputs())

    def inputs(self) -> dict[str, str]:
        """Content digests of what the file is made from, by name. Raises StoreError as `key` does."""
        return need_current(self.store, self.shard, self.reads, self.profile, self.run.fingerprints)

    def validate(self) -> None:
        """Refuse what must not be made. Called before anything is done, for complete files too. Raises UserError."""

    def before_file(self) -> None:
        """Do what comes before the file, whether it is complete or not: side files, say."""

    @abstractmethod
    def total(self) -> int:
        """How many rows the finished file will have."""

    @abstractmethod
    def rows(self, done: int) -> Iterator[Rows | pa.RecordBatch]:
        """The rows in order, without the first `done`. Batches are rows carried over from the existing file."""

    def metadata(self) -> Mapping[str, Any]:
        """What the file's parquet metadata records beside its key and settings."""
        return {}

    def carries_over_from(self) -> ReusedFile | None:
        """The existing file of another key from which rows are carried over, if there is one."""
        return None

    def replaces(self) -> ReusedFile | None:
        """The existing complete file of this key that is to be made again, if there is one."""
        return None

    def shown(self) -> Mapping[str, Any]:
        """What the UI shows of the finished file beside its figures: numbers, and `Markdown`."""
        return {}


def profile_metadata(profile: Profile) -> dict[str, Any]:
    """What every stage file records of its profile: its name and, in a trial, `max_samples`."""
    cap = profile.fetch.max_samples
    return {"profile": profile.name} | ({} if cap is None else {"max_samples": cap})
