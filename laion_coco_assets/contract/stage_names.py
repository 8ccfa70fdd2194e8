"""Names of the built-in stages and of the ledger: assets, folders and what files call themselves.

Stages keep the names of LAION-COCO's models, whatever models a profile names; everything else is named for its role.
"""

from enum import StrEnum
from typing import Final


class StageName(StrEnum):
    """The built-in stages, in pipeline order."""

    FETCHED_IMAGES = "fetched_images"
    BLIP_CANDIDATES = "blip_candidates"
    CLIP_L_TOP5 = "clip_l_top5"
    RN50X64_FINAL = "rn50x64_final"
    PUBLISHED = "published"


#: The ledger's folder beside the stages'. The ledger is written with `published` and is not a stage of its own.
LEDGER: Final = "ledger"

#: Folders of a data folder that hold a file for each shard, in the order in which they are written.
STAGE_FOLDERS: Final = (*StageName, LEDGER)
