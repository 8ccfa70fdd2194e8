"""How a rule came out over a shard."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from laion_coco_assets.checks.rules import Rule

#: How many offenders a result names; the rest are counted.
OFFENDERS_SHOWN: Final = 10


class Status(StrEnum):
    """How a rule came out. Skipped: what it needs is not there (a file, enough earlier shards), `why` says what."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Offender:
    """A sample that breaks a rule, what the rule expects of it, and what it is; `sample_id` is None when the file as a whole breaks it."""

    sample_id: str | None
    expected: str
    actual: str


@dataclass(frozen=True)
class RuleResult:
    """One rule over one shard: how many offend, and the first ten of them.

    A rule that compares one figure says what it compared when it passes, too: `expected` and `actual`.
    """

    rule: Rule
    shard: str
    status: Status
    count: int = 0
    offenders: tuple[Offender, ...] = ()
    why: str = ""
    expected: str = ""
    actual: str = ""
