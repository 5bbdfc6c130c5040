"""The interface of stage-1 objectives."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from brain.data.windows import Batch
from brain.distributed import gathered
from brain.models.encoders.base import Encoder
from brain.models.space import Kind
from brain.objectives.losses import CovarianceLoss, SIGReg, VarianceLoss, samples
from brain.parts import OBJECTIVES
from brain.recipes.schema import ObjectiveOptions, Recipe


@dataclass(frozen=True)
class Terms:
    """One evaluation of an objective."""

    loss: Tensor
    """scalar: the weighted sum, to be minimised"""
    parts: dict[str, Tensor]
    """unweighted scalar terms, for the log"""
    latents: Tensor
    """(N, *latent_shape) latents of the batch, for the collapse diagnostics"""


class Objective(nn.Module):
    """Scores an encoder on a batch of windows, and holds the modules trained with it (predictor, expander, heads).

    ``steps`` is the number of model steps its windows span.
    """

    Options: ClassVar[type[ObjectiveOptions]] = ObjectiveOptions
    """The options that a recipe may set."""
    keeps_predictor: ClassVar[bool] = False
    """Whether ``kept`` has a ``predictor`` of latents, of the section ``objective.predictor``."""
    takes: ClassVar[tuple[Kind, ...]] = ("vector", "grid")
    """The kinds of latents that it trains."""
    replayable: ClassVar[bool] = False
    """Whether a GPU may record ``forward`` and replay it (``brain.training.graph``): it does the same for every batch
    of a ``phase``, reads no values from the device, keeps none in Python between steps, and draws on
    ``generator.device``, where the batch is. If not, its steps are plain and its generator is on the host."""
    steps: int

    @property
    def phase(self) -> Hashable:
        """What ``before_step`` has changed in the computation of a step; None where it changes nothing."""
        return None

    def __init__(self, options: Any, encoder: Encoder, action_dim: int) -> None:
        """``encoder`` is the one to be trained, not kept here; ``action_dim`` the width of a model step's actions."""
        super().__init__()
        self.options = options
        self.stack = encoder.frames.stack

    @classmethod
    def check(cls, options: Any, recipe: Recipe) -> None:
        """Raise ``ValueError``, naming cause and fix, where the rest of the recipe does not suit ``options``."""
        made = recipe.encoder.part().latents
        if made not in cls.takes:
            fit = " or ".join(kind for kind in OBJECTIVES if made in OBJECTIVES.get(kind).takes)
            raise ValueError(
                f"the views {options.views} train latents of the kind {' or '.join(cls.takes)}, but those of encoder "
                f"{recipe.encoder.kind} are of the kind {made}: set objective.views={fit}, or another encoder.kind"
            )
        if recipe.prediction.start == "joint":
            if not cls.keeps_predictor:
                raise ValueError(
                    f"prediction.start joint goes on with a predictor of stage 1, which the views {options.views} do "
                    "not keep: set prediction.start=fresh"
                )
            if options.predictor != recipe.prediction.predictor:
                raise ValueError("prediction.start joint needs the same objective.predictor and prediction.predictor")

    @classmethod
    def unused(cls, options: Any, action_dim: int) -> list[str]:
        """Options without effect for this number of actions, such as ``inverse_dynamics`` without any."""
        return []

    def begin(self, encoder: nn.Module) -> None:
        """Called once, before the first step and before a checkpoint is loaded."""

    def before_step(self, fraction: float) -> None:
        """Called before every optimiser step; ``fraction`` of the training is over, 0 to 1."""

    def after_step(self, encoder: nn.Module, fraction: float) -> None:
        """Called after every optimiser step; ``fraction`` of the training is done, 0 to 1."""

    def kept(self, encoder: nn.Module) -> dict[str, nn.Module]:
        """The modules to keep: ``model``, the encoder, and ``predictor`` if one was trained with it."""
        return {"model": encoder}

    def forward(self, encoder: nn.Module, batch: Batch, generator: torch.Generator) -> Terms:
        """``generator`` supplies all randomness beyond the batch, such as augmentations. It is on the host; if
        ``replayable``, on the device of the batch.

        Of several processes each draws what the whole batch needs and takes its own (``brain.distributed.mine``), so
        that all generators stay alike. What is computed over a batch goes through ``brain.distributed.gathered``.
        """
        raise NotImplementedError


class RegularisedOptions(ObjectiveOptions):
    """Options of an objective that prevents collapse with VICReg's terms or SIGReg."""

    invariance: float = Field(1.0, ge=0, description="weight of the distance between the two views")
    variance: float = Field(4.0, ge=0, description="weight of the hinge that keeps each dimension's std at 1")
    covariance: float = Field(0.1, ge=0, description="weight of the squared off-diagonal covariances")
    sigreg: float = Field(0.0, ge=0, description="weight of SIGReg: every random direction must look standard normal")
    expander: int = Field(
        0, ge=0, le=8192, description="width of VICReg's expander (projector); 0 = the losses act on the latent"
    )
    centre_cells: bool = Field(
        True, description="of a grid: take each cell's mean over the batch away before variance, covariance and sigreg"
    )


class Regularised(Objective):
    """An objective that prevents collapse by variance, covariance or SIGReg terms."""

    options: RegularisedOptions

    def __init__(self, options: RegularisedOptions, encoder: Encoder, action_dim: int) -> None:
        super().__init__(options, encoder, action_dim)
        self.variance = VarianceLoss()
        self.covariance = CovarianceLoss()
        self.sigreg = SIGReg() if options.sigreg else None
        self.expander: nn.Module = nn.Identity()
        if options.expander:
            self.expander = expander(encoder.space.dim, options.expander)

    @classmethod
    def check(cls, options: Any, recipe: Recipe) -> None:
        super().check(options, recipe)
        if options.expander and recipe.encoder.part().latents != "vector":
            raise ValueError("the expander takes vectors, no grids: set objective.expander=0")
        if not options.centre_cells and recipe.encoder.part().latents == "vector":
            raise ValueError("a vector has no cells: leave objective.centre_cells out")

    def regularised(self, *views: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted sum and unweighted terms of variance, covariance and SIGReg, each summed over the views.

        Views are (N, D), or (N, T, D) of a grid, of which every cell is a sample (``brain.objectives.losses.samples``).
        Of several processes each gives its share, and the terms are those of the whole batch.
        """
        views = tuple(samples(gathered(z), self.options.centre_cells) for z in views)
        parts = {
            "variance": torch.stack([self.variance(z) for z in views]).sum(),
            "covariance": torch.stack([self.covariance(z) for z in views]).sum(),
        }
        loss = self.options.variance * parts["variance"] + self.options.covariance * parts["covariance"]
        if self.sigreg is not None:
            parts["sigreg"] = torch.stack([self.sigreg(z, generator) for z in views]).sum()
            loss = loss + self.options.sigreg * parts["sigreg"]
        return loss, parts


def make_objective(recipe: Recipe, encoder: Encoder, action_dim: int) -> Objective:
    """The recipe's objective for its encoder."""
    objective: Objective = recipe.objective.part()(recipe.objective, encoder, action_dim)
    return objective


def expander(dim: int, width: int) -> nn.Sequential:
    """VICReg's expander (Bardes et al. 2022, section 4.2): float (N, dim) to (N, width) in three layers."""
    return nn.Sequential(
        nn.Linear(dim, width, bias=False),
        nn.BatchNorm1d(width),
        nn.ReLU(inplace=True),
        nn.Linear(width, width, bias=False),
        nn.BatchNorm1d(width),
        nn.ReLU(inplace=True),
        nn.Linear(width, width, bias=False),
    )
