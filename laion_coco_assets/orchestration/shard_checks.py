"""The rules over the shards of a run, each result logged at its shard, whichever step of the run asks."""

from collections.abc import Callable, Iterable, Sequence

import dagster as dg

from laion_coco_assets.checks.results import RuleResult, Status
from laion_coco_assets.checks.rules import Rule, shard_rules
from laion_coco_assets.contract.fingerprint import fingerprints
from laion_coco_assets.contract.profile import Profile
from laion_coco_assets.contract.schemas import Stage
from laion_coco_assets.orchestration.evaluations import evaluation, evaluation_over_shards
from laion_coco_assets.publishing.removal_list import RemovalList
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets.store.trial import MAX_SAMPLES_TAG, profile_of_file, profile_of_run


class ShardChecks:
    """Evaluates rules over stage files and logs what came out as the shard's own results.

    Args:
        context: of the step that asks.
        profile: the deployment's; a trial's is told by the run's tags.
        store: where the stage files lie.
        removals: gives what must not be published; only asked for rules of `published`.
    """

    def __init__(
        self,
        context: dg.OpExecutionContext,
        profile: Profile,
        store: ShardStore,
        removals: Callable[[], RemovalList] = RemovalList,
    ) -> None:
        from laion_coco_assets.checks.drift import Drift

        self._context = context
        self._profile = profile_of_run(profile, context.run.tags)
        self._is_trial = MAX_SAMPLES_TAG in context.run.tags
        self._store = store
        self._removals = removals
        self._drift = Drift(store)

    def check(self, stage: Stage, shards: Iterable[str], rules: Sequence[Rule]) -> dict[str, list[RuleResult]]:
        """These rules of a stage over shards, one by one: what came out, by the rule's name.

        Raises:
            UserError: the removal list can not be read.
        """
        from laion_coco_assets.checks.run import check_shard

        removals = self._removals() if stage == Stage.PUBLISHED else None
        results: dict[str, list[RuleResult]] = {rule.name: [] for rule in rules}
        for shard in shards:
            # "Execute check" in the browser has no tag, and a trial's file is no worse for it.
            of_file = self._profile if self._is_trial else profile_of_file(self._store, stage, shard, self._profile)
            of_shard = check_shard(self._store, shard, rules, fingerprints(of_file), removals)
            for result in (*of_shard, *self._drift.check_shard(shard, rules)):
                results[result.rule.name].append(result)
        for of_rule in results.values():
            # The UI shows a check by its last result: a shard that fails it must not hide behind a good one.
            for result in sorted(of_rule, key=lambda each: each.status == Status.FAILED):
                self._log(evaluation(result))
        return results

    def check_behind_failure(self, stage: Stage, shards: Sequence[str]) -> None:
        """All rules of a stage over its good shards, and the run's own results: Dagster skips the checks of a step that failed."""
        rules = shard_rules(stage)
        results = self.check(stage, shards, rules)
        for rule in rules:
            self._log(evaluation_over_shards(rule, results[rule.name]))

    def _log(self, said: dg.AssetCheckEvaluation) -> None:
        # It takes evaluations, says its code; its annotation forgot them.
        self._context.log_event(said)  # type: ignore[arg-type]
