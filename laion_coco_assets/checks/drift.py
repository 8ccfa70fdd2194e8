"""Whether a shard's figures drifted from those of the shards before it: the rules of scope `earlier shards`.

The shards before are those with a file of the stage, in order of their names. Nobody knows what is right for a data set;
its own earlier shards tell what is usual. The median and the MAD are used because one odd shard does not move them.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Final

import duckdb

from laion_coco_assets.checks.results import Offender, RuleResult, Status
from laion_coco_assets.checks.rules import Band, Rule, all_rules
from laion_coco_assets.errors import StoreError
from laion_coco_assets.store.store import ShardStore

#: How many shards before a shard are looked at: a check costs the same in the first thousand shards as in the last.
EARLIER_SHARDS: Final = 20
#: With fewer to compare with, their spread says little.
LEAST_SHARDS: Final = 5
#: A figure over fewer rows is chance.
LEAST_ROWS: Final = 30


@dataclass(frozen=True)
class _Measured:
    """A stage file's figures, by the name of their rule; those that are no number are left out."""

    fingerprint: str
    rows: int
    figures: Mapping[str, float]


class Drift:
    """The drift rules over one store. A file is measured once, however many shards are compared with it."""

    def __init__(self, store: ShardStore) -> None:
        self._store = store
        self._shards: dict[str, list[str]] = {}
        self._measured: dict[tuple[str, str], _Measured | None] = {}

    def check_shard(self, shard: str, rules: Iterable[Rule]) -> list[RuleResult]:
        """Those of the rules that have the scope `earlier shards`, over one shard."""
        return [self._check(shard, rule, rule.band) for rule in rules if rule.band is not None]

    def _check(self, shard: str, rule: Rule, band: Band) -> RuleResult:
        def skipped(why: str) -> RuleResult:
            return RuleResult(rule, shard, Status.SKIPPED, why=why)

        there = self._there(rule.stage)
        position = bisect_left(there, shard)
        if there[position : position + 1] != [shard]:
            return skipped(f"no file of {rule.stage}")
        own = self._measure(rule.stage, shard)
        if own is None:
            return skipped(f"the file of {rule.stage} can not be read, or its columns are wrong")
        if not _counts(own, rule):
            return skipped(f"fewer than {LEAST_ROWS} rows to measure in {rule.stage}")
        found = (self._measure(rule.stage, each) for each in there[max(0, position - EARLIER_SHARDS) : position])
        earlier = [
            each.figures[rule.name]
            for each in found
            if each is not None and each.fingerprint == own.fingerprint and _counts(each, rule)
        ]
        if len(earlier) < LEAST_SHARDS:
            return skipped(f"fewer than {LEAST_SHARDS} earlier shards made with the same settings")
        middle = median(earlier)
        width = max(band.floor, band.k * median(abs(each - middle) for each in earlier))
        figure = own.figures[rule.name]
        expected = f"{middle:.4g} ± {width:.4g}, by the median of {len(earlier)} earlier shards"
        actual = f"{figure:.4g}"
        if abs(figure - middle) <= width:
            return RuleResult(rule, shard, Status.PASSED, expected=expected, actual=actual)
        offenders = (Offender(None, expected, actual),)
        return RuleResult(rule, shard, Status.FAILED, 1, offenders, expected=expected, actual=actual)

    def _there(self, stage: str) -> list[str]:
        if stage not in self._shards:
            self._shards[stage] = self._store.shards(stage)
        return self._shards[stage]

    def _measure(self, stage: str, shard: str) -> _Measured | None:
        if (stage, shard) not in self._measured:
            self._measured[stage, shard] = _measure(self._store, stage, shard)
        return self._measured[stage, shard]


def _counts(measured: _Measured, rule: Rule) -> bool:
    return measured.rows >= LEAST_ROWS and rule.name in measured.figures


def _measure(store: ShardStore, stage: str, shard: str) -> _Measured | None:
    """All figures of a file; None when it can not be read, which is for the shard's other rules to report."""
    rules = [rule for rule in all_rules() if rule.stage == stage and rule.band is not None]
    try:
        info = store.need(stage, shard)
        with duckdb.connect() as connection:
            connection.execute("SET enable_progress_bar = false")
            if not store.is_local:
                connection.register_filesystem(store.root.fs)
            connection.read_parquet(store.sql_pattern(stage, shard)).create_view(stage)
            values = {rule.name: connection.execute(rule.sql).fetchall()[0][0] for rule in rules}
    except (StoreError, duckdb.Error):
        return None
    figures = {name: float(value) for name, value in values.items() if value is not None and math.isfinite(value)}
    return _Measured(info.key.fingerprint, info.rows, figures)
