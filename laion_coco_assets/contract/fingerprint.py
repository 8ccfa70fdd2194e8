"""Fingerprints: one hash a stage over every setting and model that it, and all stages before it, depend on."""

import hashlib
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from laion_coco_assets.contract.profile import Profile
from laion_coco_assets.contract.schemas import Stage

#: Raised by one when a stage's code comes to give another output for the same settings.
STAGE_VERSIONS: Final[dict[Stage, int]] = {
    Stage.FETCHED_IMAGES: 1,
    Stage.BLIP_CANDIDATES: 1,
    Stage.CLIP_L_TOP5: 1,
    Stage.RN50X64_FINAL: 1,
    Stage.PUBLISHED: 2,
}

_SECTIONS: Final[dict[Stage, str]] = {
    Stage.FETCHED_IMAGES: "fetch",
    Stage.BLIP_CANDIDATES: "caption",
    Stage.CLIP_L_TOP5: "rank",
    Stage.RN50X64_FINAL: "final",
    Stage.PUBLISHED: "publish",
}

_BLOCK: Final = 1 << 16
_BLOCKS: Final = 64


def section(profile: Profile, stage: Stage) -> BaseModel | None:
    """The part of the profile that decides a stage's output."""
    part: BaseModel | None = getattr(profile, _SECTIONS[stage])
    return part


def fingerprints(profile: Profile) -> dict[Stage, str]:
    """Each stage's fingerprint (32 hex digits): changing a setting changes those of its stage and all after it."""
    chain = ""
    result = {}
    for stage in Stage:
        material = {
            "stage": stage.value,
            "version": STAGE_VERSIONS[stage],
            "settings": stage_settings(profile, stage),
            "before": chain,
        }
        chain = hashlib.sha256(json.dumps(material, sort_keys=True).encode()).hexdigest()[:32]
        result[stage] = chain
    return result


def stage_settings(profile: Profile, stage: Stage) -> dict[str, Any] | None:
    """A stage's settings as plain values; a local model stands there by what is in it, not by where it lies."""
    part = section(profile, stage)
    if part is None:
        return None
    settings = part.model_dump(mode="json")
    model = getattr(part, "model", None)
    if model is not None and model.path is not None:
        # All that still decides how the weights are used, such as CLIP's `pretrained`, which tells QuickGELU from GELU.
        own = model.model_dump(mode="json", exclude={"path", "revision"})
        settings["model"] = own | {"content": content_digest(model.path)}
    return settings


def content_digest(path: Path) -> str:
    """Hash (32 hex digits) of a file's or folder's content; where it lies and when it was written do not matter.

    Files up to 4 MiB are read whole. Of a larger one the length and 64 blocks of 64 KiB, spread evenly from its first
    byte to its last, are: new weights change all of them, and definitions that name 7 GB of models still load at once.
    """
    digest = hashlib.sha256()
    for name, file in _files(path):
        stat = file.stat()
        digest.update(f"{name}\0{stat.st_size}\0".encode())
        digest.update(_file_digest(file, stat.st_size, stat.st_mtime_ns))
    return digest.hexdigest()[:32]


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        yield "", path
        return
    for file in sorted(path.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
        if file.is_file() and not hidden and file.suffix != ".md":
            yield file.relative_to(path).as_posix(), file


@lru_cache(maxsize=1024)
def _file_digest(file: Path, size: int, _mtime_ns: int) -> bytes:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        if size <= _BLOCK * _BLOCKS:
            digest.update(stream.read())
        else:
            for i in range(_BLOCKS):
                stream.seek((size - _BLOCK) * i // (_BLOCKS - 1))
                digest.update(stream.read(_BLOCK))
    return digest.digest()
