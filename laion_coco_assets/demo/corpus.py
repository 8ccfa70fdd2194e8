"""The demo's corpus as a function of seed, number of samples and number of shards: URLs, alt texts, what each URL does.

`images.py` encodes what is served, `server.py` serves it. The truth is written apart from the sources.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from laion_coco_assets.demo.alt_text import alt_text
from laion_coco_assets.demo.scenes import Scene, random_scene, scene_to_json, split_of, true_caption

HOST = "demo.laion-coco.test"
DEFAULT_SEED = 2022

Behaviour = Literal[
    "ok",
    "redirect",
    "not_found",
    "gone",
    "forbidden",
    "rate_limited",
    "server_error",
    "unavailable",
    "hang",
    "truncated_body",
    "truncated_image",
    "html_as_jpeg",
    "html_page",
    "svg",
    "tiff",
    "tiny",
    "banner",
    "opt_out",
    "redirect_loop",
    "redirect_private",
    "duplicate",
    "malformed_url",
    "ftp",
    "credentials",
    "unknown_host",
    "bomb",
    "huge",
]
# What a right fetcher makes of it: None is an image, all others are of the project's closed list of reasons.
EXPECTED_REASON: dict[Behaviour, str | None] = {
    "ok": None,
    "redirect": None,
    "not_found": "http_4xx",
    "gone": "http_4xx",
    "forbidden": "http_4xx",
    "rate_limited": "rate_limited",
    "server_error": "http_5xx",
    "unavailable": "http_5xx",
    "hang": "timeout",
    "truncated_body": "truncated",
    "truncated_image": "truncated",
    "html_as_jpeg": "not_an_image",
    "html_page": "not_an_image",
    "svg": "unsupported_format",
    "tiff": "unsupported_format",
    "tiny": "too_small",
    "banner": "aspect_ratio",
    "opt_out": "opted_out",
    "redirect_loop": "too_many_redirects",
    "redirect_private": "blocked_address",
    "duplicate": "duplicate_url",
    "malformed_url": "invalid_url",
    "ftp": "scheme",
    "credentials": "credentials_in_url",
    "unknown_host": "dns",
    "bomb": "bomb",
    "huge": "too_large",
}
# Of every hundred samples; each hundred is shuffled by itself, so all of them occur in a corpus of a hundred or more.
MIX: dict[Behaviour, int] = {
    **dict.fromkeys(EXPECTED_REASON, 1),
    "ok": 67,
    "redirect": 3,
    "not_found": 4,
    "opt_out": 2,
    "duplicate": 2,
}

Format = Literal["jpeg", "jpeg_grey", "jpeg_cmyk", "jpeg_rotated", "png", "png_palette", "png_alpha", "webp", "gif"]
FORMATS: dict[Format, int] = {
    "jpeg": 60,
    "jpeg_grey": 3,
    "jpeg_cmyk": 3,
    "jpeg_rotated": 3,
    "png": 10,
    "png_palette": 4,
    "png_alpha": 4,
    "webp": 10,
    "gif": 3,
}


@dataclass(frozen=True)
class DemoSample:
    """One source row: what it says, what its URL does, and what can be seen there (None: no image is served)."""

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
        """The reason a right fetcher gives, or None for an image."""
        return EXPECTED_REASON[self.behaviour]


@dataclass(frozen=True)
class Corpus:
    """All samples in source order; shard `n` is the stretch of samples whose `shard` is n."""

    samples: tuple[DemoSample, ...]
    shards: int

    def shard(self, number: int) -> list[DemoSample]:
        """The samples of one shard, in row order."""
        return [sample for sample in self.samples if sample.shard == number]

    def expected_reasons(self) -> dict[str, int]:
        """How many rows each reason should get; images are not counted."""
        counts = Counter(sample.expected_reason for sample in self.samples)
        return {reason: number for reason, number in sorted(counts.items(), key=str) if reason is not None}


def _behaviours(seed: int) -> Iterator[Behaviour]:
    deck = [behaviour for behaviour, count in MIX.items() for _ in range(count)]
    block = 0
    while True:
        shuffled = list(deck)
        Random(f"behaviours {seed} {block}").shuffle(shuffled)
        yield from shuffled
        block += 1


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
        if greyscale:  # without colours, only white things can be told right
            scene = replace(scene, groups=tuple(replace(group, colour="white") for group in scene.groups))
        if split_of(scene) == "held_out":
            return scene


def _url(scene: Scene, index: int, extension: str, rng: Random) -> str:
    group = scene.groups[0]
    number = f"{index:05d}{rng.randint(10, 99)}"
    name = f"{group.colour}-{group.kind}"
    return f"http://{HOST}" + rng.choice(
        (
            f"/shop/{number}/{name}.{extension}",
            f"/wp-content/uploads/20{rng.randint(12, 22)}/0{rng.randint(1, 9)}/{name}-{number}.{extension}",
            f"/media/catalog/product/{name[0]}/{number}_{rng.randint(1, 4)}.{extension}",
            f"/photos/{number}/large?w=640&fit=crop",
            f"/i/{hashlib.sha256(number.encode()).hexdigest()[:16]}.{extension}",
            f"/galer%C3%ADa/{number}/{name}%20(1).{extension}",
        )
    )


def _extension(behaviour: Behaviour, picture_format: Format, rng: Random) -> str:
    if behaviour in ("svg", "tiff"):
        return behaviour
    if picture_format.startswith("png"):
        return "jpg" if rng.random() < 0.3 else "png"
    return {"webp": "webp", "gif": "gif"}.get(picture_format, "jpg")


def _unusual_url(behaviour: Behaviour, url: str, rng: Random) -> str:
    path = url.removeprefix(f"http://{HOST}")
    if behaviour == "malformed_url":
        number = path.strip("/").replace("/", "-")
        return rng.choice((f"http:///{number}", f"not a url {number}", f"http://[{HOST}/{number}"))
    prefixes: dict[Behaviour, str] = {
        "ftp": f"ftp://{HOST}",
        "credentials": f"http://admin:secret@{HOST}",
        "unknown_host": "http://no-such-host.invalid",
    }
    return prefixes.get(behaviour, f"http://{HOST}") + path


NO_PICTURE: frozenset[Behaviour] = frozenset(
    {
        "not_found",
        "gone",
        "forbidden",
        "rate_limited",
        "server_error",
        "unavailable",
        "html_as_jpeg",
        "html_page",
        "svg",
        "redirect_loop",
        "redirect_private",
        "malformed_url",
        "ftp",
        "credentials",
        "unknown_host",
        "bomb",
    }
)


def _sample(index: int, shard: int, behaviour: Behaviour, seed: int) -> DemoSample:
    rng = Random(f"sample {seed} {index}")
    picture_format = rng.choices(list(FORMATS), weights=list(FORMATS.values()))[0]
    if behaviour in ("truncated_image", "truncated_body", "huge"):
        picture_format = "jpeg"
    scene = _held_out_scene(rng, picture_format == "jpeg_grey")
    width, height = _size(rng, behaviour)
    url = _unusual_url(behaviour, _url(scene, index, _extension(behaviour, picture_format, rng), rng), rng)
    shown = None if behaviour in NO_PICTURE else scene
    return DemoSample(index, shard, url, alt_text(scene, rng), behaviour, shown, picture_format, width, height)


def build_corpus(samples: int = 240, shards: int = 2, seed: int = DEFAULT_SEED) -> Corpus:
    """`samples` rows in `shards` shards of (nearly) equal length; the same arguments give the same corpus."""
    if not 1 <= shards <= samples:
        raise ValueError(f"a demo corpus needs at least one sample a shard: {samples} samples, {shards} shards")
    built: list[DemoSample] = []
    for index, behaviour in zip(range(samples), _behaviours(seed), strict=False):
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


def _source_table(samples: list[DemoSample]) -> pa.Table:
    rngs = [Random(f"metadata {sample.url} {sample.text}") for sample in samples]
    hashes = [hashlib.sha256(f"{sample.url}\0{sample.text}".encode()).digest()[:8] for sample in samples]
    return pa.table(
        {
            "URL": pa.array([sample.url for sample in samples], pa.string()),
            "TEXT": pa.array([sample.text for sample in samples], pa.string()),
            "WIDTH": pa.array([sample.width for sample in samples], pa.int64()),
            "HEIGHT": pa.array([sample.height for sample in samples], pa.int64()),
            "similarity": pa.array([round(rng.uniform(0.28, 0.42), 6) for rng in rngs], pa.float64()),
            "hash": pa.array([int.from_bytes(key, "big", signed=True) for key in hashes], pa.int64()),
            "pwatermark": pa.array([round(rng.random() ** 3, 6) for rng in rngs], pa.float64()),
            "punsafe": pa.array([round(rng.random() ** 6, 6) for rng in rngs], pa.float64()),
        }
    )


def write_sources(folder: Path, corpus: Corpus) -> list[Path]:
    """Writes `demo-00000.parquet`, ... with LAION's columns, one file a shard, and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"demo-{shard:05d}.parquet" for shard in range(corpus.shards)]
    for shard, path in enumerate(paths):
        pq.write_table(_source_table(corpus.shard(shard)), path, compression="snappy")
    return paths


def write_truth(folder: Path, corpus: Corpus) -> Path:
    """Writes `truth.parquet`: for every source row URL, TEXT, true_caption, expected_reason (null: ok) and scene (JSON).

    Keep it out of the sources' folder: the pipeline must not see it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shown = [sample.scene for sample in corpus.samples]
    table = pa.table(
        {
            "shard": pa.array([f"demo-{sample.shard:05d}" for sample in corpus.samples], pa.string()),
            "URL": pa.array([sample.url for sample in corpus.samples], pa.string()),
            "TEXT": pa.array([sample.text for sample in corpus.samples], pa.string()),
            "true_caption": pa.array([scene and true_caption(scene) for scene in shown], pa.string()),
            "expected_reason": pa.array([sample.expected_reason for sample in corpus.samples], pa.string()),
            "scene": pa.array([scene and scene_to_json(scene) for scene in shown], pa.string()),
        }
    )
    path = folder / "truth.parquet"
    pq.write_table(table, path)
    return path
