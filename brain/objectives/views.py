"""VICReg on two views of the world: two augmentations of one observation, or two moments."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from brain.data.observations import augment, stacked
from brain.data.windows import Batch
from brain.models.encoders.base import Encoder
from brain.objectives.base import Regularised, RegularisedOptions, Terms
from brain.objectives.losses import InvarianceLoss
from brain.recipes.schema import Recipe


class AugmentOptions(RegularisedOptions):
    augmentations: tuple[Literal["crop", "flip", "colour", "noise", "cutout"], ...] = Field(
        (), description="applied independently to each view"
    )


class TemporalOptions(AugmentOptions):
    rollout: int = Field(1, ge=1, le=64, description="model steps between the views")


class Views(Regularised):
    """VICReg (Bardes et al. 2022, equation 6) between the expanded embeddings of two views.

    ``expander`` is the width of its three-layer expander (section 4.2); 0 applies the loss to the latent itself.
    """

    Options = AugmentOptions
    replayable = True
    options: AugmentOptions

    def __init__(self, options: AugmentOptions, encoder: Encoder, action_dim: int) -> None:
        super().__init__(options, encoder, action_dim)
        self.invariance = InvarianceLoss()

    @classmethod
    def check(cls, options: Any, recipe: Recipe) -> None:
        super().check(options, recipe)
        if recipe.observation.mode == "state" and options.augmentations:
            raise ValueError(
                "augmentations need pictures, which observation.mode state has none of: set objective.augmentations=[]"
            )

    def views(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Two observations per window, each float (B, stack * C, H, W) in [-1, 1]."""
        raise NotImplementedError

    def forward(self, encoder: nn.Module, batch: Batch, generator: torch.Generator) -> Terms:
        z = encoder(torch.cat(self.views(batch, generator))).float()
        a, b = self.expander(z).chunk(2)
        loss, parts = self.regularised(a, b, generator=generator)
        parts["invariance"] = self.invariance(a, b)
        return Terms(loss + self.options.invariance * parts["invariance"], parts, z)


class AugmentViews(Views):
    """The classic: two augmentations of one observation."""

    steps = 0

    @classmethod
    def check(cls, options: Any, recipe: Recipe) -> None:
        super().check(options, recipe)
        if recipe.observation.mode == "state":
            raise ValueError(
                "augmentations need pictures, which observation.mode state has none of: set "
                "objective.views=temporal or predictive"
            )

    def views(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        observation = stacked(batch.frames, self.stack)
        kinds = self.options.augmentations
        return augment(observation, kinds, generator), augment(observation, kinds, generator)


class TemporalViews(Views):
    """An observation and the one ``rollout`` model steps later, each augmented if the recipe says so."""

    Options = TemporalOptions

    def __init__(self, options: TemporalOptions, encoder: Encoder, action_dim: int) -> None:
        super().__init__(options, encoder, action_dim)
        self.steps = options.rollout

    def views(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        kinds = self.options.augmentations
        now = stacked(batch.frames[:, : self.stack], self.stack)
        later = stacked(batch.frames[:, -self.stack :], self.stack)
        return augment(now, kinds, generator), augment(later, kinds, generator)
