"""A world model before training, a baseline: its encoder is as it was initialised, with statistics of real data."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from brain.data.observations import stacked
from brain.device import seeded
from brain.models.encoders.base import Encoder
from brain.models.world_model import WorldModel
from brain.recipes.schema import Recipe
from shared.store.schema import StoreSpec

OBSERVATIONS = 1_500
"""Number of train observations for its BatchNorm statistics; PCA beside it is fitted to the same."""


def random_encoder(recipe: Recipe, spec: StoreSpec, sample: np.ndarray, seed: int, device: torch.device) -> WorldModel:
    """The recipe's world model before training, in evaluation mode.

    ``sample`` is uint8 (N, stack, H, W, C), observations of train episodes, for ``estimate_norms``.
    """
    with seeded(seed):
        model = WorldModel(recipe, spec).to(device)
    estimate_norms(model.encoder, sample)
    return model.eval()


@torch.no_grad()
def estimate_norms(encoder: Encoder, sample: np.ndarray) -> None:
    """Give ``encoder`` the BatchNorm statistics of ``sample``, uint8 (N, stack, H, W, C), observations of train
    episodes. Without real statistics an untrained network would be a needlessly weak baseline.
    """
    device = next(encoder.parameters()).device
    norms = [layer for layer in encoder.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None  # a cumulative average over the batches below
    encoder.train()
    for part in torch.from_numpy(sample).chunk(-(-len(sample) // 128)):  # equal: statistics of one would be none
        encoder(stacked(part.to(device), encoder.frames.stack))
    for layer, momentum in zip(norms, momenta):
        layer.momentum = momentum
    encoder.eval()
