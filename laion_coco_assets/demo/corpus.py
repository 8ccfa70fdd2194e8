"""Builds the demo's corpus as a function of seed, number of samples and number of shards.

`behaviours.py` defines what each URL does, `picture_bytes.py` encodes the pictures, `server.py` serves them, and
`corpus_files.py` writes the source shards.
"""

from dataclasses import dataclass, replace
from random import Random

from laion_coco_assets.demo.alt_text import alt_text
from laion_coco_assets.demo.behaviours import EXPECTED_REASON, NO_PICTURE, Behaviour, behaviours
from laion_coco_assets.demo.picture_formats import FORMATS, Format
from laion_coco_assets.demo.sample_urls import sample_url
from laion_coco_assets.demo.scenes import Scene, random_scene, split_of

DEFAULT_SEED = 2022


@dataclass(frozen=True)
class DemoSample:
    """One source row: its columns, what its URL does, and the scene that its image shows (None: it serves no image)."""

    index: int
    shard: int
    url: str
    text: str
    behaviour: Behaviour
    scene: Scene | None
    format: Format
    width: int
    height: int

    @property
    def expected_reason(self) -> str | None:
        """The reason that a correct fetcher gives, or None for an image."""
        return EXPECTED_REASON[self.behaviour]


@dataclass(frozen=True)
class Corpus:
    """All samples in source order. Shard `n` holds the samples whose `shard` is n."""

    samples: tuple[DemoSample, ...]
    shards: int

    def shard(self, number: int) -> list[DemoSample]:
        """The samples of one shard, in row order."""
        return [sample for sample in self.samples if sample.shard == number]


def _size(rng: Random, behaviour: Behaviour) -> tuple[int, int]:
    if behaviour == "tiny":
        return 8, 8
    if behaviour == "banner":
        return 900, 24
    side = 150 * 2 ** (2.2 * rng.random() ** 2)
    aspect = rng.choice((4 / 3, 3 / 2, 1.0, 16 / 9, 3 / 4, 2 / 3, 2 ** rng.uniform(-0.9, 0.9)))
    return round(side * aspect**0.5), round(side / aspect**0.5)


def _held_out_scene(rng: Random, greyscale: bool) -> Scene:
    while True:
        scene = random_scene(rng, "held_out")
        if greyscale:  # in greyscale, only white things have a colour that can be named
            scene = replace(scene, groups=tuple(replace(group, colour="white") for group in scene.groups))
        if split_of(scene) == "held_out":
            return scene


def _sample(index: int, shard: int, behaviour: Behaviour, seed: int) -> DemoSample:
    rng = Random(f"sample {seed} {index}")
    picture_format = rng.choices(list(FORMATS), weights=list(FORMATS.values()))[0]
    if behaviour in ("truncated_image", "truncated_body", "huge"):
        picture_format = "jpeg"
    scene = _held_out_scene(rng, picture_format == "jpeg_grey")
    width, height = _size(rng, behaviour)
    url = sample_url(scene, index, behaviour, picture_format, rng)
    shown = None if behaviour in NO_PICTURE else scene
    return DemoSample(index, shard, url, alt_text(scene, rng), behaviour, shown, picture_format, width, height)


def build_corpus(samples: int = 240, shards: int = 2, seed: int = DEFAULT_SEED) -> Corpus:
    """`samples` rows in `shards` shards of (nearly) equal length. The same arguments give the same corpus."""
    if not 1 <= shards <= samples:
        raise ValueError(f"a demo corpus needs at least one sample a shard: {samples} samples, {shards} shards")
    built: list[DemoSample] = []
    for index, behaviour in zip(range(samples), behaviours(seed), strict=False):
        shard = index * shards // samples
        rng = Random(f"duplicate {seed} {index}")
        earlier = [old for old in built if old.shard == shard and old.behaviour == "ok"]
        if behaviour != "duplicate":
            built.append(_sample(index, shard, behaviour, seed))
        elif not earlier:
            built.append(_sample(index, shard, "ok", seed))
        else:
            old = rng.choice(earlier)
            text = old.text if rng.random() < 0.5 or old.scene is None else alt_text(old.scene, rng)
            built.append(replace(old, index=index, text=text, behaviour="duplicate"))
    return Corpus(tuple(built), shards)
