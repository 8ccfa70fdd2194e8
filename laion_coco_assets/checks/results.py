"""The result of a rule over a shard."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from laion_coco_assets.checks.rules import Rule

#: The shard's name in a result that is about all shards.
ALL_SHARDS: Final = "(all)"

#: How many offenders a result names; the rest are counted.
OFFENDERS_SHOWN: Final = 10


class Status(StrEnum):
    """The outcome of a rule.

    A skipped rule lacks something, such as a file or earlier shards. A stale one fails only because files do not belong
    together until the stages run again (`checks/staleness.py`). In both cases, `why` says more.
    """

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    STALE = "stale"


@dataclass(frozen=True)
class Offender:
    """A sample that breaks a rule: what the rule expects of it, and what it is. `sample_id` is None when the whole file breaks it."""

    sample_id: str | None
    expected: str
    actual: str


@dataclass(frozen=True)
class RuleResult:
    """One rule over one shard: how many offenders there are, and the first ten of them.

    A rule that compares one figure fills `expected` and `actual` when it passes, too.
    """

    rule: Rule
    shard: str
    status: Status
    count: int = 0
    offenders: tuple[Offender, ...] = ()
    why: str = ""
    expected: str = ""
    actual: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether it holds nothing back. A stale shard is held back as a broken one: it must be made again first."""
        return self.status in (Status.PASSED, Status.SKIPPED)
