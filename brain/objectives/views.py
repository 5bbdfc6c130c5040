"""VICReg on two views of the world: two augmentations of one observation, or two moments."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from brain.data.observations import augment, stacked
from brain.data.windows import Batch
from brain.objectives.base import Objective, Terms
from brain.objectives.losses import InvarianceLoss
from brain.recipes import schema


class Views(Objective):
    """VICReg (Bardes et al. 2022, equation 6) between the expanded embeddings of two views.

    ``expander`` is the width of its three-layer expander (section 4.2); 0 applies the loss to the latent itself.
    """

    def __init__(self, recipe: schema.Recipe, action_dim: int) -> None:
        super().__init__(recipe, action_dim)
        self.invariance = InvarianceLoss()

    def views(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Two observations per window, each float (B, stack * C, H, W) in [-1, 1]."""
        raise NotImplementedError

    def forward(self, encoder: nn.Module, batch: Batch, generator: torch.Generator) -> Terms:
        z = encoder(torch.cat(self.views(batch, generator))).float()
        a, b = self.expander(z).chunk(2)
        loss, parts = self.regularised(a, b, generator=generator)
        parts["invariance"] = self.invariance(a, b)
        return Terms(loss + self.weights.invariance * parts["invariance"], parts, z)


class AugmentViews(Views):
    """The classic: two augmentations of one observation."""

    steps = 0

    def views(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        observation = stacked(batch.frames, self.stack)
        kinds = self.weights.augmentations
        return augment(observation, kinds, generator), augment(observation, kinds, generator)


class TemporalViews(Views):
    """An observation and the one ``rollout`` model steps later, each augmented if the recipe says so."""

    def __init__(self, recipe: schema.Recipe, action_dim: int) -> None:
        super().__init__(recipe, action_dim)
        self.steps = recipe.objective.rollout

    def views(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        kinds = self.weights.augmentations
        now = stacked(batch.frames[:, : self.stack], self.stack)
        later = stacked(batch.frames[:, -self.stack :], self.stack)
        return augment(now, kinds, generator), augment(later, kinds, generator)
