"""Evaluates rules over the shards of a run, and logs each result with its shard."""

from collections.abc import Callable, Iterable, Sequence

import dagster as dg

from laion_coco_assets.checks.results import RuleResult
from laion_coco_assets.checks.rules import Rule, all_rules, shard_rules
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.orchestration.evaluations import evaluation_over_shards, shard_evaluation
from laion_coco_assets.publishing.removal_list import RemovalList
from laion_coco_assets.stages.pipeline import Pipeline
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets.store.trial import MAX_SAMPLES_TAG, profile_of_file, profile_of_run


class ShardChecks:
    """Evaluates rules over stage files and logs the outcomes as the shards' own results.

    Args:
        context: of the step that asks.
        pipeline: with the deployment's profile. If the run's tags say that it is a trial, the trial's profile is used.
        store: where the stage files lie.
        removals: returns what must not be published; only called for rules of `published`.
    """

    def __init__(
        self,
        context: dg.OpExecutionContext,
        pipeline: Pipeline,
        store: ShardStore,
        removals: Callable[[], RemovalList] = RemovalList,
    ) -> None:
        from laion_coco_assets.checks.drift import Drift

        self._context = context
        self._pipeline = pipeline.with_profile(profile_of_run(pipeline.profile, context.run.tags))
        self._all_rules = all_rules(pipeline.stages)
        self._is_trial = MAX_SAMPLES_TAG in context.run.tags
        self._store = store
        self._removals = removals
        self._drift = Drift(store, self._all_rules)

    def rules(self, stage: str) -> list[Rule]:
        """The rules of a stage about one shard."""
        return shard_rules(stage, self._all_rules)

    def check(self, stage: str, shards: Iterable[str], rules: Sequence[Rule]) -> dict[str, list[RuleResult]]:
        """The results of these rules of a stage over each shard, by the rule's name.

        Raises:
            UserError: the removal list cannot be read.
        """
        from laion_coco_assets.checks.check_files import check_shard

        removals = self._removals() if stage == StageName.PUBLISHED else None
        results: dict[str, list[RuleResult]] = {rule.name: [] for rule in rules}
        for shard in shards:
            # "Execute check" in the browser sets no tag. A trial's file is then still compared with the trial's
            # profile.
            pipeline = self._pipeline
            if not self._is_trial:
                pipeline = pipeline.with_profile(profile_of_file(self._store, stage, shard, pipeline.profile))
            of_shard = check_shard(self._store, shard, rules, pipeline.fingerprints, removals, pipeline.stages)
            for result in (*of_shard, *self._drift.check_shard(shard, rules)):
                results[result.rule.name].append(result)
        for of_rule in results.values():
            # The UI shows a check by its last result: a shard that fails it must not be hidden by a good one.
            for result in sorted(of_rule, key=lambda outcome: not outcome.is_ok):
                self._log(shard_evaluation(result))
        return results

    def check_after_failure(self, stage: str, shards: Sequence[str]) -> None:
        """All rules of a stage over its good shards, and the run's own results: Dagster skips the checks of a step that failed."""
        rules = self.rules(stage)
        results = self.check(stage, shards, rules)
        for rule in rules:
            self._log(evaluation_over_shards(rule, results[rule.name]))

    def _log(self, evaluation: dg.AssetCheckEvaluation) -> None:
        # Its code accepts evaluations; its annotation does not name them.
        self._context.log_event(evaluation)  # type: ignore[arg-type]
