"""A small causal transformer predictor: each step attends over the steps before it."""

from __future__ import annotations

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from brain.models.predictors.base import Predictor
from brain.models.space import LatentSpace
from brain.recipes.schema import PredictorOptions


class TransformerOptions(PredictorOptions):
    width: int = Field(256, ge=4, description="of all blocks, an attention head for each 64, and of the variance head")
    depth: int = Field(2, ge=1, le=32, description="blocks")

    @field_validator("width")
    @classmethod
    def _whole_heads(cls, width: int) -> int:
        if width % (heads := max(1, width // 64)):
            raise ValueError(f"transformer width {width} must be a multiple of its {heads} heads")
        return width


class Transformer(Predictor):
    """next = z + transformer(tokens up to now); one token per model step holds latent and action.

    Pre-norm encoder blocks (Vaswani et al. 2017; Xiong et al. 2020) under a causal mask, with learned positions
    for up to ``HORIZON`` steps; longer rollouts attend over the last ``HORIZON``. ``width`` is the model width, with
    one attention head per 64 of it.
    """

    HORIZON = 64

    Options = TransformerOptions

    def __init__(self, options: TransformerOptions, space: LatentSpace, action_dim: int) -> None:
        super().__init__(options, space, action_dim)
        dim = space.dim
        width = options.width
        self.token = nn.Linear(dim + action_dim, width)
        self.position = nn.Parameter(torch.randn(self.HORIZON, width) * 0.02)
        block = nn.TransformerEncoderLayer(
            width, max(1, width // 64), 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, options.depth, enable_nested_tensor=False)
        self.update = nn.Linear(width, dim)
        nn.init.normal_(self.update.weight, std=1e-3)
        nn.init.zeros_(self.update.bias)

    def forward(self, z: Tensor, action: Tensor) -> Tensor:
        return self.rollout(z, action[:, None])[:, 0]

    def rollout(self, z: Tensor, actions: Tensor) -> Tensor:
        tokens: list[Tensor] = []
        steps: list[Tensor] = []
        for action in actions.unbind(1):
            tokens = [*tokens[1 - self.HORIZON :], self.token(torch.cat([z, action], 1))]
            context = torch.stack(tokens, 1) + self.position[: len(tokens)]
            mask = nn.Transformer.generate_square_subsequent_mask(len(tokens), device=z.device)
            z = z + self.update(self.blocks(context, mask=mask, is_causal=True)[:, -1])
            steps.append(z)
        return torch.stack(steps, 1)
