"""Two energies on one scale: that of a grid's cells, and that of the vector beside it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brain.models.space import LatentSpace

HORIZON = 4
"""Model steps of a rollout that have a scale of their own; longer ones take the last."""

TAIL, AT_TAIL = 0.95, 3.0
"""A quantile of log energies over true transitions, and what it becomes."""

LEAST = 1e-12


class Calibration(nn.Module):
    """The larger of two log energies on one scale, as an energy > 0: softplus(x) = log(1 + exp(x)), nearly x if large.

    Each log energy is brought to a median of 0 and a 95 % quantile of 3 over true transitions, after each number of
    steps rolled out: the tails must match, not the standard deviations, for the tails are what an impossible future is
    compared with. So whichever part notices is heard: a vanished car changes a few cells, a doubled speed the vector.

    Energy of the vector: mean squared error, each dimension's divided by the predicted variance. Of the grid: each
    cell's mean squared error, each channel's divided by the predicted standard deviation, divided by the cell's mean
    over true transitions; then the mean of the ``worst`` cells (0 = all). ``plain`` energies are the same without the
    predicted variances. Transitions are those of training episodes.
    """

    def __init__(self, space: LatentSpace, worst: int) -> None:
        super().__init__()
        self.space, self.worst = space, worst
        self.cells: Tensor
        self.median: Tensor
        self.spread: Tensor
        self.register_buffer("cells", torch.ones(2, HORIZON, space.cells))
        self.register_buffer("median", torch.zeros(2, HORIZON, 2))
        self.register_buffer("spread", torch.ones(2, HORIZON, 2))

    def forward(self, error: Tensor, log_variance: Tensor, scaled: bool, steps: int) -> Tensor:
        """Squared errors and log-variances (N, T + R, D), after ``steps`` model steps, to energies (N,) > 0."""
        at = int(scaled), min(steps, HORIZON) - 1
        logs = self._logs(*self._parts(error, log_variance, scaled), self.cells[at])
        return F.softplus(((logs - self.median[at]) / self.spread[at]).amax(1))

    @torch.no_grad()
    def fit(self, error: Tensor, log_variance: Tensor, steps: int) -> None:
        """Set the scales of ``steps`` and of more, from true transitions: (N, T + R, D) each."""
        for scaled in (False, True):
            cells, vector = self._parts(error, log_variance, scaled)
            usual = cells.mean(0).clamp_min(LEAST)
            logs = self._logs(cells, vector, usual)
            at = int(scaled), slice(steps - 1, None)
            self.cells[at] = usual
            self.median[at] = logs.median(0).values
            self.spread[at] = ((logs.quantile(TAIL, 0) - self.median[at]) / AT_TAIL).clamp_min(1e-6)

    def _parts(self, error: Tensor, log_variance: Tensor, scaled: bool) -> tuple[Tensor, Tensor]:
        """Energies of the cells (N, T) and of the vector (N,)."""
        (cells, vector), (of_cells, of_vector) = (self.space.split(z) for z in (error, log_variance))
        if scaled:
            cells, vector = cells * torch.exp(-0.5 * of_cells), vector * torch.exp(-of_vector)
        return cells.mean(2), vector.mean(1)

    def _logs(self, cells: Tensor, vector: Tensor, usual: Tensor) -> Tensor:
        cells = cells / usual
        grid = (cells.topk(min(self.worst, cells.shape[1])).values if self.worst else cells).mean(1)
        return torch.stack([grid, vector], 1).clamp_min(LEAST).log()
