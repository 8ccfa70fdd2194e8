"""How a rule came out over a shard."""

from dataclasses import dataclass
from enum import StrEnum

from laion_coco_assets.checks.rules import Rule


class Status(StrEnum):
    """How a rule came out. Skipped: a file it needs is not there, `why` says which."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Offender:
    """A sample that breaks a rule; `sample_id` is None when the file as a whole does."""

    sample_id: str | None
    problem: str


@dataclass(frozen=True)
class RuleResult:
    """One rule over one shard: how many offend, and the first ten of them."""

    rule: Rule
    shard: str
    status: Status
    count: int = 0
    offenders: tuple[Offender, ...] = ()
    why: str = ""
