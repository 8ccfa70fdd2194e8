"""Images reach the models decoded, prepared and in order, ahead of the device; one that breaks is named."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from laion_coco_assets.assets.blip_candidates import caption_shard
from laion_coco_assets.assets.clip_l_top5 import rank_shard
from laion_coco_assets.captioning.blip_captioner import BlipCaptioner
from laion_coco_assets.captioning.clip_ranker import ClipRanker
from laion_coco_assets.captioning.device import resolve_device
from laion_coco_assets.captioning.loading import load_blip, load_clip
from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.errors import StoreError
from laion_coco_assets.images.decode import decode_rgb
from laion_coco_assets.stages.images import OkImage, ok_image_rows, ok_images, ok_images_with
from laion_coco_assets.store.joining import stage_rows
from laion_coco_assets_tests.conftest import DemoRun

CPU = resolve_device("cpu")
WAIT_S = 60


class Thumbnails:
    """What a model says of its input, for one that takes four pixels; `broken` is the number of one it chokes on."""

    def __init__(self, threads: int, broken: int | None = None) -> None:
        self.threads, self.broken, self.prepared = threads, broken, 0
        self.changed = threading.Condition()

    def prepare(self, image: Image.Image) -> torch.Tensor:
        with self.changed:
            number = self.prepared
            self.prepared += 1
            self.changed.notify_all()
        if number == self.broken:
            raise RuntimeError("no such colour")
        return torch.from_numpy(np.array(image.resize((2, 2))))


def expected(demo: DemoRun, shard: str) -> list[tuple[int, list[Any]]]:
    rows = stage_rows(demo.store, StageName.FETCHED_IMAGES, shard)
    return [
        (row["row"], np.asarray(decode_rgb(row["image"]).resize((2, 2))).tolist())
        for row in rows
        if row["status"] == "ok"
    ]


def found(images: Sequence[OkImage]) -> list[tuple[int, list[Any]]]:
    return [(each.row, [] if each.pixels is None else each.pixels.tolist()) for each in images]


@pytest.mark.parametrize("threads", [1, 4])
def test_threads_and_window_do_not_show(demo: DemoRun, threads: int) -> None:
    shard = demo.shards[0]
    wanted = expected(demo, shard)
    assert list(ok_image_rows(demo.store, shard)) == [row for row, _ in wanted]
    assert len(wanted) > 20
    for window in (1, 7):
        assert found(list(ok_images(demo.store, shard, Thumbnails(threads), window=window))) == wanted
    behind = ok_images(demo.store, shard, Thumbnails(threads), window=3, skip=5)
    assert found(list(behind)) == wanted[5:]


def test_the_next_images_are_made_while_one_is_in_use_and_no_more_than_the_window(demo: DemoRun) -> None:
    model, shard = Thumbnails(threads=2), demo.shards[0]
    with closing(ok_images_with(demo.store, StageName.BLIP_CANDIDATES, shard, model, window=6)) as images:
        for number, _ in enumerate(islice(images, 10)):
            with model.changed:
                assert model.changed.wait_for(lambda wanted=number + 7: model.prepared == wanted, WAIT_S)


def test_one_that_can_not_be_prepared_is_named(demo: DemoRun) -> None:
    shard = demo.shards[0]
    fourth = next(islice(ok_images(demo.store, shard, Thumbnails(1), window=1), 3, None)).sample_id
    images = ok_images(demo.store, shard, Thumbnails(threads=1, broken=3), window=8)
    assert len(list(islice(images, 3))) == 3, "those before it are good"
    with pytest.raises(StoreError, match=rf"sample {fourth}: .*RuntimeError\('no such colour'\)"):
        next(images)


def rows_of(parts: Iterator[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [row for part in parts for row in part]


def test_the_models_threads_do_not_show_in_a_stage(demo: DemoRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """With four threads that prepare and other batches: the rows that the stage's file has."""
    profile, shard = load_profile("demo"), demo.shards[0]
    monkeypatch.setattr(BlipCaptioner, "threads", 4)
    monkeypatch.setattr(ClipRanker, "threads", 4)
    captioner = BlipCaptioner(load_blip(profile.caption.model, CPU, torch.float32), profile.caption, batch_size=3)
    captioned = list(stage_rows(demo.store, StageName.BLIP_CANDIDATES, shard))
    assert [
        (row["sample_id"], list(row["captions"]), list(row["multiplicities"]), row["reason"])
        for row in rows_of(caption_shard(demo.store, shard, captioner, window=5, done=30))
    ] == [(row["sample_id"], row["captions"], row["multiplicities"], row["reason"]) for row in captioned[30:]]
    ranker = ClipRanker(load_clip(profile.rank.model, CPU, torch.float32), 4)
    ranked = list(stage_rows(demo.store, StageName.CLIP_L_TOP5, shard))
    ours = rows_of(rank_shard(demo.store, shard, ranker, profile.rank.keep, batch_size=5, done=30))
    assert [(row["sample_id"], row["top_captions"]) for row in ours] == [
        (row["sample_id"], row["top_captions"]) for row in ranked[30:]
    ]


def test_images_that_can_not_be_decoded_any_more_keep_their_place(
    demo: DemoRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile, shard = load_profile("demo"), demo.shards[0]
    ids = [row["sample_id"] for row in stage_rows(demo.store, StageName.BLIP_CANDIDATES, shard)]
    seen = iter(range(len(ids)))
    whole = decode_rgb

    def damaged(data: bytes) -> Image.Image:
        if next(seen) in {0, 2, 3, len(ids) - 30 - 1}:
            raise ValueError("not a readable picture")
        return whole(data)

    monkeypatch.setattr("laion_coco_assets.images.decode.decode_rgb", damaged)
    captioner = BlipCaptioner(load_blip(profile.caption.model, CPU, torch.float32), profile.caption, batch_size=4)
    rows = rows_of(caption_shard(demo.store, shard, captioner, window=4, done=30))
    assert [row["sample_id"] for row in rows] == ids[30:]
    assert [place for place, row in enumerate(rows) if row["reason"] == "decode_error"] == [0, 2, 3, len(rows) - 1]
    seen = iter(range(len(ids)))
    ranker = ClipRanker(load_clip(profile.rank.model, CPU, torch.float32))
    with pytest.raises(StoreError, match=rf"sample {ids[0]}: .* its image cannot be decoded"):
        rows_of(rank_shard(demo.store, shard, ranker, profile.rank.keep, batch_size=8, done=0))
