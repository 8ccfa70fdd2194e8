"""Trains the demo's three models from scratch on drawn scenes and saves them as the real ones are published.

`python -m laion_coco_assets.demo.train --help`. Not part of the pipeline: the weights it makes are in `demo/weights/`.
Random numbers of a step depend on seed and step alone, so a resumed training equals an uninterrupted one.
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path
from random import Random
from typing import Any, Protocol

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipImageProcessor

from laion_coco_assets.demo.measure import PROMPT, WEIGHTS, measure
from laion_coco_assets.demo.pictures import COLOUR_NUMBER, KIND_NUMBER, Pictures, draw_pictures
from laion_coco_assets.demo.scenes import altered_scene, mirrored, true_caption, vocabulary

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"]
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
MODELS = ("blip", "clip_l", "rn50x64")
SIZES = {"blip": 64, "clip_l": 64, "rn50x64": 128}
HARD_NEGATIVES = 5

CLIP_TEXT = {"context_length": 24, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 2}
CLIP_CONFIGS: dict[str, dict[str, Any]] = {
    "clip_l": {
        "embed_dim": 128,
        "quick_gelu": True,
        "vision_cfg": {
            "image_size": 64,
            "patch_size": 8,
            "width": 128,
            "head_width": 32,
            "layers": 4,
            "no_ln_pre": True,
        },
        "text_cfg": CLIP_TEXT,
    },
    "rn50x64": {
        "embed_dim": 128,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 128, "layers": [1, 1, 2, 1], "width": 12, "head_width": 24, "patch_size": None},
        "text_cfg": CLIP_TEXT,
    },
}
CLIP_PREPROCESS = {
    "mean": CLIP_MEAN,
    "std": CLIP_STD,
    "mode": "RGB",
    "interpolation": "bicubic",
    "resize_mode": "squash",  # a centre crop would cut what lies left or right in a wide picture
}


class CellHeads(nn.Module):
    """Reads kind, colour and centres off every image feature; teaches the image tower, then is thrown away."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.parts = [len(KIND_NUMBER) + 1, len(COLOUR_NUMBER) + 1, 2]
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, sum(self.parts))

    def forward(self, features: Tensor, cells: Tensor) -> Tensor:
        """Cross-entropy of features (batch, 64, width) against cells (batch, 64, 3); kind and colour where things are."""
        kinds, colours, centres = self.out(self.norm(features)).flatten(0, 1).split(self.parts, dim=-1)
        truth = cells.flatten(0, 1)
        things = truth[:, 0] > 0
        return (
            functional.cross_entropy(kinds[things], truth[things, 0])
            + 0.5 * functional.cross_entropy(colours[things], truth[things, 1])
            + functional.cross_entropy(centres, truth[:, 2])
        )


class Trainee(Protocol):
    """A model in training: its loss on a batch of pictures, and how it is saved."""

    @property
    def module(self) -> nn.Module: ...

    def loss(self, pixels: Tensor, cells: Tensor, scenes: list[Any], rng: Random) -> Tensor: ...

    def save(self, folder: Path) -> None: ...


