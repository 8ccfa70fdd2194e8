"""Starts a training from the towers of another model's checkpoint."""

from pathlib import Path

import torch

from tools.demo.clip_trainee import ClipTrainee
from tools.demo.trainee import Trainee


def copy_image_tower(trainee: ClipTrainee, blip_checkpoint: Path) -> None:
    """Start the ViT from BLIP's image tower, which has the same shape. The patch bias is added to the positions.

    Raises:
        ValueError: the two towers do not fit.
    """
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
            old_layer, new_layer = f"encoder.layers.{layer}", f"transformer.resblocks.{layer}"
            new[f"{new_layer}.attn.in_proj_{kind}"] = old[f"{old_layer}.self_attn.qkv.{kind}"]
            for name, source in parts.items():
                new[f"{new_layer}.{name}.{kind}"] = old[f"{old_layer}.{source}.{kind}"]
    lost = trainee.model.visual.load_state_dict(new, strict=False)
    if lost.unexpected_keys or lost.missing_keys != ["proj"]:
        raise ValueError(f"BLIP's image tower does not fit: {lost}")


def copy_text_tower(trainee: Trainee, checkpoint: Path) -> None:
    """Start from the text tower of another CLIP's checkpoint."""
    state = torch.load(checkpoint, weights_only=True)["module"]
    text = {name: value for name, value in state.items() if name.startswith("0.") and not name.startswith("0.visual.")}
    trainee.module.load_state_dict(text, strict=False)
