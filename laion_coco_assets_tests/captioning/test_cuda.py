"""On a GPU: the numbers of a CPU in float32, and memory that really runs out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from laion_coco_assets.captioning.blip_captioner import BlipCaptioner
from laion_coco_assets.captioning.clip_ranker import ClipRanker
from laion_coco_assets.captioning.device import resolve_device, resolve_dtype
from laion_coco_assets.captioning.interfaces import Candidates
from laion_coco_assets.captioning.loading import load_blip, load_clip
from laion_coco_assets.contract.profile import CaptionerSource, CaptionSettings, RankerSource
from laion_coco_assets_tests.captioning.conftest import CPU

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that this build of torch can use"),
]
IDS = [f"id{place}" for place in range(7)]
TEXTS = [["a red ball", "a blue ball on the hat of a dog", "the hat's"]] * 7
#: Bytes that the tests below may have on the GPU beside what is there, and that an image is made to need.
ROOM, AN_IMAGE = 1 << 30, 300 << 20


@pytest.fixture
def cuda() -> torch.device:
    return resolve_device("cuda")


def captions(
    blip_folder: Path, settings: CaptionSettings, images: list[Image.Image], device: torch.device
) -> list[Candidates]:
    blip = load_blip(CaptionerSource(name="tiny", path=blip_folder), device, resolve_dtype("auto", device))
    return BlipCaptioner(blip, settings, batch_size=3).caption(images, IDS)


def test_captions_are_those_of_a_cpu(
    blip_folder: Path, images: list[Image.Image], settings_with: Callable[..., CaptionSettings], cuda: torch.device
) -> None:
    on_cpu = captions(blip_folder, settings_with(), images, CPU)
    assert captions(blip_folder, settings_with(), images, cuda) == on_cpu
    assert any(len(each.captions) > 1 for each in on_cpu)


@pytest.mark.parametrize("tower", ["vit", "resnet"])
def test_scores_are_those_of_a_cpu(
    clip_folders: dict[str, Path], images: list[Image.Image], tower: str, cuda: torch.device
) -> None:
    source = RankerSource(name="tiny", pretrained="own", path=clip_folders[tower])
    on_gpu, on_cpu = (
        ClipRanker(load_clip(source, device, resolve_dtype("auto", device)), image_batch_size=3).score_images(
            images, TEXTS
        )
        for device in (cuda, CPU)
    )
    np.testing.assert_allclose(on_gpu, on_cpu, atol=1e-5, rtol=0)
    assert np.std(on_cpu) > 0.01


def test_memory_that_runs_out_costs_no_caption(
    blip_folder: Path,
    images: list[Image.Image],
    settings_with: Callable[..., CaptionSettings],
    cuda: torch.device,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blip = load_blip(CaptionerSource(name="tiny", path=blip_folder), cuda, torch.float32)
    expected = BlipCaptioner(blip, settings_with(), batch_size=1).caption(images, IDS)
    captioner = BlipCaptioner(blip, settings_with(), batch_size=7)
    look = captioner._decoder.look

    def wasteful(hidden: torch.Tensor):  # type: ignore[no-untyped-def]
        taken = torch.empty(len(hidden), AN_IMAGE, dtype=torch.uint8, device=cuda)
        assert taken.device == cuda
        return look(hidden)

    monkeypatch.setattr(captioner._decoder, "look", wasteful)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(cuda).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(cuda) + ROOM) / total, cuda)
    try:
        assert captioner.caption(images, IDS) == expected
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, cuda)
    assert captioner._batches.backed_off == 1
