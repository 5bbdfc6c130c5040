"""Joint prediction of a grid of cells and of the vector beside it."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from brain.data.observations import stacked
from brain.data.windows import Batch
from brain.distributed import gathered
from brain.models.encoders.base import Encoder
from brain.models.layers.mlp import mlp
from brain.models.predictors.grid_vector import GridVectorPredictor
from brain.models.world_model import make_predictor
from brain.objectives.base import Objective, Terms
from brain.objectives.losses import CovarianceLoss, InvarianceLoss, VarianceLoss, samples
from brain.recipes import schema
from brain.recipes.schema import ObjectiveOptions

LEAST_VARIANCE = 1e-3
"""Of an action in a batch, for it to count in full."""


class GridVectorObjectiveOptions(ObjectiveOptions):
    rollout: int = Field(4, ge=1, le=64, description="model steps of a window, and of the rollouts at the end")
    cells: float = Field(5.0, ge=0, description="weight of the cells' prediction error; the vector's is 1")
    variance: float = Field(4.0, ge=0, description="weight of the hinges that keep each dimension's std at 1")
    covariance: float = Field(0.1, ge=0, description="weight of the squared off-diagonal covariances")
    inverse_dynamics: float = Field(4.0, ge=0, description="weight of predicting the action between two vectors")
    predictor: schema.Predictor = schema.chosen("trained jointly")


class GridVectorObjective(Objective):
    """cells * |grid error|^2 + |vector error|^2 + variance * V + covariance * C + inverse dynamics of the vector.

    Errors are those of rollouts against the encoder's embeddings, with gradient; the vector's is half that, half the
    one of single steps from every embedding of the window. V and C (VICReg's hinge and covariance) act on cells, each
    one's mean over the batch taken away, and on the vector. The window is cut into rollouts of 1 model step at first,
    then 2, 4, ...; from the middle of the training on it is one rollout. Long ones from the start would let the cells
    become constant, the easiest thing to foretell. Each action's error counts in units of its variance in the batch.
    """

    Options = GridVectorObjectiveOptions
    keeps_predictor = True
    replayable = True
    takes = ("grid-vector",)
    options: GridVectorObjectiveOptions

    def __init__(self, options: GridVectorObjectiveOptions, encoder: Encoder, action_dim: int) -> None:
        super().__init__(options, encoder, action_dim)
        self.steps = options.rollout
        self.space = encoder.space
        self.lengths = [n for n in (2**i for i in range(7)) if n < options.rollout and options.rollout % n == 0]
        self.length = 1
        predictor = make_predictor(options.predictor, encoder.space, action_dim)
        assert isinstance(predictor, GridVectorPredictor)
        self.predictor = predictor
        self.inverse: nn.Module | None = None
        if options.inverse_dynamics and action_dim:
            self.inverse = mlp(2 * self.space.vector, 256, action_dim, 1)
        self.error, self.variance, self.covariance = InvarianceLoss(), VarianceLoss(), CovarianceLoss()

    @classmethod
    def unused(cls, options: Any, action_dim: int) -> list[str]:
        return ["inverse_dynamics"] if options.inverse_dynamics and not action_dim else []

    @property
    def phase(self) -> int:
        return self.length

    def before_step(self, fraction: float) -> None:
        lengths = [*self.lengths, self.steps]
        self.length = lengths[min(int(2 * fraction * (len(lengths) - 1)), len(lengths) - 1)]

    def kept(self, encoder: nn.Module) -> dict[str, nn.Module]:
        return {"model": encoder, "predictor": self.predictor}

    def forward(self, encoder: nn.Module, batch: Batch, generator: torch.Generator) -> Terms:
        options = self.options
        windows = encoder(stacked(batch.frames, self.stack)).float().unflatten(0, (-1, self.steps + 1))
        cells, vector = self.space.split(windows)
        before, after = vector[:, :-1].flatten(0, 1), vector[:, 1:].flatten(0, 1)
        actions = batch.actions.flatten(0, 1)

        starts = windows[:, : -1 : self.length].flatten(0, 1)
        predicted = self.predictor.rollout(starts, actions.unflatten(0, (-1, self.length)))
        predicted_cells, predicted_vector = self.space.split(predicted.flatten(0, 1))
        parts = {
            "prediction": self.error(predicted_cells, cells[:, 1:].flatten(0, 1)),
            "vector": 0.5 * self.error(predicted_vector, after)
            + 0.5 * self.error(self.predictor.next_vector(before, actions), after),
        }
        loss = options.cells * parts["prediction"] + parts["vector"]

        for name, z in (("", samples(gathered(cells.flatten(0, 1)))), ("vector_", gathered(vector.flatten(0, 1)))):
            parts |= {f"{name}variance": self.variance(z), f"{name}covariance": self.covariance(z)}
            loss = loss + options.variance * parts[f"{name}variance"]
            loss = loss + options.covariance * parts[f"{name}covariance"]

        if self.inverse is not None:
            guessed = self.inverse(torch.cat([before, after], 1))
            parts["inverse_dynamics"] = _standardised_error(guessed, actions)
            loss = loss + options.inverse_dynamics * parts["inverse_dynamics"]
        return Terms(loss, parts, vector.flatten(0, 1))


def _standardised_error(guessed: Tensor, actions: Tensor) -> Tensor:
    """Mean squared error of actions (N, A), each divided by its variance over N."""
    return ((guessed - actions).square() / (gathered(actions).var(0) + LEAST_VARIANCE)).mean()
