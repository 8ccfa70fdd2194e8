"""The three pipelines do the same work: the same captions, the same scores, the same winners."""

import torch

from laion_coco_assets.bench.engine import Engine
from laion_coco_assets.bench.input_images import draw_images
from laion_coco_assets.bench.measured_models import Models, Size, random_models
from laion_coco_assets.bench.plain import Plain
from laion_coco_assets.bench.script import draw_script
from laion_coco_assets.bench.worker import Worker
from laion_coco_assets.captioning.clock import NO_CLOCK
from laion_coco_assets_tests.bench.conftest import CPU

IDS = ["a", "b", "c"]


def test_all_three_name_the_same_winners(small: Models) -> None:
    script = draw_script(IDS, small.words, small.blip.end_token, mean_tokens=6)
    images = draw_images(3)
    baselines = random_models(Size.SMALL, CPU, torch.float32)
    winners = Engine(small, script).run(images, IDS)
    assert all(winners)
    assert Plain(baselines, script, NO_CLOCK, 2).run(images, IDS) == winners
    vision = baselines.blip.model.vision_model
    assert not vision._forward_hooks, "the engine's own model, which no longer tells the baseline of its vision tower"
    assert not vision._forward_pre_hooks
    assert Worker(baselines, script).run(images[:1], IDS[:1]) == winners[:1]


def test_the_engine_writes_the_script(small: Models) -> None:
    script = draw_script(IDS, small.words, small.blip.end_token, mean_tokens=7, mean_distinct=9)
    captions = Engine(small, script, NO_CLOCK, 2).caption(draw_images(3), IDS)
    for own, sample_id in zip(captions, IDS, strict=True):
        expected = dict.fromkeys(script.captions[sample_id])
        assert list(own) == [small.blip.tokenizer.decode(list(tokens)) for tokens in expected]


def test_a_script_is_as_long_and_as_varied_as_asked_for() -> None:
    ids = [f"{number}" for number in range(64)]
    script = draw_script(ids, range(1000, 30_000), 102)
    assert abs(script.mean_tokens - 11) < 0.3
    lengths = [sum(map(len, own)) / len(own) for own in script.captions.values()]
    assert all(abs(each - 11) < 0.5 for each in lengths), "whoever is given few images has no shorter captions"
    assert script.mean_distinct == 10
    assert script.mean_prefixes < 0.8 * 10 * 11, "captions share prefixes"
    assert draw_script(ids, range(1000, 30_000), 102) == script
    assert {len(own) for own in script.captions.values()} == {40}


def test_folding_and_layout_leave_the_resnet_what_it_was(small: Models) -> None:
    from laion_coco_assets.captioning.image_tower import speed_up

    own = random_models(Size.SMALL, CPU, torch.float32).rn50x64.model.double()
    generator = torch.Generator().manual_seed(0)
    for name, buffer in own.named_buffers():
        if "running" in name:
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    pixels = torch.rand(2, 3, 128, 128, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        before = own.encode_image(pixels)
        assert speed_up(own) == torch.channels_last
        after = own.encode_image(pixels.contiguous(memory_format=torch.channels_last))
    assert not any(isinstance(each, torch.nn.BatchNorm2d) for each in own.visual.modules())
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-6)
    assert speed_up(own) == torch.channels_last, "twice is once"
