"""Defines what the demo's pictures show: scenes, their true captions, and the split into training and held-out.

Drawing is in `drawing.py`; whether a caption is right is in `accuracy.py`.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Any, Literal

Relation = Literal["left", "right", "above", "below"]
Split = Literal["train", "held_out"]

# kind -> (singular, plural) wordings; the first is the usual one
KINDS: dict[str, tuple[tuple[str, str], ...]] = {
    "cat": (("cat", "cats"), ("kitten", "kittens")),
    "tree": (("tree", "trees"),),
    "house": (("house", "houses"), ("cottage", "cottages")),
    "car": (("car", "cars"), ("automobile", "automobiles")),
    "ball": (("ball", "balls"),),
    "star": (("star", "stars"),),
    "boat": (("boat", "boats"), ("ship", "ships")),
    "cup": (("cup", "cups"), ("mug", "mugs")),
    "fish": (("fish", "fish"),),
    "flower": (("flower", "flowers"), ("blossom", "blossoms")),
    "umbrella": (("umbrella", "umbrellas"), ("parasol", "parasols")),
    "kite": (("kite", "kites"),),
}
COLOURS: dict[str, tuple[str, ...]] = {
    "red": ("red",),
    "orange": ("orange",),
    "yellow": ("yellow",),
    "green": ("green",),
    "blue": ("blue",),
    "purple": ("purple", "violet"),
    "pink": ("pink",),
    "white": ("white",),
}
COUNTS: dict[int, tuple[str, ...]] = {
    1: ("a", "one", "a single"),
    2: ("two", "a pair of"),
    3: ("three",),
    4: ("four",),
}
RELATIONS: dict[Relation, tuple[str, ...]] = {
    "left": ("to the left of", "left of", "on the left of"),
    "right": ("to the right of", "right of", "on the right of"),
    "above": ("above", "over"),
    "below": ("below", "under", "beneath"),
}
MIRRORED: dict[Relation, Relation] = {"left": "right", "right": "left", "above": "below", "below": "above"}
BACKGROUNDS: dict[str, tuple[str, ...]] = {
    "meadow": ("on a meadow", "on the grass", "in a green field"),
    "beach": ("on a beach", "on the sand"),
    "sea": ("on the sea", "on the water", "at sea"),
    "night": ("in the night sky", "at night"),
    "room": ("in a room", "indoors"),
    "snow": ("in the snow", "in a snowy field"),
    "desert": ("in a desert", "in the desert"),
    "street": ("on a street", "on the road"),
}
HELD_OUT_ONE_IN = 5


@dataclass(frozen=True)
class Group:
    """`count` (1 to 4) things of one kind and colour."""

    kind: str
    colour: str
    count: int


@dataclass(frozen=True)
class Scene:
    """One group, or two of different kinds. Then `relation` says where the first is, seen from the second.

    `seed` fixes everything that captions do not tell: places, sizes, tilts, mirroring, light and noise.
    """

    groups: tuple[Group, ...]
    relation: Relation | None
    background: str
    seed: int

    def __post_init__(self) -> None:
        if len(self.groups) not in (1, 2) or (len(self.groups) == 2) != (self.relation is not None):
            raise ValueError(f"a scene has one group, or two and a relation: {self.groups}, {self.relation}")


def canonical_facts(groups: Sequence[Group], relation: Relation | None) -> tuple[tuple[Group, ...], Relation | None]:
    """Groups and relation in the order in which the relation is `left` or `above`."""
    if relation in ("right", "below"):
        return tuple(reversed(groups)), MIRRORED[relation]
    return tuple(groups), relation


def split_of(scene: Scene) -> Split:
    """Training or held-out, by a hash of what the scene means. The same facts are never on both sides."""
    groups, relation = canonical_facts(scene.groups, scene.relation)
    facts = json.dumps([[asdict(group) for group in groups], relation, scene.background])
    bucket = int.from_bytes(hashlib.sha256(facts.encode()).digest()[:8], "big") % HELD_OUT_ONE_IN
    return "held_out" if bucket == 0 else "train"


def random_scene(rng: Random, split: Split | None = None) -> Scene:
    """A random scene; with `split`, one from that side."""
    while True:
        kinds = rng.sample(sorted(KINDS), 2 if rng.random() < 0.75 else 1)
        first = rng.choices((1, 2, 3, 4), weights=(4, 3, 2, 2))[0]
        second = rng.choices((1, 2, 3), weights=(7, 3, 1))[0]
        groups = [Group(kind, rng.choice(sorted(COLOURS)), n) for kind, n in zip(kinds, (first, second), strict=False)]
        relation = rng.choice(sorted(RELATIONS)) if len(groups) == 2 else None
        scene = Scene(tuple(groups), relation, rng.choice(sorted(BACKGROUNDS)), rng.getrandbits(32))
        if split is None or split_of(scene) == split:
            return scene


def _usually_first(rng: Random, wordings: Sequence[Any], share: float = 0.7) -> Any:
    return wordings[0] if len(wordings) == 1 or rng.random() < share else rng.choice(wordings[1:])


def _group_words(group: Group, rng: Random) -> str:
    count = _usually_first(rng, COUNTS[group.count], 0.8)
    colour = _usually_first(rng, COLOURS[group.colour], 0.8)
    noun = _usually_first(rng, KINDS[group.kind], 0.8)[group.count > 1]
    if count == "a" and colour[0] in "aeiou":
        count = "an"
    return f"{count} {colour} {noun}"


def true_caption(scene: Scene, rng: Random | None = None) -> str:
    """A true caption in lower case: the usual wording, or with `rng` one of the many equivalent ones."""
    rng = rng or _Plain()
    groups, relation = scene.groups, scene.relation
    if relation is not None and rng.random() >= 0.5:
        groups, relation = (groups[1], groups[0]), MIRRORED[relation]
    words = [_group_words(groups[0], rng)]
    if relation is not None:
        words += [_usually_first(rng, RELATIONS[relation]), _group_words(groups[1], rng)]
    if rng.random() < 0.85:
        words.append(_usually_first(rng, BACKGROUNDS[scene.background]))
    return " ".join(words)


class _Plain(Random):
    """Always takes the first wording, and keeps the scene's own order and background."""

    def random(self) -> float:
        return 0.0


def scene_to_json(scene: Scene) -> str:
    """The scene as one line of JSON, which `scene_from_json` reads."""
    return json.dumps(asdict(scene), sort_keys=True)


def scene_from_json(text: str) -> Scene:
    """Read a scene that `scene_to_json` wrote."""
    fields = json.loads(text)
    return Scene(**{**fields, "groups": tuple(Group(**group) for group in fields["groups"])})
