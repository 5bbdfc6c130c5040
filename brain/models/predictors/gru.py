"""A gated recurrent unit as latent dynamics."""

from __future__ import annotations

from torch import Tensor, nn

from brain.models.layers.mlp import mlp
from brain.models.predictors.base import Predictor


class GRU(Predictor):
    """next = GRUCell(embedding of a, z): the latent is the hidden state (Cho et al. 2014, equations 5 to 8).

    The action goes through an MLP of ``depth`` layers of ``width`` units; without actions the input is constant.
    """

    def __init__(self, dim: int, action_dim: int, width: int, depth: int) -> None:
        super().__init__()
        self.embedding = mlp(max(action_dim, 1), width, width, depth - 1)
        self.cell = nn.GRUCell(width, dim)

    def forward(self, z: Tensor, action: Tensor) -> Tensor:
        if action.shape[1] == 0:
            action = z.new_ones(z.shape[0], 1)
        return self.cell(self.embedding(action), z)