class BlipTrainee:
    """The captioner: next-token loss on two wordings of each true caption, counted after the prompt."""

    def __init__(self) -> None:
        self.words = {word: n for n, word in enumerate([*SPECIAL_TOKENS, *sorted({*vocabulary(), *PROMPT.split()})])}
        special = {"bos_token_id": self.words["[DEC]"], "sep_token_id": self.words["[SEP]"], "pad_token_id": 0}
        text = {
            "vocab_size": len(self.words),
            "hidden_size": 128,
            "encoder_hidden_size": 128,
            "intermediate_size": 384,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "max_position_embeddings": 64,
            "eos_token_id": self.words["[SEP]"],
            **special,
        }
        vision = {
            "image_size": SIZES["blip"],
            "patch_size": 8,
            "hidden_size": 128,
            "intermediate_size": 512,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "layer_norm_eps": 1e-5,
            "initializer_range": 0.02,  # the class default, 1e-10, is of no use from scratch
        }
        config = BlipConfig(text_config=text, vision_config=vision, projection_dim=128, image_text_hidden_size=128)
        self.model = BlipForConditionalGeneration(config)
        self.heads = CellHeads(128)
        self.module = nn.ModuleList([self.model, self.heads])

    def token_ids(self, caption: str) -> list[int]:
        """[DEC] a picture of ... [SEP]"""
        return [self.words[word] for word in ["[DEC]", *PROMPT.split(), *caption.split(), "[SEP]"]]

    def loss(self, pixels: Tensor, cells: Tensor, scenes: list[Any], rng: Random) -> Tensor:
        wordings = 2
        rows = [self.token_ids(true_caption(scene, rng)) for scene in scenes for _ in range(wordings)]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        labels = ids.masked_fill(mask == 0, -100)
        labels[:, : 1 + len(PROMPT.split())] = -100
        features = self.model.vision_model(pixel_values=pixels).last_hidden_state
        out = self.model.text_decoder(
            input_ids=ids,
            attention_mask=mask,
            encoder_hidden_states=features.repeat_interleave(wordings, 0),
            labels=labels,
        )
        loss: Tensor = out.loss + 0.3 * self.heads(features[:, 1:], cells)
        return loss

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        half = BlipForConditionalGeneration(self.model.config)
        half.load_state_dict(self.model.state_dict())
        half.half().save_pretrained(folder)
        (folder / "vocab.txt").write_text("\n".join(self.words) + "\n")
        tokenizer = BertTokenizer(vocab=str(folder / "vocab.txt"), do_lower_case=True, bos_token="[DEC]")  # noqa: S106
        tokenizer.save_pretrained(folder)
        (folder / "vocab.txt").write_text("\n".join(self.words) + "\n")
        size = {"height": SIZES["blip"], "width": SIZES["blip"]}
        BlipImageProcessor(size=size, image_mean=CLIP_MEAN, image_std=CLIP_STD, resample=3).save_pretrained(folder)


