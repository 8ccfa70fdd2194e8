"""Scores are open_clip's own, pair by pair, however images and texts are batched, merged and cut."""

from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from laion_coco_assets.captioning import text_tower
from laion_coco_assets.captioning.clip_ranker import ClipRanker
from laion_coco_assets.captioning.loading import Clip, load_clip
from laion_coco_assets.contract.profile import RankerSource
from laion_coco_assets_tests.captioning.conftest import CPU, RESNET, VIT, local_clip, save_clip

LONG = "a long story about a red ball and a blue hat " * 12
TEXTS = [
    ["a red ball", "a blue ball on the hat of a dog", "a red ball"],
    [],
    ["", "!", LONG],
    ["a red ball", "ein Ball, ganz rot 🎈"],
    [LONG, LONG + "more", "the <end_of_text> in the middle"],
    ["a"],
    ["x" * 300, "hat"],
]


@torch.no_grad()
def pair_by_pair(clip: Clip, image: Image.Image, text: str) -> float:
    """open_clip's README, for one image and one text."""
    config = clip.model.visual.preprocess_cfg
    preprocess = open_clip.image_transform(
        config["size"], is_train=False, mean=config["mean"], std=config["std"], interpolation=config["interpolation"]
    )
    tokens = open_clip.get_tokenizer("ViT-B-32")([text])
    image_features = clip.model.encode_image(preprocess(image).unsqueeze(0))
    text_features = clip.model.encode_text(tokens)
    image_features /= image_features.norm(dim=-1, keepdim=True)
    text_features /= text_features.norm(dim=-1, keepdim=True)
    return float((image_features @ text_features.T).item())


@pytest.mark.parametrize("tower", ["vit", "resnet"])
def test_scores_equal_open_clip_pair_by_pair(
    tower: str, request: pytest.FixtureRequest, as_loaded: dict[str, Clip], images: list[Image.Image]
) -> None:
    clip = request.getfixturevalue(tower)
    ours = ClipRanker(clip, image_batch_size=3, text_batch_size=4).score_images(images, TEXTS)
    assert [len(each) for each in ours] == [len(each) for each in TEXTS]
    assert all(each.dtype == np.float64 for each in ours)
    for scores, image, texts in zip(ours, images, TEXTS, strict=True):
        theirs = [pair_by_pair(as_loaded[tower], image, text) for text in texts]
        np.testing.assert_allclose(scores, theirs, atol=1e-5, rtol=0)
    assert np.concatenate(ours).std() > 0.01, "the scores differ, so that the comparison means something"


def test_neighbours_do_not_matter(vit: Clip, images: list[Image.Image]) -> None:
    together = ClipRanker(vit).score_images(images, TEXTS)
    for image, texts, scores in zip(images, TEXTS, together, strict=True):
        np.testing.assert_allclose(ClipRanker(vit).score_images([image], [texts])[0], scores, atol=1e-6, rtol=0)


def test_nothing_to_score(vit: Clip, images: list[Image.Image]) -> None:
    assert ClipRanker(vit).score_images([], []) == []
    assert [each.shape for each in ClipRanker(vit).score_images(images[:2], [[], []])] == [(0,), (0,)]
    with pytest.raises(ValueError, match="2 images, but texts for 1"):
        ClipRanker(vit).score_images(images[:2], [["a"]])


def test_each_image_and_distinct_text_is_encoded_once(
    vit: Clip, images: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {"image": 0, "text": 0}
    inner_image, inner_text = vit.model.encode_image, text_tower._CausalTower.encode

    def count_images(pixels: torch.Tensor) -> torch.Tensor:
        rows["image"] += len(pixels)
        return inner_image(pixels)

    def count_texts(self: Any, tokens: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
        rows["text"] += len(tokens)
        assert tokens.shape[1] == int(ends.max()) + 1, "cut after the longest of the batch"
        return inner_text(self, tokens, ends)

    monkeypatch.setattr(vit.model, "encode_image", count_images)
    monkeypatch.setattr(text_tower._CausalTower, "encode", count_texts)
    ClipRanker(vit, text_batch_size=4).score_images(images, TEXTS)
    assert rows == {"image": 6, "text": len({text for own in TEXTS for text in own})}


@pytest.mark.parametrize(
    ("text_config", "cut"),
    [
        ({}, True),
        ({"pool_type": "eos", "eos_id": 49407}, True),
        ({"proj_bias": True}, True),
        ({"proj_type": "none", "width": 24, "heads": 2}, True),
        ({"no_causal_mask": True}, False),
        ({"pool_type": "last"}, False),
        ({"pool_type": "first"}, False),
        ({"embed_cls": True}, False),
    ],
)
def test_other_text_towers_are_cut_only_where_that_is_exact(
    text_config: dict[str, Any], cut: bool, tmp_path: Path, images: list[Image.Image]
) -> None:
    config = {**VIT, "custom_text": True, "text_cfg": {**VIT["text_cfg"], **text_config}}  # type: ignore[dict-item]
    folder = save_clip(tmp_path / "clip", config)
    clip, as_loaded = local_clip(folder), local_clip(folder)
    assert (text_tower._causal_tower(clip.model) is not None) == cut
    ours = ClipRanker(clip, text_batch_size=4).score_images(images, TEXTS)
    for scores, image, texts in zip(ours, images, TEXTS, strict=True):
        np.testing.assert_allclose(scores, [pair_by_pair(as_loaded, image, text) for text in texts], atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("tower", ["vit", "resnet"])
def test_half_precision_scores_are_near(
    tower: str, dtype: torch.dtype, request: pytest.FixtureRequest, tmp_path: Path, images: list[Image.Image]
) -> None:
    folder = save_clip(tmp_path / "clip", VIT if tower == "vit" else RESNET)
    half = load_clip(RankerSource(name="tiny", pretrained="own", path=folder), CPU, dtype)
    scores = np.concatenate(ClipRanker(half).score_images(images, TEXTS))
    exact = np.concatenate(ClipRanker(request.getfixturevalue(tower)).score_images(images, TEXTS))
    np.testing.assert_allclose(scores, exact, atol=0.05)
