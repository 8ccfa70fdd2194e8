"""CLIP's image towers after `speed_up`: the library's own numbers."""

import pytest
import torch
from open_clip.modified_resnet import AttentionPool2d

from laion_coco_assets.captioning.image_tower import MeanAttention


def _places(pool: AttentionPool2d, maps: torch.Tensor) -> torch.Tensor:
    places = maps.flatten(2).permute(2, 0, 1)
    places = torch.cat([places.mean(dim=0, keepdim=True), places])
    return places + pool.positional_embedding[:, None]


@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_the_pooling_gives_what_the_librarys_gives(dtype: torch.dtype, near: float) -> None:
    torch.manual_seed(0)
    library = AttentionPool2d(spacial_dim=7, embed_dim=256, num_heads=8, output_dim=64).double()
    with torch.no_grad():
        for layer in (library.q_proj, library.k_proj):
            layer.weight *= 6  # as trained: attention that singles places out
            layer.bias += 1
        library.v_proj.bias += 1
        maps = torch.rand(3, 256, 7, 7, dtype=torch.float64)
        wanted = library(maps)
        evenly = library.c_proj(library.v_proj(_places(library, maps)).mean(dim=0))
        assert (wanted - evenly).abs().max() > 0.1, "where it attends to matters"
        own = MeanAttention(library.to(dtype))(maps.to(dtype))
    torch.testing.assert_close(own.double(), wanted, rtol=near, atol=near)
