"""When a caption is right: read back what it claims and compare that with the scene.

A caption is accurate when it says of every group of things in the picture the kind, the colour and the count, says of two
groups how they lie to each other, claims nothing else about them, and names the true background if it names one. All
wordings count that `scenes.py` knows (kitten for cat, a pair of for two), and the relation may be told from either side
("b to the right of a" for "a to the left of b"). A caption that can not be read as such a claim is not accurate.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from laion_coco_assets.demo.scenes import (
    BACKGROUNDS,
    COLOURS,
    COUNTS,
    KINDS,
    RELATIONS,
    Group,
    Relation,
    Scene,
    canonical_facts,
)

T = TypeVar("T")


@dataclass(frozen=True)
class ParsedCaption:
    """What a caption claims; `background` is None when it names none."""

    groups: tuple[Group, ...]
    relation: Relation | None
    background: str | None


def _phrases(table: Mapping[T, Sequence[str]]) -> list[tuple[tuple[str, ...], T]]:
    """Every wording as words with its meaning, the longest first, so that `on the left of` is met before `on the`."""
    pairs = [(tuple(phrase.split()), meaning) for meaning, wordings in table.items() for phrase in wordings]
    return sorted(pairs, key=lambda pair: -len(pair[0]))


_COUNTS = _phrases({**COUNTS, 1: (*COUNTS[1], "an")})
_COLOURS = _phrases(COLOURS)
_SINGULAR = _phrases({kind: tuple(one for one, _ in nouns) for kind, nouns in KINDS.items()})
_PLURAL = _phrases({kind: tuple(many for _, many in nouns) for kind, nouns in KINDS.items()})
_RELATIONS = _phrases(RELATIONS)
_BACKGROUNDS = _phrases(BACKGROUNDS)


class _Words:
    """The words not yet read."""

    def __init__(self, text: str) -> None:
        self.rest = tuple(re.findall(r"\w+", text.lower()))

    def take(self, phrases: list[tuple[tuple[str, ...], T]]) -> T | None:
        for words, meaning in phrases:
            if self.rest[: len(words)] == words:
                self.rest = self.rest[len(words) :]
                return meaning
        return None


def _take_group(words: _Words) -> Group | None:
    count = words.take(_COUNTS)
    colour = words.take(_COLOURS)
    kind = words.take(_SINGULAR if count in (1, None) else _PLURAL)
    if colour is None or kind is None:
        return None
    return Group(kind, colour, count or 1)


def parse_caption(text: str) -> ParsedCaption | None:
    """What `text` claims, or None when it is anything else than "group [relation group] [background]".

    Case and punctuation are ignored; a group without a count and with a singular noun is one thing.
    """
    words = _Words(text)
    first = _take_group(words)
    if first is None:
        return None
    groups: tuple[Group, ...] = (first,)
    relation = words.take(_RELATIONS)
    if relation is not None:
        second = _take_group(words)
        if second is None:
            return None
        groups = (first, second)
    background = words.take(_BACKGROUNDS)
    return None if words.rest else ParsedCaption(groups, relation, background)


def is_accurate(caption: str, scene: Scene) -> bool:
    """Whether `caption` names the right objects, colours, counts and relation (the module's docstring has the rule)."""
    claim = parse_caption(caption)
    if claim is None or claim.background not in (None, scene.background):
        return False
    return canonical_facts(claim.groups, claim.relation) == canonical_facts(scene.groups, scene.relation)
