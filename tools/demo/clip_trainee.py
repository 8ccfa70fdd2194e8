"""The rankers in training: two small CLIPs, one with a ViT, one with a ResNet."""

import json
from pathlib import Path
from random import Random
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from laion_coco_assets.demo.scenes import Scene, true_caption
from tools.demo.cell_heads import CellHeads
from tools.demo.trainee import CLIP_MEAN, CLIP_STD
from tools.demo.training_scenes import altered_scene, vocabulary

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
    "resize_mode": "squash",  # a centre crop would cut off the sides of a wide picture
}


class ClipTrainee:
    """A ranker. Its loss is contrastive over the batch's captions: the true ones, and ones with one altered fact."""

    def __init__(self, name: str) -> None:
        self.config = CLIP_CONFIGS[name]
        cfg = json.loads(json.dumps(self.config))
        tokenizer = open_clip.SimpleTokenizer(context_length=CLIP_TEXT["context_length"])
        self.words = {word: tokenizer.encode(word) for word in vocabulary()}
        ends = (tokenizer.sot_token_id, tokenizer.eot_token_id)
        # Training uses a small table of the words that occur; `save` copies its rows into the full one. The ids are sorted,
        # so the end of text keeps the largest id, where open_clip reads a text's embedding.
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
        """Ids (captions, context length) like open_clip's tokenizer, but as rows of the small table."""
        ids = torch.zeros(len(captions), CLIP_TEXT["context_length"], dtype=torch.long)
        for ids_row, caption in zip(ids, captions, strict=True):
            tokens = [self.ends[0], *(token for word in caption.split() for token in self.words[word]), self.ends[1]]
            ids_row[: len(tokens)] = torch.tensor([self.row[token] for token in tokens])
        return ids

    def loss(self, pixels: Tensor, cells: Tensor, scenes: list[Scene], rng: Random) -> Tensor:
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
        state["token_embedding.weight"] = table  # rows of unseen words are zeros, which compress to nothing
        save_file({name: value.contiguous() for name, value in state.items()}, folder / "open_clip_model.safetensors")
        config = {"model_cfg": self.config, "preprocess_cfg": CLIP_PREPROCESS}
        (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
