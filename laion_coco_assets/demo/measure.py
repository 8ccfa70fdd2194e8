"""How well the demo's weights do on held-out scenes, and whether ranking helps: `python -m laion_coco_assets.demo.measure`.

Loads the three models as any reader of their formats would, samples with transformers' own `generate`, ranks with
open_clip, and compares with the truth. The pipeline's engine is not used, so that it can be compared with this.
"""

import argparse
import json
import sys
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from laion_coco_assets.demo.accuracy import is_accurate
from laion_coco_assets.demo.drawing import draw_scene
from laion_coco_assets.demo.scenes import Scene, random_scene

WEIGHTS = Path(__file__).parent / "weights"
PROMPT = "a picture of"
KEPT = 5  # the first ranker keeps five, as in LAION-COCO


def held_out_pictures(count: int, seed: int) -> list[tuple[Scene, Image.Image]]:
    """`count` held-out scenes and their pictures in sizes and shapes such as the demo serves."""
    rng = Random(f"measure {seed}")
    pairs = []
    for _ in range(count):
        scene, aspect, size = random_scene(rng, "held_out"), 2 ** rng.uniform(-0.9, 0.9), rng.uniform(160, 500)
        pairs.append((scene, draw_scene(scene, round(size * aspect**0.5), round(size / aspect**0.5))))
    return pairs


def sample_captions(
    folder: Path, images: list[Image.Image], candidates: int, top_p: float, seed: int
) -> list[list[str]]:
    """`candidates` captions of each image, sampled at temperature 1."""
    import torch
    from transformers import AutoTokenizer, BlipForConditionalGeneration, BlipImageProcessor

    torch.manual_seed(seed)
    model = BlipForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pixels = BlipImageProcessor.from_pretrained(folder)(images=images, return_tensors="pt")["pixel_values"]
    # generate() overwrites the first token with BOS and drops the last one
    prompt = torch.tensor([tokenizer(PROMPT).input_ids])
    captions = []
    for picture in pixels:
        out = model.generate(
            pixel_values=picture.expand(candidates, -1, -1, -1),
            input_ids=prompt.expand(candidates, -1).clone(),
            do_sample=True,
            top_p=top_p,
            top_k=0,
            max_new_tokens=24,
        )
        texts = tokenizer.batch_decode(out, skip_special_tokens=True)
        captions.append([text.removeprefix(PROMPT).strip() for text in texts])
    return captions


def scores(folder: Path, images: list[Image.Image], captions: list[list[str]]) -> list[list[float]]:
    """Cosine similarity of each image with each of its captions, by the CLIP in `folder`."""
    import open_clip
    import torch

    name = f"local-dir:{folder}"
    model, _, preprocess = open_clip.create_model_and_transforms(name)
    model.eval()
    tokenizer = open_clip.get_tokenizer(name)
    result = []
    with torch.inference_mode():
        for image, texts in zip(images, captions, strict=True):
            seen: Any = model.encode_image(preprocess(image)[None], normalize=True)
            said = model.encode_text(tokenizer(texts), normalize=True)
            result.append((seen @ said.T)[0].tolist())
    return result


def measure(
    weights: Path, pictures: int = 200, candidates: int = 40, top_p: float = 0.9, seed: int = 1
) -> dict[str, float]:
    """Shares of held-out pictures whose caption is accurate, by how the caption is chosen."""
    pairs = held_out_pictures(pictures, seed)
    scenes, images = [scene for scene, _ in pairs], [image for _, image in pairs]
    sampled = sample_captions(weights / "blip", images, candidates, top_p, seed)
    captions = [list(dict.fromkeys(texts)) for texts in sampled]
    first, second = (scores(weights / name, images, captions) for name in ("clip_l", "rn50x64"))
    right: dict[str, list[float]] = {
        "random_candidate": [],
        "clip_l_top1": [],
        "final": [],
        "rn50x64_alone": [],
        "any_of_40": [],
    }
    for scene, everything, texts, by_first, by_second in zip(scenes, sampled, captions, first, second, strict=True):
        order = sorted(range(len(texts)), key=lambda at: -by_first[at])
        final = max(order[:KEPT], key=lambda at: by_second[at])
        right["random_candidate"].append(sum(is_accurate(text, scene) for text in everything) / len(everything))
        right["clip_l_top1"].append(is_accurate(texts[order[0]], scene))
        right["final"].append(is_accurate(texts[final], scene))
        right["rn50x64_alone"].append(is_accurate(texts[max(order, key=lambda at: by_second[at])], scene))
        right["any_of_40"].append(any(is_accurate(text, scene) for text in texts))
    figures = {name: round(sum(values) / len(values), 4) for name, values in right.items()}
    figures["distinct_candidates"] = round(sum(map(len, captions)) / len(captions), 1)
    words = [len(text.split()) for texts in sampled for text in texts]
    figures["mean_words"] = round(sum(words) / len(words), 2)
    return figures


def main(argv: list[str] | None = None) -> None:
    """Prints the figures as JSON, with examples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--top-p", type=float, default=0.9)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(argv)
    print(
        json.dumps(measure(arguments.weights, arguments.pictures, top_p=arguments.top_p, seed=arguments.seed), indent=2)
    )


if __name__ == "__main__":
    main(sys.argv[1:])
