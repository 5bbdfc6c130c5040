"""A gated recurrent unit as latent dynamics."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from brain.models.layers.mlp import mlp
from brain.models.predictors.base import Predictor
from brain.models.space import LatentSpace
from brain.recipes.schema import PredictorOptions


class GRUOptions(PredictorOptions):
    depth: int = Field(2, ge=1, le=32, description="layers that embed the action")


class GRU(Predictor):
    """next = GRUCell(embedding of a, z): the latent is the hidden state (Cho et al. 2014, equations 5 to 8).

    The action goes through an MLP of ``depth`` layers of ``width`` units; without actions the input is constant.
    """

    Options = GRUOptions

    def __init__(self, options: GRUOptions, space: LatentSpace, action_dim: int) -> None:
        super().__init__(options, space, action_dim)
        dim = space.dim
        self.embedding = mlp(max(action_dim, 1), options.width, options.width, options.depth - 1)
        self.cell = nn.GRUCell(options.width, dim)

    def forward(self, z: Tensor, action: Tensor) -> Tensor:
        if action.shape[1] == 0:
            action = z.new_ones(z.shape[0], 1)
        return self.cell(self.embedding(action), z)
