"""Which of a shard's files are stale: made from other files, or with other settings, than the current ones.

A stale file waits for its stage to run again, as after a refetch. A file that does not record what it was made from is
damaged, not stale. The rules find out about other damage: a rule that cannot read a file fails, whether the file is
stale or not.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from laion_coco_assets.contract.stage_info import StageInfo
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.stages.stage import Stage

_MODEL_STAGES: Final = {StageName.BLIP_CANDIDATES, StageName.CLIP_L_TOP5, StageName.RN50X64_FINAL}


@dataclass(frozen=True)
class Staleness:
    """The stale files of one shard.

    Attributes:
        other_settings: stages whose file was made with other settings than the profile's.
        changed: those files that a stage's file does not belong to any more, by stage: they were made again since.
        why: both in words; empty if nothing is stale.
    """

    other_settings: frozenset[str] = frozenset()
    changed: Mapping[str, frozenset[str]] = field(default_factory=dict)
    why: str = ""

    def of(self, stage: str) -> bool:
        """Whether the stage's file is stale."""
        return stage in self.other_settings or stage in self.changed

    def between(self, stages: Collection[str]) -> bool:
        """Whether a rule that compares these stages' files would compare files that do not belong together."""
        return any(not self.changed.get(stage, frozenset()).isdisjoint(stages) for stage in stages)


def stale_files(
    infos: Mapping[str, StageInfo], expected: Mapping[str, str], stages: Sequence[type[Stage]]
) -> Staleness:
    """What is stale of a shard.

    Args:
        infos: of its files that can be read, by stage.
        expected: the fingerprint that each stage should have, by a profile. Empty: settings are not compared.
        stages: those of the profile.
    """
    complete = [stage for stage in stages if stage.name in infos and _records_inputs(infos[stage.name], stage)]
    other_settings = frozenset(
        stage.name
        for stage in complete
        if stage.name in expected and infos[stage.name].key.fingerprint != expected[stage.name]
    )
    changed: dict[str, frozenset[str]] = {}
    for stage in complete:
        inputs = _changed_inputs(infos[stage.name], infos)
        beside = _newer_side_files(stage, infos, expected) if inputs or stage.name in other_settings else frozenset()
        if inputs or beside:
            changed[stage.name] = inputs | beside
    return Staleness(other_settings, changed, _in_words(other_settings, changed, [stage.name for stage in stages]))


def _records_inputs(info: StageInfo, stage: type[Stage]) -> bool:
    """Whether the file says what a file of the stage must say of its making."""
    return bool(info.key.fingerprint) and all(
        info.key.inputs.get(name) for name in (*stage.reads, *stage.outside_inputs)
    )


def _changed_inputs(info: StageInfo, infos: Mapping[str, StageInfo]) -> frozenset[str]:
    """The files it was made from that have another content now."""
    inputs = info.key.inputs.items()
    return frozenset(name for name, content in inputs if name in infos and infos[name].content != content)


def _newer_side_files(
    stage: type[Stage], infos: Mapping[str, StageInfo], expected: Mapping[str, str]
) -> frozenset[str]:
    """What is written with the stale file and was made again since. A run that was interrupted between them leaves this."""
    own = infos[stage.name]
    newer = set()
    for name in (file.name for file in stage.side_files if file.name in infos):
        info = infos[name]
        if (info.key.fingerprint, info.key.inputs) == (own.key.fingerprint, own.key.inputs):
            continue
        has_settings = info.key.fingerprint == expected.get(stage.name, info.key.fingerprint)
        is_current = has_settings and not _changed_inputs(info, infos)
        if _records_inputs(info, stage) and (is_current or _changed_inputs(own, infos)):
            newer.add(name)
    return frozenset(newer)


def _in_words(other_settings: Collection[str], changed: Mapping[str, Collection[str]], stages: Sequence[str]) -> str:
    """As in "fetched again, the models have not run since"."""
    reasons = []
    again = next((name for name in stages if any(name in inputs for inputs in changed.values())), None)
    if again is not None:
        first = next(name for name in stages if again in changed.get(name, ()))
        cause = "fetched again" if again == StageName.FETCHED_IMAGES else f"{again} was made again"
        reasons.append(
            f"{cause}, the models have not run since"
            if first in _MODEL_STAGES
            else f"{cause}, {first} has not been made since"
        )
    if other_settings:
        reasons.append("made with other settings than this profile's")
    return "; ".join(reasons)
