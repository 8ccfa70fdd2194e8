"""`python -m tools.demo.measure`: measures the demo's weights on held-out scenes, and whether ranking helps.

It loads the three models from their published formats, samples with transformers' own `generate`, ranks with open_clip, and
compares with the truth. It does not use the pipeline's engine, so the engine can be compared with it.
"""

import json
from pathlib import Path
from random import Random
from typing import Annotated, Any

import typer
from PIL import Image

from laion_coco_assets import demo
from laion_coco_assets.cli.console import interruptible, run_app
from laion_coco_assets.demo.accuracy import is_accurate
from laion_coco_assets.demo.drawing import draw_scene
from laion_coco_assets.demo.scenes import Scene, random_scene

WEIGHTS = Path(demo.__file__).parent / "weights"
PROMPT = "a picture of"
KEPT = 5  # how many captions the first ranker keeps, as in LAION-COCO


def held_out_pictures(count: int, seed: int) -> list[tuple[Scene, Image.Image]]:
    """`count` held-out scenes and their pictures, in sizes and shapes like those of the demo."""
    rng = Random(f"measure {seed}")
    pairs = []
    for _ in range(count):
        scene, aspect, size = random_scene(rng, "held_out"), 2 ** rng.uniform(-0.9, 0.9), rng.uniform(160, 500)
        pairs.append((scene, draw_scene(scene, round(size * aspect**0.5), round(size / aspect**0.5))))
    return pairs


def sample_captions(
    folder: Path, images: list[Image.Image], candidates: int, top_p: float, seed: int
) -> list[list[str]]:
    """`candidates` captions per image, sampled at temperature 1."""
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
    """Cosine similarities of each image with its captions, from the CLIP in `folder`."""
    import open_clip
    import torch

    name = f"local-dir:{folder}"
    model, _, preprocess = open_clip.create_model_and_transforms(name)
    model.eval()
    tokenizer = open_clip.get_tokenizer(name)
    result = []
    with torch.inference_mode():
        for image, texts in zip(images, captions, strict=True):
            image_features: Any = model.encode_image(preprocess(image)[None], normalize=True)
            text_features = model.encode_text(tokenizer(texts), normalize=True)
            result.append((image_features @ text_features.T)[0].tolist())
    return result


def measure(
    weights: Path, pictures: int = 200, candidates: int = 40, top_p: float = 0.9, seed: int = 1
) -> dict[str, float]:
    """Shares of held-out pictures with an accurate caption, for each way to choose the caption."""
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


app = typer.Typer(
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def command(
    weights: Annotated[Path, typer.Option(help="The weights' folder. Default: the package's own.")] = WEIGHTS,
    pictures: Annotated[int, typer.Option(min=1, help="Held-out pictures to draw.")] = 200,
    top_p: Annotated[float, typer.Option(help="The captioner's nucleus.")] = 0.9,
    seed: Annotated[int, typer.Option(help="The seed of pictures and captions.")] = 1,
) -> None:
    """Measure the demo's weights on held-out scenes, and whether ranking helps. Prints the figures as JSON."""
    with interruptible("nothing was measured; start again"):
        print(json.dumps(measure(weights, pictures, top_p=top_p, seed=seed), indent=2))


def main() -> None:
    """Run the command in `sys.argv`."""
    run_app(app)


if __name__ == "__main__":
    main()
