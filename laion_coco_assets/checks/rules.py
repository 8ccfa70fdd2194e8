"""The rules as they stand in this folder: one .sql file each, its header says what, how grave, and what it reads.

A rule selects its offenders: columns `sample_id` (null when the whole file is meant), `expected` and `actual`. One of scope
`earlier shards` selects a figure of its stage's file instead; `checks/drift.py` holds it against those of the shards before.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Final

from laion_coco_assets.contract.schemas import LEDGER, Stage

_HEADER: Final = re.compile(r"^-- (\w+): (.+)$", re.MULTILINE)


class Severity(StrEnum):
    """Whether a broken rule blocks what comes after (and `laion-coco check` exits with 1), or warns."""

    ERROR = "error"
    WARN = "warn"


class Scope(StrEnum):
    """What a rule looks at: one shard's files, one figure of a shard beside the earlier shards', or all shards together."""

    SHARD = "shard"
    EARLIER = "earlier shards"
    ALL = "all shards"


@dataclass(frozen=True)
class Band:
    """How far a figure may lie from the earlier shards' median: `k` times their MAD (median absolute deviation), `floor` at least."""

    floor: float
    k: float


@dataclass(frozen=True)
class Rule:
    """One rule. `needs` are the files it reads, its own stage's among them; rules of scope `earlier shards` have a band."""

    name: str
    description: str
    severity: Severity
    stage: Stage
    needs: tuple[str, ...]
    scope: Scope
    band: Band | None
    sql: str

    @property
    def on_columns(self) -> bool:
        """Whether this is a contract of columns, which the other rules of the file rely on."""
        return self.name.endswith("_columns")


@cache
def all_rules() -> tuple[Rule, ...]:
    """Every rule, in pipeline order; contracts of columns first within a stage."""
    files = (each for each in resources.files(__package__).iterdir() if each.name.endswith(".sql"))
    rules = [_rule(each.name.removesuffix(".sql"), each.read_text(encoding="utf-8")) for each in files]
    order = list(Stage)
    return tuple(sorted(rules, key=lambda rule: (order.index(rule.stage), not rule.on_columns, rule.name)))


def shard_rules(stage: Stage) -> list[Rule]:
    """The rules of a stage that say something of a shard: its asset checks."""
    return [rule for rule in all_rules() if rule.stage == stage and rule.scope != Scope.ALL]


def _rule(name: str, text: str) -> Rule:
    header = dict(_HEADER.findall(text))
    stage = Stage(header["stage"])
    others = [each.strip() for each in header.get("needs", "").split(",") if each.strip()]
    unknown = set(others) - {*Stage, LEDGER}
    if unknown:
        raise ValueError(f"{name}.sql: its header names {unknown}, which does not exist")
    scope = Scope(header.get("scope", Scope.SHARD))
    return Rule(
        name=name,
        description=header["description"],
        severity=Severity(header["severity"]),
        stage=stage,
        needs=(stage.value, *others),
        scope=scope,
        band=Band(float(header["floor"]), float(header["k"])) if scope == Scope.EARLIER else None,
        sql=text,
    )
