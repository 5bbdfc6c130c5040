"""A penalty for leaving the region where the model is accurate."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from brain.planning.costs.base import Cost, Goal, Imagination, Setting
from brain.planning.learned import model_of
from brain.runs.figures import read_judgement
from brain.runs.folder import Run
from shared.errors import TinyJEPAError


class Surprise(Cost):
    """How far the energy that the model expects of its own steps exceeds the threshold, in thresholds, over the plan.

    The expected energy of a step is that of a truth one predicted standard deviation from the prediction, in each
    dimension. The threshold is ``judge.json``'s for the ``scaled`` energy, which few true transitions exceed: below it
    nothing is paid. In models whose variance head passes no gradient on, such as grids, this cost's is 0.
    """

    threshold: float

    def __init__(self, options: Any, setting: Setting) -> None:
        super().__init__(options, setting)
        self._model = model_of(setting, "cost surprise")
        judged = read_judgement(Run(setting.run))
        scaled = judged.energy.validation.get("scaled") if judged else None
        threshold = scaled.thresholds.get(1) if scaled else None
        if threshold is None or not math.isfinite(threshold) or threshold <= 0:
            raise TinyJEPAError(
                f"{setting.run / 'judge.json'} has no calibrated threshold: brain judge --run {setting.run} makes it"
            )
        self.threshold = threshold

    def __call__(self, imagined: Imagination, goal: Goal | None) -> Tensor:
        before, chunks = imagined.before.flatten(0, 1), imagined.chunks.flatten(0, 1)
        mean, log_variance = self._model.dynamics.predict(before, chunks)
        typical = mean + torch.exp(0.5 * log_variance)
        energy = self._model.dynamics.energy(before, chunks, typical, "scaled")
        return (energy / self.threshold - 1).clamp_min(0).unflatten(0, imagined.future.shape[:2]).mean(1)
