"""The pipeline's table of contents: each stage in its own module, in the order in which a shard goes through them."""

from typing import Final

from laion_coco_assets.assets.blip_candidates import BlipCandidates
from laion_coco_assets.assets.clip_l_top5 import ClipLTop5
from laion_coco_assets.assets.fetched_images import FetchedImages
from laion_coco_assets.assets.published import Published
from laion_coco_assets.assets.rn50x64_final import Rn50x64Final
from laion_coco_assets.contract.profile import Profile
from laion_coco_assets.stages.extension_stages import with_extensions
from laion_coco_assets.stages.pipeline import Pipeline
from laion_coco_assets.stages.stage import Stage

STAGES: Final[tuple[type[Stage], ...]] = (
    FetchedImages,  # every source row's URL becomes image bytes, or a reason
    BlipCandidates,  # the captioner writes captions for every image
    ClipLTop5,  # the first ranker scores them all and keeps the best
    Rn50x64Final,  # the final ranker picks the winner of those
    Published,  # the data set, and the ledger that says where every source row ended
)


def pipeline_of(profile: Profile) -> Pipeline:
    """The built-in stages and those that the profile names. Raises ProfileError."""
    return Pipeline(profile, with_extensions(profile, STAGES))


def fingerprints(profile: Profile) -> dict[str, str]:
    """Each stage's fingerprint (32 hex digits) with this profile. Raises ProfileError."""
    return dict(pipeline_of(profile).fingerprints)
