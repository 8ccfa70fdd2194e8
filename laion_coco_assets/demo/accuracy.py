"""Decides whether a caption is right: parses what it claims and compares that with the scene.

A caption is accurate when it names the kind, colour and count of every group in the picture and, for two groups, their
relation. It must claim nothing else about them. If it names a background, that must be the true one. All wordings of
`scenes.py` count (kitten for cat, a pair of for two). The relation may be told from either side ("b to the right of a" for "a
to the left of b"). A caption that cannot be parsed this way is not accurate.
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
    """Every wording as words, with its meaning. The longest come first, so `on the left of` is tried before `on the`."""
    pairs = [(tuple(phrase.split()), meaning) for meaning, wordings in table.items() for phrase in wordings]
    return sorted(pairs, key=lambda pair: -len(pair[0]))


_COUNTS = _phrases({**COUNTS, 1: (*COUNTS[1], "an")})
_COLOURS = _phrases(COLOURS)
_SINGULAR = _phrases({kind: tuple(one for one, _ in nouns) for kind, nouns in KINDS.items()})
_PLURAL = _phrases({kind: tuple(many for _, many in nouns) for kind, nouns in KINDS.items()})
_RELATIONS = _phrases(RELATIONS)
_BACKGROUNDS = _phrases(BACKGROUNDS)


class _Words:
    """The words that are not read yet."""

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
    """What `text` claims, or None when it is not of the form "group [relation group] [background]".

    Case and punctuation are ignored. A group with a singular noun and no count is one thing.
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
