"""The rules in this folder, one .sql file each. Its header says what it checks, how severe it is, and what it reads.

`templates/` has what the file of every stage must hold: its columns, its fingerprint and inputs, a row for every image.
Each of them becomes a rule of each stage.

A rule selects its offenders: columns `sample_id` (null for the whole file), `expected` and `actual`. A rule of scope
`earlier shards` selects a figure of its stage's file instead; `checks/drift.py` compares it with the shards before.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Final, TypeVar

from laion_coco_assets.assets import STAGES
from laion_coco_assets.checks.contract_rules import contract_rules
from laion_coco_assets.errors import ProfileError
from laion_coco_assets.stages.pipeline import with_side_files
from laion_coco_assets.stages.stage import Stage

T = TypeVar("T")

_HEADER: Final = re.compile(r"^-- (\w+): (.+)$", re.MULTILINE)


class Severity(StrEnum):
    """Whether a broken rule blocks the later stages (and `laion-coco check` exits with 1), or only warns."""

    ERROR = "error"
    WARN = "warn"


class Scope(StrEnum):
    """What a rule looks at: a shard's files, a shard's figure beside the earlier shards', or all shards together."""

    SHARD = "shard"
    EARLIER = "earlier shards"
    ALL = "all shards"


@dataclass(frozen=True)
class Band:
    """How far a figure may be from the earlier shards' median: `k` median absolute deviations, at least `floor`."""

    floor: float
    k: float


@dataclass(frozen=True)
class Rule:
    """One rule. `needs` are the files it reads, its own stage's among them; rules of scope `earlier shards` have a band."""

    name: str
    description: str
    severity: Severity
    stage: str
    needs: tuple[str, ...]
    scope: Scope
    band: Band | None
    sql: str

    @property
    def is_blocking(self) -> bool:
        """Whether a shard that breaks it is held back."""
        return self.severity == Severity.ERROR

    @property
    def on_columns(self) -> bool:
        """Whether this is a contract of columns, which the other rules of the file rely on."""
        return self.name.removesuffix("_columns") in self.needs

    @property
    def on_origin(self) -> bool:
        """Whether this is the contract of the settings and the files that its stage's file was made from."""
        return self.name == f"{self.stage}_fingerprint"


@cache
def all_rules(stages: tuple[type[Stage], ...] = STAGES) -> tuple[Rule, ...]:
    """Every rule of these stages, in their order; contracts of columns first within a stage."""
    files = [file.name for file in with_side_files(stages)]
    order = [stage.name for stage in stages]
    rules = [rule for rule in _written_rules() if rule.stage in order]
    rules += [_stage_rule(stage, name, text, files) for stage in stages for name, text in contract_rules(stage)]
    names = Counter(rule.name for rule in rules)
    if twice := [name for name, count in names.items() if count > 1]:
        raise ProfileError(f"stages: two rules are named {', '.join(twice)}; rename those of your stage")
    return tuple(sorted(rules, key=lambda rule: (order.index(rule.stage), not rule.on_columns, rule.name)))


def shard_rules(stage: str, rules: tuple[Rule, ...] | None = None) -> list[Rule]:
    """The rules of a stage about one shard: its asset checks."""
    return [rule for rule in rules or all_rules() if rule.stage == stage and rule.scope != Scope.ALL]


@cache
def _written_rules() -> tuple[Rule, ...]:
    """The built-in stages' rules that have a file in this folder."""
    folder = resources.files(__package__)
    texts = {file.name.removesuffix(".sql"): file for file in folder.iterdir() if file.name.endswith(".sql")}
    files = [file.name for file in with_side_files(STAGES)]
    return tuple(_rule(name, file.read_text(encoding="utf-8"), files) for name, file in texts.items())


def _stage_rule(stage: type[Stage], name: str, text: str, files: Collection[str]) -> Rule:
    """A rule that comes with a stage's class; raises ProfileError for one that the class states wrongly."""
    try:
        rule = _rule(name, text, files)
    except ValueError as error:
        raise ProfileError(f"stages: {stage.__name__}.rules: {error}") from None
    if rule.stage != stage.name:
        raise ProfileError(f"stages: {stage.__name__}.rules: {name}: its header says `-- stage: {rule.stage}`")
    return rule


def _rule(name: str, text: str, files: Collection[str]) -> Rule:
    header = dict(_HEADER.findall(text))

    def value(key: str, convert: Callable[[str], T], default: str | None = None) -> T:
        if key not in header and default is None:
            raise ValueError(f"{name}.sql: its header has no `{key}`: add a line `-- {key}: ...`")
        try:
            return convert(header.get(key, default or ""))
        except ValueError as error:
            raise ValueError(f"{name}.sql: `{key}` in its header: {error}") from None

    def known(name: str) -> str:
        if name not in files:
            raise ValueError(f"there is no stage {name}")
        return name

    stage = value("stage", known)
    others = [need.strip() for need in header.get("needs", "").split(",") if need.strip()]
    unknown = set(others).difference(files)
    if unknown:
        raise ValueError(f"{name}.sql: `needs` in its header: there is no stage {', '.join(sorted(unknown))}")
    scope = value("scope", Scope, default=Scope.SHARD)
    return Rule(
        name=name,
        description=value("description", str),
        severity=value("severity", Severity),
        stage=stage,
        needs=(stage, *others),
        scope=scope,
        band=Band(value("floor", float), value("k", float)) if scope == Scope.EARLIER else None,
        sql=text,
    )
