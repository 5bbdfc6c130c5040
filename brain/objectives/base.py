"""What every stage-1 objective is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brain.data.windows import Batch
from brain.objectives.losses import CovarianceLoss, SIGReg, VarianceLoss
from brain.recipes import schema


@dataclass(frozen=True)
class Terms:
    """One evaluation of an objective."""

    loss: Tensor
    """scalar: the weighted sum, to be minimised"""
    parts: dict[str, Tensor]
    """unweighted scalar terms, for the log"""
    latents: Tensor
    """(N, D) latents of the batch, for the collapse diagnostics"""


class Objective(nn.Module):
    """Scores an encoder on a batch of windows; holds whatever trains beside it (predictor, expander, heads).

    ``steps`` is the number of model steps its windows span.
    """

    steps: int

    def __init__(self, recipe: schema.Recipe, action_dim: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.stack = recipe.observation.stack
        self.weights = recipe.objective
        self.variance = VarianceLoss()
        self.covariance = CovarianceLoss()
        self.sigreg = SIGReg() if self.weights.sigreg else None
        self.expander: nn.Module = nn.Identity()
        if width := self.weights.expander:
            self.expander = expander(recipe.encoder.dim, width)

    def begin(self, encoder: nn.Module) -> None:
        """Called once, before the first step and before a checkpoint is loaded."""

    def after_step(self, encoder: nn.Module, fraction: float) -> None:
        """Called after every optimiser step; ``fraction`` of the training is over, 0 to 1."""

    def kept(self, encoder: nn.Module) -> dict[str, nn.Module]:
        """What the stage leaves behind: ``model``, the encoder, and ``predictor`` if one was trained with it."""
        return {"model": encoder}

    def regularised(self, *views: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted sum and unweighted terms of variance, covariance and SIGReg, each summed over the views, (N, D)."""
        parts = {
            "variance": torch.stack([self.variance(z) for z in views]).sum(),
            "covariance": torch.stack([self.covariance(z) for z in views]).sum(),
        }
        loss = self.weights.variance * parts["variance"] + self.weights.covariance * parts["covariance"]
        if self.sigreg is not None:
            parts["sigreg"] = torch.stack([self.sigreg(z, generator) for z in views]).sum()
            loss = loss + self.weights.sigreg * parts["sigreg"]
        return loss, parts

    def forward(self, encoder: nn.Module, batch: Batch, generator: torch.Generator) -> Terms:
        """``generator`` (CPU) supplies all randomness beyond the batch, such as augmentations."""
        raise NotImplementedError


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