class ClipTrainee:
    """A ranker: contrastive over all captions of the batch, each true one beside captions with one fact altered."""

    def __init__(self, name: str) -> None:
        self.config = CLIP_CONFIGS[name]
        cfg = json.loads(json.dumps(self.config))
        tokenizer = open_clip.SimpleTokenizer(context_length=CLIP_TEXT["context_length"])
        self.words = {word: tokenizer.encode(word) for word in vocabulary()}
        ends = (tokenizer.sot_token_id, tokenizer.eot_token_id)
        # Trained with a table of the words that occur; `save` spreads its rows over the published one. Sorted, so that
        # the end of text keeps the largest id, which is where open_clip reads a text's embedding.
        self.used = sorted({0, *ends, *(token for tokens in self.words.values() for token in tokens)})
        self.row = {token: row for row, token in enumerate(self.used)}
        self.ends = ends
        self.model = open_clip.CLIP(**{**cfg, "text_cfg": {**CLIP_TEXT, "vocab_size": len(self.used)}})
        visual = self.model.visual
        width = cfg["vision_cfg"]["width"]
        self.is_vit = not isinstance(cfg["vision_cfg"]["layers"], list)
        self.heads = CellHeads(width if self.is_vit else width * 16)
        (visual.transformer if self.is_vit else visual.layer3).register_forward_hook(self._keep_features)
        self.features = torch.empty(0)
        self.module = nn.ModuleList([self.model, self.heads])

    def _keep_features(self, _module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.features = output[:, 1:] if self.is_vit else output.flatten(2).transpose(1, 2)

    def token_ids(self, captions: list[str]) -> Tensor:
        """(captions, context length), as open_clip's tokenizer gives them, in rows of the small table."""
        ids = torch.zeros(len(captions), CLIP_TEXT["context_length"], dtype=torch.long)
        for ids_row, caption in zip(ids, captions, strict=True):
            tokens = [self.ends[0], *(token for word in caption.split() for token in self.words[word]), self.ends[1]]
            ids_row[: len(tokens)] = torch.tensor([self.row[token] for token in tokens])
        return ids

    def loss(self, pixels: Tensor, cells: Tensor, scenes: list[Any], rng: Random) -> Tensor:
        captions = [true_caption(scene, rng) for scene in scenes]
        wrong = [altered_scene(scene, rng) for scene in scenes for _ in range(HARD_NEGATIVES)]
        captions += [true_caption(scene, rng) for scene in wrong]
        images = self.model.encode_image(pixels, normalize=True)
        texts = self.model.encode_text(self.token_ids(captions), normalize=True)
        scale = self.model.logit_scale.exp().clamp(max=100)
        logits = scale * images @ texts.T
        count = len(scenes)
        truth = torch.arange(count)
        own = logits[:, count:].view(count, count, HARD_NEGATIVES)[truth, truth]
        among_own = torch.cat([logits[:, :count].diagonal()[:, None], own], 1)
        loss: Tensor = (
            functional.cross_entropy(logits, truth)
            + functional.cross_entropy(among_own, torch.zeros_like(truth))
            + 0.5 * functional.cross_entropy(logits[:, :count].T, truth)
            + 0.5 * self.heads(self.features, cells)
        )
        return loss

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        state = {
            name: value.half() if value.is_floating_point() else value
            for name, value in self.model.state_dict().items()
        }
        table = torch.zeros(CLIP_TEXT["vocab_size"], CLIP_TEXT["width"], dtype=torch.half)
        table[self.used] = state["token_embedding.weight"]
        state["token_embedding.weight"] = table  # rows of words never seen: zeros, which pack to nothing
        save_file({name: value.contiguous() for name, value in state.items()}, folder / "open_clip_model.safetensors")
        config = {"model_cfg": self.config, "preprocess_cfg": CLIP_PREPROCESS}
        (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")


def make_trainee(name: str, seed: int) -> Trainee:
    """The model called `name`, with random weights fixed by `seed`."""
    torch.manual_seed(seed)
    return BlipTrainee() if name == "blip" else ClipTrainee(name)


def _batch(pictures: Pictures, at: np.ndarray, rng: Random) -> tuple[Tensor, Tensor, list[Any]]:
    """Normalised pixels (batch, 3, size, size), cells (batch, 64, 3) and scenes; half of them flipped left to right."""
    images = torch.from_numpy(pictures.images[at]).float().permute(0, 3, 1, 2) / 255
    cells = torch.from_numpy(pictures.cells[at].astype(np.int64))
    scenes = [pictures.scenes[index] for index in at]
    flip = torch.tensor([rng.random() < 0.5 for _ in scenes])
    images = torch.where(flip[:, None, None, None], images.flip(3), images)
    cells = torch.where(flip[:, None, None, None], cells.flip(2), cells).flatten(1, 2)
    scenes = [mirrored(scene) if turned else scene for scene, turned in zip(scenes, flip.tolist(), strict=True)]
    light = torch.tensor([rng.uniform(0.9, 1.1) for _ in scenes])[:, None, None, None]
    mean, std = (torch.tensor(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
    return ((images * light).clamp(0, 1) - mean) / std, cells, scenes


def _rate(step: int, steps: int, peak: float) -> float:
    """Warm-up over 200 steps, then constant, then a cosine to zero over the last 40 %."""
    decay = max(0.0, (step - 0.6 * steps) / (0.4 * steps))
    return peak * min(1.0, (step + 1) / 200) * (0.5 + 0.5 * math.cos(math.pi * decay))


def _copy_image_tower(trainee: ClipTrainee, blip_checkpoint: Path) -> None:
    """Starts the ViT from BLIP's image tower, which has the same shape: patch bias goes into the positions."""
    blip = torch.load(blip_checkpoint, weights_only=True)["module"]
    old = {name.removeprefix("0.vision_model."): value for name, value in blip.items()}
    new = {"class_embedding": old["embeddings.class_embedding"][0, 0]}
    new["conv1.weight"] = old["embeddings.patch_embedding.weight"]
    new["positional_embedding"] = old["embeddings.position_embedding"][0].clone()
    new["positional_embedding"][1:] += old["embeddings.patch_embedding.bias"]
    parts = {
        "ln_1": "layer_norm1",
        "ln_2": "layer_norm2",
        "attn.out_proj": "self_attn.projection",
        "mlp.c_fc": "mlp.fc1",
        "mlp.c_proj": "mlp.fc2",
    }
    for kind in ("weight", "bias"):
        new[f"ln_post.{kind}"] = old[f"post_layernorm.{kind}"]
        for layer in range(4):
            there, here = f"encoder.layers.{layer}", f"transformer.resblocks.{layer}"
            new[f"{here}.attn.in_proj_{kind}"] = old[f"{there}.self_attn.qkv.{kind}"]
            for name, source in parts.items():
                new[f"{here}.{name}.{kind}"] = old[f"{there}.{source}.{kind}"]
    lost = trainee.model.visual.load_state_dict(new, strict=False)
    if lost.unexpected_keys or lost.missing_keys != ["proj"]:
        raise ValueError(f"BLIP's image tower does not fit: {lost}")


def _copy_text_tower(trainee: Trainee, checkpoint: Path) -> None:
    state = torch.load(checkpoint, weights_only=True)["module"]
    text = {name: value for name, value in state.items() if name.startswith("0.") and not name.startswith("0.visual.")}
    trainee.module.load_state_dict(text, strict=False)


def train(name: str, arguments: argparse.Namespace) -> Trainee:
    """Trains one model for `arguments.steps` steps, from its checkpoint in `arguments.work_dir` when there is one."""
    trainee = make_trainee(name, arguments.seed)
    pictures = draw_pictures(arguments.work_dir, SIZES[name], arguments.pictures, "train", arguments.seed)
    decayed = [p for p in trainee.module.parameters() if p.ndim >= 2]
    plain = [p for p in trainee.module.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=arguments.rate, betas=(0.9, 0.98), eps=1e-6)
    checkpoint = arguments.work_dir / f"{name}.checkpoint.pt"
    done = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        trainee.module.load_state_dict(state["module"])
        optimizer.load_state_dict(state["optimizer"])
        done = state["step"]
    else:
        if arguments.start_from:
            start = arguments.work_dir / f"{arguments.start_from}.checkpoint.pt"
            trainee.module.load_state_dict(torch.load(start, weights_only=True)["module"])
        if arguments.text_from:
            _copy_text_tower(trainee, arguments.work_dir / f"{arguments.text_from}.checkpoint.pt")
        if arguments.image_from and isinstance(trainee, ClipTrainee):
            _copy_image_tower(trainee, arguments.work_dir / f"{arguments.image_from}.checkpoint.pt")
    started, losses = time.monotonic(), list[float]()
    for step in range(done, arguments.steps):
        rng = Random(f"{name} {arguments.seed} {step}")
        at = np.array([rng.randrange(arguments.pictures) for _ in range(arguments.batch)])
        for group in optimizer.param_groups:
            group["lr"] = _rate(step, arguments.steps, arguments.rate)
        loss = trainee.loss(*_batch(pictures, at, rng), rng)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(trainee.module.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if (step + 1) % 100 == 0:
            pace = (time.monotonic() - started) / (step + 1 - done)
            print(f"{name} step {step + 1} loss {sum(losses) / len(losses):.4f} {pace:.3f} s/step", flush=True)
            losses.clear()
        if (step + 1) % 250 == 0 or step + 1 == arguments.steps:
            state = {"module": trainee.module.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            torch.save(state, checkpoint.with_suffix(".part"))
            checkpoint.with_suffix(".part").rename(checkpoint)
    trainee.module.eval()
    return trainee


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", choices=MODELS, default=list(MODELS), help="which to train (all)")
    parser.add_argument("--work-dir", type=Path, required=True, help="pictures and checkpoints are kept here")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="the weights' folder (the package's own)")
    parser.add_argument("--pictures", type=int, default=30_000, help="training pictures to draw")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=20220915)
    parser.add_argument("--text-from", help="start from the text tower of this trained CLIP's checkpoint")
    parser.add_argument("--start-from", help="start from all of this checkpoint, with a fresh schedule")
    parser.add_argument("--image-from", choices=["blip"], help="start clip_l from the image tower of the trained BLIP")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (torch's own choice)")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Trains the models named on the command line, saves each, and measures them once all three are there."""
    arguments = _parser().parse_args(argv)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    for name in arguments.models:
        train(name, arguments).save(arguments.out / name)
    if all((arguments.out / name).is_dir() for name in MODELS):
        print(json.dumps(measure(arguments.out), indent=2))


if __name__ == "__main__":
    main(sys.argv[1:])
