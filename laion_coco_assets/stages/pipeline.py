"""The stages of a profile in their order, what each depends on, and their fingerprints."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from laion_coco_assets.contract.profile import Profile
from laion_coco_assets.stages.stage import Stage


@dataclass(frozen=True)
class Pipeline:
    """A profile's stages; each comes after those that it reads."""

    profile: Profile
    stages: tuple[type[Stage], ...]

    @cached_property
    def by_name(self) -> Mapping[str, type[Stage]]:
        """The stages by name, in order."""
        return {stage.name: stage for stage in self.stages}

    @cached_property
    def fingerprints(self) -> Mapping[str, str]:
        """Each stage's fingerprint (32 hex digits). A setting changes its stage's and those of all stages made from it."""
        result: dict[str, str] = {}
        for stage in self.stages:
            material = {
                "stage": stage.name,
                "version": stage.version,
                "settings": self.settings[stage.name],
                "before": ",".join(result[name] for name in self._direct_reads(stage)),
            } | self._extension_material(stage)
            result[stage.name] = hashlib.sha256(json.dumps(material, sort_keys=True).encode()).hexdigest()[:32]
        return result

    @cached_property
    def settings(self) -> Mapping[str, dict[str, Any] | None]:
        """Each stage's settings, as plain values; None where the profile has no such section."""
        return {stage.name: stage.settings(self.profile) for stage in self.stages}

    def before(self, name: str) -> tuple[str, ...]:
        """All stages that a stage is made from, directly or not, in order."""
        wanted = set(self.by_name[name].reads)
        for stage in reversed(self.stages):
            if stage.name in wanted:
                wanted.update(stage.reads)
        return tuple(stage.name for stage in self.stages if stage.name in wanted)

    def capped(self, max_samples: int) -> "Pipeline":
        """The same stages for a trial on the first `max_samples` rows of each shard."""
        return replace(self, profile=self.profile.capped(max_samples))

    def with_profile(self, profile: Profile) -> "Pipeline":
        """The same stages with other settings."""
        return self if profile == self.profile else replace(self, profile=profile)

    def _direct_reads(self, stage: type[Stage]) -> list[str]:
        """The stages it reads that no other one it reads is made from: their fingerprints cover the others."""
        covered = {name for read in stage.reads for name in self.before(read)}
        return [name for name in stage.reads if name not in covered]

    def _extension_material(self, stage: type[Stage]) -> dict[str, Any]:
        """What else decides the output of a stage of another package: which class it is, and its columns."""
        extensions = self.profile.stages
        paths = dict(zip(self.stages[len(self.stages) - len(extensions) :], extensions, strict=True))
        if stage not in paths:
            return {}
        return {"class": paths[stage], "columns": [(column.name, column.type_name) for column in stage.columns]}


def with_side_files(stages: Sequence[type[Stage]]) -> list[type[Stage]]:
    """The stages, each followed by what is written with it."""
    return [file for stage in stages for file in (stage, *stage.side_files)]
