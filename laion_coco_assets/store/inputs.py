"""The files that a stage is made from: whether those in the store are the ones that its settings ask for."""

from collections.abc import Iterable, Mapping

from laion_coco_assets.contract.profile import Profile
from laion_coco_assets.contract.stage_info import StageInfo
from laion_coco_assets.errors import StoreError
from laion_coco_assets.store.store import ShardStore


def need_current(
    store: ShardStore, shard: str, stages: Iterable[str], profile: Profile, fingerprints: Mapping[str, str]
) -> dict[str, str]:
    """Content digests (32 hex digits) of a shard's files of `stages`, by stage.

    Raises:
        StoreError: a file is missing, was made with other settings than the profile's, or from files that changed since.
    """
    infos = {stage: store.need(stage, shard) for stage in stages}
    contents = {stage: info.content for stage, info in infos.items()}
    for stage, info in infos.items():
        why = _outdated(info, contents, profile.fetch.max_samples, fingerprints[stage])
        if why:
            raise StoreError(f"{store.path(stage, shard)} was made {why}: materialise {stage} of shard {shard} first")
    return contents


def _outdated(info: StageInfo, contents: Mapping[str, str], cap: int | None, fingerprint: str) -> str:
    """How the file differs from the one that is wanted; empty if it does not."""
    trial = info.metadata.get("max_samples")
    if trial != cap:
        return "of the whole shard, and this is a trial" if trial is None else f"in a trial, of {trial} samples"
    if info.key.fingerprint != fingerprint:
        return "with other settings than this profile's"
    older = [name for name, content in info.key.inputs.items() if contents.get(name, content) != content]
    return f"from an earlier {', '.join(older)}" if older else ""
