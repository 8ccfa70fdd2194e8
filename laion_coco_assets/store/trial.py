"""A trial: a run that takes only the first samples of each shard, as a tag of the run asks.

Its settings are the profile's with `fetch.max_samples`, so its files have fingerprints of their own. A run without the
tag makes them again, as after any other change of a setting.
"""

from collections.abc import Mapping
from typing import Final

from laion_coco_assets.contract.profile import MOST_SAMPLES, Profile
from laion_coco_assets.errors import StoreError, UserError
from laion_coco_assets.store.store import ShardStore

#: A tag, not configuration: it applies to all stages and checks of a run, and to all runs of a backfill.
MAX_SAMPLES_TAG: Final = "laion_coco/max_samples"
_SHOWN: Final = 40  # characters of a wrong value


def profile_of_run(profile: Profile, tags: Mapping[str, str]) -> Profile:
    """The profile, or the one for a trial when the run's tags ask for one.

    Raises:
        UserError: the tag's value is not a number of samples.
    """
    value = tags.get(MAX_SAMPLES_TAG)
    if value is None:
        return profile
    digits = value.isascii() and value.isdecimal() and len(value) <= len(str(MOST_SAMPLES))
    if not (digits and int(value)):
        shown = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…"
        raise UserError(f"tag {MAX_SAMPLES_TAG}: must be a number of samples from 1 to {MOST_SAMPLES}, not {shown!r}")
    return profile.capped(int(value))


def profile_of_file(store: ShardStore, stage: str, shard: str, profile: Profile) -> Profile:
    """The profile, or the one for a trial when a trial made the existing file."""
    try:
        info = store.info(stage, shard)
    except StoreError:
        return profile  # damaged: whether a trial made it is unknown
    cap = None if info is None else info.metadata.get("max_samples")
    return profile.capped(cap) if isinstance(cap, int) else profile


def keep_whole(store: ShardStore, shard: str, profile: Profile) -> None:
    """Refuse a trial that would replace a file of a whole shard, which may have taken days to make.

    Raises:
        StoreError: the trial would replace one.
    """
    if profile.fetch.max_samples is None:
        return
    for stage in store.stages:
        info = store.usable_info(stage, shard)
        if info is not None and "max_samples" not in info.metadata:
            raise StoreError(
                f"{store.path(stage, shard)} holds the whole shard, and a trial would replace it: "
                "use another data dir, or delete the file"
            )
