"""Whether a shard's figures drifted from those of the shards before it: the rules of scope `earlier shards`.

The shards before are those with a file of the stage, in order of their names. Nobody knows the right
figures of a data set, but its own earlier shards show which are usual. One odd shard does not move a median or a MAD.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from laion_coco_assets.checks.results import Offender, RuleResult, Status
from laion_coco_assets.checks.rules import Band, Rule, all_rules
from laion_coco_assets.errors import StoreError
from laion_coco_assets.store.sql import connected, create_stage_view
from laion_coco_assets.store.store import ShardStore

#: A shard is compared with this many shards before it, so a check costs the same however many shards there are.
EARLIER_SHARDS: Final = 20
#: The spread of fewer shards tells little.
LEAST_SHARDS: Final = 5
#: A figure over fewer rows is mostly chance.
LEAST_ROWS: Final = 30


@dataclass(frozen=True)
class _Measured:
    """A stage file's figures, by the name of their rule; those that are not finite numbers are left out."""

    fingerprint: str
    rows: int
    figures: Mapping[str, float]


class Drift:
    """The drift rules over one store. A file is measured once, however many shards are compared with it.

    `rules` are those of all stages that are checked: each file is measured for all of its stage's at once.
    """

    def __init__(self, store: ShardStore, rules: Iterable[Rule] | None = None) -> None:
        self._store = store
        self._rules = [rule for rule in (all_rules() if rules is None else rules) if rule.band is not None]
        self._shards: dict[str, list[str]] = {}
        self._measured: dict[tuple[str, str], _Measured | None] = {}

    def check_shard(self, shard: str, rules: Iterable[Rule]) -> list[RuleResult]:
        """Those of the rules that have the scope `earlier shards`, over one shard."""
        return [self._check(shard, rule, rule.band) for rule in rules if rule.band is not None]

    def _check(self, shard: str, rule: Rule, band: Band) -> RuleResult:
        def skipped(why: str) -> RuleResult:
            return RuleResult(rule, shard, Status.SKIPPED, why=why)

        shards = self._shards_of(rule.stage)
        position = bisect_left(shards, shard)
        if shards[position : position + 1] != [shard]:
            return skipped(f"no file of {rule.stage}")
        own = self._measure(rule.stage, shard)
        if own is None:
            return skipped(f"the file of {rule.stage} cannot be read, or its columns are wrong")
        if not _counts(own, rule):
            return skipped(f"fewer than {LEAST_ROWS} rows to measure in {rule.stage}")
        earlier = self._earlier(rule, shards[max(0, position - EARLIER_SHARDS) : position], own.fingerprint)
        if len(earlier) < LEAST_SHARDS:
            return skipped(f"fewer than {LEAST_SHARDS} earlier shards made with the same settings")
        return _compared(rule, shard, own.figures[rule.name], earlier, band)

    def _earlier(self, rule: Rule, shards: Iterable[str], fingerprint: str) -> list[float]:
        """The rule's figure of each of these shards that was made with the same settings and has enough rows."""
        measured = (self._measure(rule.stage, shard) for shard in shards)
        return [
            file.figures[rule.name]
            for file in measured
            if file is not None and file.fingerprint == fingerprint and _counts(file, rule)
        ]

    def _shards_of(self, stage: str) -> list[str]:
        if stage not in self._shards:
            self._shards[stage] = self._store.shards(stage)
        return self._shards[stage]

    def _measure(self, stage: str, shard: str) -> _Measured | None:
        if (stage, shard) not in self._measured:
            rules = [rule for rule in self._rules if rule.stage == stage]
            self._measured[stage, shard] = _measure(self._store, stage, shard, rules)
        return self._measured[stage, shard]


def _compared(rule: Rule, shard: str, figure: float, earlier: Sequence[float], band: Band) -> RuleResult:
    middle = median(earlier)
    width = max(band.floor, band.k * median(abs(value - middle) for value in earlier))
    expected = f"{middle:.4g} ± {width:.4g}, by the median of {len(earlier)} earlier shards"
    actual = f"{figure:.4g}"
    if abs(figure - middle) <= width:
        return RuleResult(rule, shard, Status.PASSED, expected=expected, actual=actual)
    offenders = (Offender(None, expected, actual),)
    return RuleResult(rule, shard, Status.FAILED, 1, offenders, expected=expected, actual=actual)


def _counts(measured: _Measured, rule: Rule) -> bool:
    return measured.rows >= LEAST_ROWS and rule.name in measured.figures


def _measure(store: ShardStore, stage: str, shard: str, rules: Sequence[Rule]) -> _Measured | None:
    """All figures of a file; None when it cannot be read: the shard's other rules report that."""
    import duckdb

    try:
        info = store.need(stage, shard)
        with connected(store) as connection:
            create_stage_view(connection, store, stage, [shard], name=stage)
            values = {rule.name: connection.execute(rule.sql).fetchall()[0][0] for rule in rules}
    except (StoreError, duckdb.Error):
        return None
    figures = {name: float(value) for name, value in values.items() if value is not None and math.isfinite(value)}
    return _Measured(info.key.fingerprint, info.rows, figures)
