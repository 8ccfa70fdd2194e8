"""Which shards of a run may go on to its next stage: blocking checks, shard by shard.

Dagster's own blocking stops a whole run, and only that run. In a run over several shards, one bad shard would hold back
all others, so there the checks let the run go on (`orchestration/asset_checks.py`). It also ignores earlier runs, for
example when one run fetches and the next one captions. So each stage asks here.
"""

from collections.abc import Sequence

import dagster as dg

from laion_coco_assets.errors import StoreError
from laion_coco_assets.orchestration.records import last_check_results
from laion_coco_assets.orchestration.shard_checks import ShardChecks


class BlockingChecks:
    """Lets a shard into a stage if its files of the stages before break no blocking rule.

    A rule's last result counts, from any run, until the rule's stage is materialised again. Without such a result the
    rule is evaluated here: the step of the checks did not run (its process died, or somebody left it out), or the rule
    is newer than the file.

    Args:
        context: of the stage's step.
        stages: the stages that it is made from.
        shards: those of the run.
        checks: evaluates rules that have no result.
    """

    def __init__(
        self, context: dg.AssetExecutionContext, stages: Sequence[str], shards: Sequence[str], checks: ShardChecks
    ) -> None:
        self._rules = {stage: [rule for rule in checks.rules(stage) if rule.is_blocking] for stage in stages}
        self._context = context
        self._checks = checks
        names = {stage: [rule.name for rule in rules] for stage, rules in self._rules.items()}
        self._passed = last_check_results(context.instance, names, shards)

    def require_passed(self, shard: str) -> None:
        """Refuse a shard that broke a blocking rule.

        Raises:
            StoreError: its files break blocking rules.
        """
        broken = []
        for stage, rules in self._rules.items():
            unknown = [rule for rule in rules if (shard, rule.name) not in self._passed]
            broken += [rule.name for rule in rules if self._passed.get((shard, rule.name)) is False]
            if unknown:
                self._context.log.info(
                    f"shard {shard}: checking {len(unknown)} rules of {stage} that have no result yet"
                )
                for name, results in self._checks.check(stage, [shard], unknown).items():
                    broken += [name for result in results if not result.is_ok]
        if broken:
            raise StoreError(
                f"held back: broke {', '.join(sorted(broken))}; the check's result for this shard names the samples, "
                "and Alerts in docs/OPERATIONS.md says what to do"
            )
