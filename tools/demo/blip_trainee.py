"""The captioner in training: a small BLIP with its own vocabulary."""

from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn
from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipImageProcessor

from laion_coco_assets.demo.scenes import Scene, true_caption
from tools.demo.cell_heads import CellHeads
from tools.demo.measure import PROMPT
from tools.demo.trainee import CLIP_MEAN, CLIP_STD, SIZES
from tools.demo.training_scenes import vocabulary

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"]


class BlipTrainee:
    """The captioner. Its loss is next-token loss on two wordings of each true caption, after the prompt."""

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
            "initializer_range": 0.02,  # the class default, 1e-10, does not work from scratch
        }
        config = BlipConfig(text_config=text, vision_config=vision, projection_dim=128, image_text_hidden_size=128)
        self.model = BlipForConditionalGeneration(config)
        self.heads = CellHeads(128)
        self.module = nn.ModuleList([self.model, self.heads])

    def token_ids(self, caption: str) -> list[int]:
        """The ids of `[DEC] a picture of … [SEP]`."""
        return [self.words[word] for word in ["[DEC]", *PROMPT.split(), *caption.split(), "[SEP]"]]

    def loss(self, pixels: Tensor, cells: Tensor, scenes: list[Scene], rng: Random) -> Tensor:
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
