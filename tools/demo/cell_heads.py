"""Auxiliary heads that teach an image tower what is in each cell of the grid. They are dropped after training."""

from torch import Tensor, nn
from torch.nn import functional

from tools.demo.training_pictures import COLOUR_NUMBER, KIND_NUMBER


class CellHeads(nn.Module):
    """Predicts kind, colour and centre from every image feature."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.parts = [len(KIND_NUMBER) + 1, len(COLOUR_NUMBER) + 1, 2]
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, sum(self.parts))

    def forward(self, features: Tensor, cells: Tensor) -> Tensor:
        """Cross-entropy of features (batch, 64, width) against cells (batch, 64, 3). Kind and colour count only in cells with a thing."""
        kinds, colours, centres = self.out(self.norm(features)).flatten(0, 1).split(self.parts, dim=-1)
        truth = cells.flatten(0, 1)
        things = truth[:, 0] > 0
        return (
            functional.cross_entropy(kinds[things], truth[things, 0])
            + 0.5 * functional.cross_entropy(colours[things], truth[things, 1])
            + functional.cross_entropy(centres, truth[:, 2])
        )
