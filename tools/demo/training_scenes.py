"""What only training needs: mirrored and altered scenes, and the vocabulary of captions."""

from dataclasses import replace
from random import Random

from laion_coco_assets.demo.scenes import (
    BACKGROUNDS,
    COLOURS,
    COUNTS,
    KINDS,
    MIRRORED,
    RELATIONS,
    Group,
    Scene,
    canonical_facts,
)


def mirrored(scene: Scene) -> Scene:
    """The scene that a left-right flip of its picture shows. Its seed is the same, so do not draw it."""
    if scene.relation in ("left", "right"):
        return replace(scene, relation=MIRRORED[scene.relation])
    return scene


def vocabulary() -> list[str]:
    """Every word that a true caption can contain, sorted."""
    phrases: list[str] = ["an"]
    for nouns in KINDS.values():
        phrases += [word for pair in nouns for word in pair]
    for table in (COLOURS, COUNTS, RELATIONS, BACKGROUNDS):
        phrases += [phrase for wordings in table.values() for phrase in wordings]
    return sorted({word for phrase in phrases for word in phrase.split()})


def altered_scene(scene: Scene, rng: Random) -> Scene:
    """`scene` with one wrong fact: a colour, a kind, a count, the relation, the background, a swap, a lost group."""
    while True:
        other = _alter_once(scene, rng)
        facts = canonical_facts(other.groups, other.relation), other.background
        if facts != (canonical_facts(scene.groups, scene.relation), scene.background):
            return other


def _alter_once(scene: Scene, rng: Random) -> Scene:  # noqa: C901 - one branch per kind of mistake
    groups = list(scene.groups)
    at = rng.randrange(len(groups))
    changes = ["colour", "kind", "count"] * 2 + ["background"]
    if scene.relation is None:
        changes.append("gain")
    else:
        changes += ["relation"] * 4 + ["swap colours", "swap counts"] * 2 + ["lose"]
    change = rng.choice(changes)
    relation, background = scene.relation, scene.background
    if change == "colour":
        groups[at] = replace(groups[at], colour=rng.choice(sorted(COLOURS)))
    elif change == "kind":
        groups[at] = replace(groups[at], kind=rng.choice(sorted(KINDS.keys() - {group.kind for group in groups})))
    elif change == "count":
        groups[at] = replace(groups[at], count=rng.randint(1, 4))
    elif change == "background":
        background = rng.choice(sorted(BACKGROUNDS))
    elif change == "relation" and relation is not None:
        relation = MIRRORED[relation] if rng.random() < 0.6 else rng.choice(sorted(RELATIONS))
    elif change == "swap colours":
        groups = [replace(groups[0], colour=groups[1].colour), replace(groups[1], colour=groups[0].colour)]
    elif change == "swap counts":
        groups = [replace(groups[0], count=groups[1].count), replace(groups[1], count=groups[0].count)]
    elif change == "lose":
        groups, relation = [groups[at]], None
    elif change == "gain":
        kind = rng.choice(sorted(KINDS.keys() - {groups[0].kind}))
        groups.append(Group(kind, rng.choice(sorted(COLOURS)), 1))
        relation = rng.choice(sorted(RELATIONS))
    return replace(scene, groups=tuple(groups), relation=relation, background=background)
