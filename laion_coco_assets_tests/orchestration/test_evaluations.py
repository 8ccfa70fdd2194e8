"""A check's result over several shards reads as a sentence."""

import pytest

from laion_coco_assets.checks.results import RuleResult, Status
from laion_coco_assets.checks.rules import all_rules
from laion_coco_assets.orchestration.evaluations import evaluation_over_shards, shard_evaluation

RULE = all_rules()[0]
PASSED, FAILED, STALE, SKIPPED = (
    RuleResult(RULE, "s", status, count, why="why")
    for status, count in ((Status.PASSED, 0), (Status.FAILED, 2), (Status.STALE, 3), (Status.SKIPPED, 0))
)


@pytest.mark.parametrize(
    ("results", "words", "passed"),
    [
        ([PASSED] * 5, "5 shards passed", True),
        ([PASSED] * 4 + [SKIPPED], "4 shards passed, 1 skipped", True),
        ([SKIPPED] * 2, "0 shards passed, 2 skipped", True),
        ([PASSED, FAILED], "2 offenders in 1 of 2 shards", False),
        ([PASSED, FAILED, STALE, SKIPPED], "5 offenders in 2 of 4 shards, 1 stale, 1 skipped", False),
    ],
)
def test_several_shards_in_words(results: list[RuleResult], words: str, passed: bool) -> None:
    evaluation = evaluation_over_shards(RULE, results)
    assert (evaluation.description, evaluation.metadata["actual"].value, evaluation.passed) == (words, words, passed)


def test_a_stale_shard_does_not_pass_and_says_why() -> None:
    evaluation = shard_evaluation(STALE)
    assert (evaluation.description, evaluation.passed) == ("s: stale: why", False)
    assert evaluation.metadata["stale"].value == {"s": "why"}
