"""True states read off imagined latents, for people to see: what a plan leads through. No planner uses them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from brain.data.states import States
from brain.planning.costs.base import Setting
from brain.planning.dynamics import Counted, Imagined, states_of
from brain.planning.learned import THINNED, Part, examples
from shared.errors import TinyJEPAError

READ_LATENTS = 3_000
"""Observations to which the reader of imagined paths is fitted."""
PENALTY = 1e-4


class PathReader:
    """True states in imagined latents: as they are on the true state, by linear regression on a model's latents.

    The regression is a learned part of the run, of kind ``states``: fitted to the setting's store where there is one,
    and kept in the run folder.
    """

    def __init__(self, setting: Setting) -> None:
        dynamics = setting.dynamics
        self._dynamics = dynamics.inner if isinstance(dynamics, Counted) else dynamics
        self._states: States | None = None
        if not isinstance(self._dynamics, Imagined) or not self._dynamics.model.spec.state_names:
            return
        states = States.of(self._dynamics.model.spec)
        part = Part(setting, "states", states=list(states.names))
        self._linear = Linear(self._dynamics.latent_shape.numel(), len(states.owner))
        if part.suits:
            part.restore(self._linear)
        elif part.store is None:
            return
        else:
            data = examples(self._dynamics, part.store, READ_LATENTS, THINNED)
            self._linear.fit(data.z.flatten(1).numpy(), states.columns(data.state))
            with contextlib.suppress(TinyJEPAError):  # where the folder cannot be written, it is fitted each time
                part.save(self._linear)
        self._states = states

    @property
    def reads(self) -> bool:
        return self._states is not None or not isinstance(self._dynamics, Imagined)

    def sees(self, names: Sequence[str]) -> bool:
        """Whether these states can be read; a frame does not show what the world calls absolute."""
        if not isinstance(self._dynamics, Imagined):
            return True
        return self._states is not None and not set(names) & set(self._states.absolute)

    def path(self, latents: Tensor) -> np.ndarray:
        """Imagined latents (T, *L) to states, float64 (T, S)."""
        if self._states is None:
            return states_of(self._dynamics, latents)
        read = self._linear(latents.flatten(1).cpu()).numpy()
        owner = self._states.owner
        columns = [read[:, owner == i] for i in range(len(self._states.names))]
        return np.stack([np.arctan2(c[:, 0], c[:, 1]) if c.shape[1] == 2 else c[:, 0] for c in columns], 1)


class Linear(nn.Module):
    """Ridge regression of T numbers on D."""

    def __init__(self, features: int, numbers: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.offset: Tensor
        self.weights: Tensor
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("offset", torch.zeros(numbers))
        self.register_buffer("weights", torch.zeros(features, numbers))

    def fit(self, x: np.ndarray, y: np.ndarray) -> None:
        """To x (N, D) and y (N, T), by whichever of N and D is less: grids have more features than samples."""
        mean, offset = x.mean(0, dtype=np.float64), y.mean(0)
        centred, wanted = x - mean, y - offset
        count, width = x.shape
        penalty = PENALTY * count * max(float(centred.var()), 1e-12)
        if width <= count:
            weights = np.linalg.solve(centred.T @ centred + penalty * np.eye(width), centred.T @ wanted)
        else:
            weights = centred.T @ np.linalg.solve(centred @ centred.T + penalty * np.eye(count), wanted)
        self.load_state_dict(
            {"mean": torch.as_tensor(mean), "offset": torch.as_tensor(offset), "weights": torch.as_tensor(weights)}
        )

    def forward(self, x: Tensor) -> Tensor:
        """(M, D) to float64 (M, T)."""
        return (x - self.mean).double() @ self.weights.double() + self.offset
