"""Scenes, their captions, the split, and what counts as an accurate caption."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laion_coco_assets.demo.accuracy import is_accurate, parse_caption
from laion_coco_assets.demo.drawing import draw_scene
from laion_coco_assets.demo.layout import layout
from laion_coco_assets.demo.scenes import (
    BACKGROUNDS,
    COLOURS,
    KINDS,
    MIRRORED,
    RELATIONS,
    Group,
    Scene,
    random_scene,
    scene_from_json,
    scene_to_json,
    split_of,
    true_caption,
)
from laion_coco_assets.demo.shapes import SHAPES
from tools.demo.training_scenes import altered_scene, vocabulary

seeds = st.integers(0, 2**32)
some = settings(deadline=None, max_examples=40)  # a slow machine is no failure


@some
@given(seeds)
def test_a_true_caption_is_accurate_in_every_wording(seed: int) -> None:
    rng = Random(seed)
    scene = random_scene(rng)
    assert is_accurate(true_caption(scene), scene)
    for _ in range(10):
        assert is_accurate(true_caption(scene, rng), scene)


@some
@given(seeds)
def test_a_caption_with_one_fact_altered_is_not_accurate(seed: int) -> None:
    rng = Random(seed)
    scene = random_scene(rng)
    altered = altered_scene(scene, rng)
    if altered.background == scene.background:
        assert not is_accurate(true_caption(altered, rng), scene)
    else:
        assert not is_accurate(true_caption(altered), scene), "a background that is named must be the true one"


@some
@given(seeds)
def test_the_relation_may_be_told_from_either_side(seed: int) -> None:
    scene = random_scene(Random(seed))
    if scene.relation is not None:
        told = replace(scene, groups=scene.groups[::-1], relation=MIRRORED[scene.relation])
        assert is_accurate(true_caption(told), scene)
        assert split_of(told) == split_of(scene)
        assert not is_accurate(true_caption(replace(scene, relation=MIRRORED[scene.relation])), scene)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "IMG_2043.JPG",
        "two red balls",
        "a red ball",
        "two red balls to the left of",
        "two red balls to the left of a blue house to the left of a blue house",
        "two red ball to the left of a blue house",
        "red balls to the left of a blue house",
        "two red balls and a blue house on a meadow",
        "two red balls to the left of a blue house on a beach",
    ],
)
def test_what_is_not_the_whole_truth_is_not_accurate(text: str) -> None:
    assert not is_accurate(text, Scene((Group("ball", "red", 2), Group("house", "blue", 1)), "left", "meadow", 0))


@pytest.mark.parametrize(
    "text",
    [
        "two red balls to the left of a blue house on a meadow",
        "A pair of red balls left of one blue cottage.",
        "blue house on the right of two red balls, in a green field",
    ],
)
def test_equivalent_wordings_are_accurate(text: str) -> None:
    assert is_accurate(text, Scene((Group("ball", "red", 2), Group("house", "blue", 1)), "left", "meadow", 0))


def test_captions_use_a_small_vocabulary_and_about_ten_words() -> None:
    rng = Random(0)
    captions = [true_caption(random_scene(rng), rng) for _ in range(3000)]
    assert {word for caption in captions for word in caption.split()} == set(vocabulary())
    assert len(vocabulary()) < 200
    assert 9 <= np.mean([len(caption.split()) for caption in captions]) <= 12
    assert all(parse_caption(caption) for caption in captions)


@some
@given(seeds)
def test_random_scenes_keep_to_their_split(seed: int) -> None:
    for split in ("train", "held_out"):
        assert split_of(random_scene(Random(seed), split)) == split  # type: ignore[arg-type]


@some
@given(seeds)
def test_json_keeps_a_scene(seed: int) -> None:
    scene = random_scene(Random(seed))
    assert scene_from_json(scene_to_json(scene)) == scene


def test_a_scene_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="two and a relation"):
        Scene((Group("ball", "red", 2),), "left", "meadow", 0)


@some
@given(seeds, st.floats(0.5, 2.0))
def test_things_lie_as_the_relation_says_and_inside_the_picture(seed: int, aspect: float) -> None:
    scene = random_scene(Random(seed))
    things = layout(scene, round(300 * aspect), 300)
    assert len(things) == sum(group.count for group in scene.groups)
    for thing in things:
        assert thing.half_width < thing.x < 1 - thing.half_width
        assert thing.half_height < thing.y < 1 - thing.half_height
    if scene.relation is not None:
        first, second = things[: scene.groups[0].count], things[scene.groups[0].count :]
        for one in first:
            for other in second:
                holds = {
                    "left": one.x < other.x,
                    "right": one.x > other.x,
                    "above": one.y < other.y,
                    "below": one.y > other.y,
                }
                assert holds[scene.relation]


@some
@given(seeds)
def test_drawing_is_deterministic_and_has_the_asked_size(seed: int) -> None:
    scene = random_scene(Random(seed))
    picture = draw_scene(scene, 130, 90)
    assert picture.mode == "RGB"
    assert picture.size == (130, 90)
    assert picture.tobytes() == draw_scene(scene, 130, 90).tobytes()


def test_every_kind_colour_relation_and_background_can_be_drawn_and_looks_different() -> None:
    assert set(SHAPES) == set(KINDS)
    seen = {
        draw_scene(Scene((Group(kind, colour, 1), Group("ball", "red", 1)), relation, background, 7), 64, 64).tobytes()
        for kind in KINDS
        if kind != "ball"
        for colour in ("blue", "white")
        for relation in RELATIONS
        for background in BACKGROUNDS
    }
    assert len(seen) == (len(KINDS) - 1) * 2 * len(RELATIONS) * len(BACKGROUNDS)
    in_colours = {draw_scene(Scene((Group("cat", c, 1),), None, "room", 7), 64, 64).tobytes() for c in COLOURS}
    assert len(in_colours) == len(COLOURS)
