"""Distributions over plans for any action space, which sampling planners draw from and fit.

A plan is float (K, A): K actions as the store keeps them, a Box flattened, discrete ones one-hot. Whatever a
distribution samples lies in the space.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from shared.errors import TinyJEPAError
from shared.worlds.base import action_dim
from shared.worlds.tasks import discrete_widths

FAR = 1e9
"""A bound of this size or more counts as unbounded."""
LEAST_STD = 0.02
"""Of a Gaussian that is fitted to elites, as a share of its first standard deviation: it never dies out."""
LEAST_PROBABILITY = 0.02
"""Of every choice together, when probabilities are fitted to elites."""


class Proposal(ABC):
    """A distribution over plans (K, A)."""

    @abstractmethod
    def sample(self, count: int, generator: torch.Generator, colour: float = 0.0) -> Tensor:
        """Plans in the space, (count, K, A). ``colour``: the power spectrum of the noise over time falls with the
        frequency to this power; 0 is white. Without meaning for discrete actions."""

    @abstractmethod
    def fit(self, plans: Tensor, weights: Tensor, momentum: float, *, spread: bool = True) -> Proposal:
        """Moved to plans (N, K, A) of weights (N,), which sum to 1; ``momentum`` in [0, 1) is the share that stays.

        Without ``spread`` a Gaussian keeps its width.
        """

    @abstractmethod
    def best(self) -> Tensor:
        """The most likely plan, in the space, (K, A)."""

    @abstractmethod
    def shifted(self, steps: int, block: int) -> Proposal:
        """The proposal ``steps`` model steps later, each action being held for ``block`` of them: what has been done is
        dropped, and what is new at the end is as at first."""


def shift(values: Tensor, fresh: Tensor, steps: int, block: int) -> Tensor:
    """Rows (K, A), each held for ``block`` steps, seen ``steps`` later; ``fresh`` (K, A) fills the end."""
    held = torch.cat([values.repeat_interleave(block, 0)[steps:], fresh.repeat_interleave(block, 0)])
    return held[: len(values) * block].unflatten(0, (-1, block)).mean(1)


@dataclass(frozen=True)
class Gaussian(Proposal):
    """For a Box: independent normals, clipped to the bounds, and rounded where its actions are whole numbers."""

    mean: Tensor
    """float (K, A)"""
    std: Tensor
    """float (K, A)"""
    first_mean: Tensor
    first_std: Tensor
    """What it was at first, (K, A) each."""
    low: Tensor
    high: Tensor
    """float (A,)"""
    whole: bool = False
    """whether the actions are whole numbers"""

    def sample(self, count: int, generator: torch.Generator, colour: float = 0.0) -> Tensor:
        noise = torch.randn((count, *self.mean.shape), generator=generator).to(self.mean.device)
        if colour and len(self.mean) > 1:
            noise = coloured(noise, colour)
        return self._clipped(self.mean + self.std * noise)

    def fit(self, plans: Tensor, weights: Tensor, momentum: float, *, spread: bool = True) -> Gaussian:
        weights = weights[:, None, None]
        mean = (weights * plans).sum(0)
        std = (weights * (plans - mean).square()).sum(0).sqrt()
        kept = self.std
        if spread:
            kept = torch.maximum(momentum * self.std + (1 - momentum) * std, LEAST_STD * self.first_std)
        return replace(self, mean=momentum * self.mean + (1 - momentum) * mean, std=kept)

    def best(self) -> Tensor:
        return self._clipped(self.mean)

    def shifted(self, steps: int, block: int) -> Gaussian:
        return replace(self, mean=shift(self.mean, self.first_mean, steps, block), std=self.first_std)

    def _clipped(self, plans: Tensor) -> Tensor:
        inside = torch.minimum(torch.maximum(plans, self.low), self.high)
        return inside.round() if self.whole else inside


@dataclass(frozen=True)
class Categorical(Proposal):
    """For discrete actions: independent choices, one from every group of columns."""

    probabilities: Tensor
    """float (K, A): within a group they sum to 1"""
    widths: tuple[int, ...]
    """of the groups, summing to A"""

    def sample(self, count: int, generator: torch.Generator, colour: float = 0.0) -> Tensor:
        parts = []
        for group in self.probabilities.split(self.widths, -1):
            drawn = torch.multinomial(group.cpu(), count, replacement=True, generator=generator).T
            parts.append(F.one_hot(drawn, group.shape[-1]))
        return torch.cat(parts, -1).to(self.probabilities)

    def fit(self, plans: Tensor, weights: Tensor, momentum: float, *, spread: bool = True) -> Categorical:
        fitted = (weights[:, None, None] * plans).sum(0)
        mixed = momentum * self.probabilities + (1 - momentum) * fitted
        return replace(self, probabilities=(1 - LEAST_PROBABILITY) * mixed + LEAST_PROBABILITY * self._uniform())

    def best(self) -> Tensor:
        groups = self.probabilities.split(self.widths, -1)
        return torch.cat([F.one_hot(group.argmax(-1), group.shape[-1]) for group in groups], -1).to(self.probabilities)

    def shifted(self, steps: int, block: int) -> Categorical:
        return replace(self, probabilities=shift(self.probabilities, self._uniform(), steps, block))

    def _uniform(self) -> Tensor:
        return torch.cat([torch.full_like(p, 1 / p.shape[-1]) for p in self.probabilities.split(self.widths, -1)], -1)


def coloured(noise: Tensor, colour: float) -> Tensor:
    """White noise (N, K, A) as noise of unit variance whose spectrum falls with the frequency to the power ``colour``.

    Timmer and König 1995, "On generating power law noise", as in iCEM (Pinneri et al. 2020).
    """
    length = noise.shape[1]
    spectrum = torch.fft.rfft(noise, dim=1)
    frequency = torch.fft.rfftfreq(length, device=noise.device)
    frequency[0] = frequency[1]
    scale = frequency ** (-colour / 2)
    both = torch.full_like(scale, 2.0)  # of a real signal every frequency but the first and an even last counts twice
    both[0] = 1.0
    if length % 2 == 0:
        both[-1] = 1.0
    scale = scale * (length / (both * scale.square()).sum()).sqrt()
    return torch.fft.irfft(spectrum * scale[None, :, None], n=length, dim=1)


class Typical(NamedTuple):
    """Actions of a store, float32 (A,) each."""

    mean: Tensor
    std: Tensor
    low: Tensor
    high: Tensor


class ActionSpace:
    """An action space as planners see it: proposals over plans, and a relaxation with gradients.

    ``typical``: of the actions that the model was trained with. Their mean and deviation are where a search in a Box
    begins, and their range is where it ends: beyond it the model has seen nothing.
    """

    LONGEST = 1.6

    def __init__(
        self, space: gym.Space[Any], typical: Typical | None = None, device: str | torch.device = "cpu"
    ) -> None:
        """Raises ``TinyJEPAError`` for a space without actions, or one that is not stored."""
        self.dim = action_dim(space)
        self.widths: tuple[int, ...] = ()
        self._binary = isinstance(space, gym.spaces.MultiBinary)
        self._device = torch.device(device)
        if self.dim == 0:
            raise TinyJEPAError("nobody acts in this world, so there is nothing to plan: collect it with actions")
        if isinstance(space, gym.spaces.Box):
            low, high = (bound.astype(np.float64).reshape(-1).clip(-FAR, FAR) for bound in (space.low, space.high))
            self.whole = not np.issubdtype(space.dtype, np.floating)
        elif self._binary:
            low, high, self.whole = np.zeros(self.dim), np.ones(self.dim), True
        else:
            self.widths, self.whole = discrete_widths(space), False
            return
        self.low, self.high = (torch.tensor(bound, dtype=torch.float32, device=device) for bound in (low, high))
        bounded = (self.low > -FAR) & (self.high < FAR)
        self.mean = torch.where(bounded, (self.low + self.high) / 2, self.low.clamp(-1, 1) * 0)
        self.std = torch.where(bounded, (self.high - self.low) / 4, torch.ones_like(self.low))
        if typical is not None:
            self.mean, self.std, least, most = (part.to(self.low) for part in typical)
            self.low, self.high = torch.maximum(self.low, least), torch.minimum(self.high, most)
        self.mean = torch.minimum(torch.maximum(self.mean, self.low), self.high)

    def proposal(self, length: int) -> Proposal:
        """Where a search for plans of ``length`` actions begins."""
        if self.widths:
            flat = torch.cat([torch.full((width,), 1 / width) for width in self.widths]).to(self._device)
            return Categorical(flat.repeat(length, 1), self.widths)
        mean, std = self.mean.repeat(length, 1), self.std.repeat(length, 1)
        return Gaussian(mean, std, mean, std, self.low, self.high, self.whole)

    def wide(self, count: int, generator: torch.Generator) -> Tensor:
        """Actions (count, A) all over the space: twice as wide as typical ones, and at most ``LONGEST`` typical lengths
        long; discrete ones are uniform."""
        if self.widths:
            return self.proposal(1).sample(count, generator)[:, 0]
        noise = 2 * torch.randn(count, self.dim, generator=generator)
        longest = self.LONGEST * self.dim**0.5
        noise = noise * (longest / noise.norm(dim=1, keepdim=True).clamp_min(longest))
        return self.nearest(self.mean + self.std * noise.to(self.mean))

    def relaxed(self, free: Tensor) -> Tensor:
        """Unbounded numbers (..., A) to actions, differentiable: tanh between the bounds, or a softmax per group."""
        if self.widths:
            return torch.cat([group.softmax(-1) for group in free.split(self.widths, -1)], -1)
        half = (self.high - self.low) / 2
        return self.low + half + half * torch.tanh(free)

    def unbounded(self, plans: Tensor) -> Tensor:
        """Numbers whose ``relaxed`` is about ``plans`` (..., A)."""
        if self.widths:
            return 4 * plans
        half = ((self.high - self.low) / 2).clamp_min(1e-6)
        return torch.atanh(((plans - self.low - half) / half).clamp(-0.99, 0.99))

    def nearest(self, plans: Tensor) -> Tensor:
        """Numbers (..., A) to actions that lie in the space. In a Box NaN, which a network gives for latents that have
        exploded, becomes the mean."""
        if self.widths:
            groups = plans.split(self.widths, -1)
            return torch.cat([F.one_hot(group.argmax(-1), group.shape[-1]) for group in groups], -1).to(plans)
        known = torch.where(plans.isnan(), self.mean, plans)
        inside = torch.minimum(torch.maximum(known, self.low), self.high)
        return inside.round() if self.whole else inside

    def action(self, row: np.ndarray, space: gym.Space[Any]) -> Any:
        """A stored row, float32 (A,), as the space's own action."""
        if isinstance(space, gym.spaces.Box):
            values = np.asarray(row, np.float64).reshape(space.shape)
            return np.clip(np.rint(values) if self.whole else values, space.low, space.high).astype(space.dtype)
        if isinstance(space, gym.spaces.MultiBinary):
            return (np.asarray(row) > 0.5).astype(space.dtype).reshape(space.shape)
        return gym.spaces.unflatten(space, np.asarray(row))
