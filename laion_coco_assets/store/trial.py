"""A trial: a run that takes the first samples of its shards only, said by a tag of the run.

Such a run's settings are the profile's with `fetch.max_samples`, so what it makes has fingerprints of its own: a run
without the tag makes it anew, as after any other change of a setting.
"""

from collections.abc import Mapping
from typing import Final

from laion_coco_assets.contract.profile import MOST_SAMPLES, Profile
from laion_coco_assets.contract.schemas import SCHEMAS, Stage
from laion_coco_assets.errors import StoreError, UserError
from laion_coco_assets.store.store import ShardStore

#: A tag, not configuration: it holds for all stages and checks of a run, and of a backfill.
MAX_SAMPLES_TAG: Final = "laion_coco/max_samples"
_SHOWN: Final = 40  # characters of a wrong value


def profile_of_run(profile: Profile, tags: Mapping[str, str]) -> Profile:
    """The profile, or the one for a trial when the run's tags ask for one.

    Raises:
        UserError: the tag's value is no number of samples.
    """
    said = tags.get(MAX_SAMPLES_TAG)
    if said is None:
        return profile
    digits = said.isascii() and said.isdecimal() and len(said) <= len(str(MOST_SAMPLES))
    if not (digits and int(said)):
        shown = said if len(said) <= _SHOWN else f"{said[:_SHOWN]}…"
        raise UserError(f"tag {MAX_SAMPLES_TAG}: must be a number of samples from 1 to {MOST_SAMPLES}, not {shown!r}")
    return profile.capped(int(said))


def profile_of_file(store: ShardStore, stage: Stage, shard: str, profile: Profile) -> Profile:
    """The profile, or the one for a trial when the file there was made in one."""
    try:
        info = store.info(stage, shard)
    except StoreError:
        return profile  # damaged: no trial of ours
    cap = None if info is None else info.metadata.get("max_samples")
    return profile.capped(cap) if isinstance(cap, int) else profile


def keep_whole(store: ShardStore, shard: str, profile: Profile) -> None:
    """Let no trial take the place of any file of a whole shard, which may have taken days.

    Raises:
        StoreError: it would.
    """
    if profile.fetch.max_samples is None:
        return
    for stage in SCHEMAS:
        info = store.usable_info(stage, shard)
        if info is not None and "max_samples" not in info.metadata:
            raise StoreError(
                f"{store.path(stage, shard)} holds the whole shard, and a trial would replace it: "
                "use another data dir, or delete the file"
            )
