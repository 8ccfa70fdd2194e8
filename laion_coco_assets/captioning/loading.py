"""Loads a profile's models onto a device: by hub name and revision, or from a local copy without any network."""

from laion_coco_assets.captioning.blip import Blip, load_blip
from laion_coco_assets.captioning.clip import Clip, load_clip

__all__ = ["Blip", "Clip", "load_blip", "load_clip"]
