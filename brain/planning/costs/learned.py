"""Costs that are learned on frozen latents: steps to the goal, reward, value."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from brain.planning.costs.base import Cost, CostOptions, Goal, Imagination, Setting, needed, over_time
from brain.planning.costs.distance import WHEN, When
from brain.planning.learned import BATCH, Examples, Head, hindsight, learned, model_of


class FittedOptions(CostOptions):
    fit_steps: int = Field(4000, ge=1, description="optimiser steps of its fit")


class GoalStepsOptions(FittedOptions):
    when: When = Field("mean", description=WHEN)


class GoalSteps(Cost):
    """The number of model steps that the data take from an imagined moment to the goal, at most ``FARTHEST``.

    Fitted by hindsight within episodes (the temporal distance of Hartikainen et al. 2019, "Dynamical Distance
    Learning"): an overestimate where the data dawdle, and blind to what no episode connects.
    """

    Options = GoalStepsOptions
    needs_goal = True
    FARTHEST = 100.0

    def __init__(self, options: Any, setting: Setting) -> None:
        super().__init__(options, setting)
        self._head = learned(
            setting,
            "goal-steps",
            lambda imagined: Head(imagined.latent_shape, 1, pair=True),
            steps_loss,
            options,
        )

    def __call__(self, imagined: Imagination, goal: Goal | None) -> Tensor:
        z = imagined.future.flatten(0, 1)
        target = needed(goal, "goal-steps").z.expand_as(z)
        steps = torch.expm1(F.softplus(self._head(z, target)[:, 0])).clamp(max=self.FARTHEST)
        return over_time(steps.unflatten(0, imagined.future.shape[:2]), self.options.when)


def steps_loss(head: Head, data: Examples, generator: torch.Generator) -> Tensor:
    """Absolute error of log(1 + steps): what is near counts more. A quarter are the goal itself: 0 steps."""
    rows, goals, ahead = hindsight(data, generator)
    there = torch.rand(BATCH, generator=generator) < 0.25
    rows = torch.where(there, goals, rows)
    true = torch.log1p((ahead / data.stride).clamp(max=GoalSteps.FARTHEST) * ~there)
    guess = F.softplus(head(data.z[rows], data.z[goals])[:, 0])
    return (guess - true).abs().mean()


class RewardOptions(FittedOptions):
    fit_steps: int = Field(1200, ge=1, description="optimiser steps of its fit")
    discount: float = Field(0.95, gt=0, le=1, description="of a model step's reward against the one before")


class Reward(Cost):
    """Minus the sum of the plan's rewards, predicted by a head from latents and actions."""

    Options = RewardOptions
    vector_suffices = True

    def __init__(self, options: Any, setting: Setting) -> None:
        super().__init__(options, setting)
        width = model_of(setting, "cost reward").action_dim
        self._head = learned(
            setting,
            "reward",
            lambda imagined: Head(imagined.latent_shape, 1, extra=width),
            reward_loss,
            options,
        )

    def __call__(self, imagined: Imagination, goal: Goal | None) -> Tensor:
        earned = self._head(imagined.before.flatten(0, 1), extra=imagined.chunks.flatten(0, 1))[:, 0]
        steps = earned.unflatten(0, imagined.future.shape[:2])
        discount = self.options.discount ** torch.arange(steps.shape[1], device=steps.device)
        return -(steps * discount).sum(1)


def reward_loss(head: Head, data: Examples, generator: torch.Generator) -> Tensor:
    stride = data.stride
    earned = data.earned
    head.scale.fill_(float(earned.std().clamp_min(1e-6)))
    able = data.starts(1)
    rows = able[torch.randint(len(able), (BATCH,), generator=generator)]
    chunks = data.actions[rows[:, None] + torch.arange(stride)].flatten(1)
    return ((head(data.z[rows], extra=chunks)[:, 0] - earned[rows]) / head.scale).square().mean()


class ValueOptions(FittedOptions):
    fit_steps: int = Field(1200, ge=1, description="optimiser steps of its fit")
    discount: float = Field(0.95, gt=0, lt=1, description="of a model step's reward against the one before")
    ahead: int = Field(25, ge=1, description="model steps whose rewards count")


class Value(Cost):
    """Minus the discounted return of the data's own policy from the plan's last latent, seen from the present.

    With ``reward`` of the same discount it is the n-step return (Sutton and Barto 2018, eq. 7.1).
    """

    Options = ValueOptions
    vector_suffices = True

    def __init__(self, options: Any, setting: Setting) -> None:
        super().__init__(options, setting)
        self._head = learned(
            setting, "value", lambda imagined: Head(imagined.latent_shape, 1),
            lambda head, data, generator: value_loss(head, data, generator, options), options,
            "discount", "ahead",
        )  # fmt: skip

    def __call__(self, imagined: Imagination, goal: Goal | None) -> Tensor:
        steps = imagined.future.shape[1]
        return -(self.options.discount**steps) * self._head(imagined.future[:, -1])[:, 0]


def value_loss(head: Head, data: Examples, generator: torch.Generator, options: ValueOptions) -> Tensor:
    """Squared error of discounted returns, of rows whose returns are ``known``."""
    ahead, able = known(data, options.ahead)
    able = torch.nonzero(able)[:, 0]
    rows = able[torch.randint(len(able), (BATCH,), generator=generator)]
    true = returns(data, rows, ahead, options.discount)
    head.scale.fill_(float(data.earned.square().mean().sqrt().clamp_min(1e-6)) * ahead**0.5)
    return ((head(data.z[rows])[:, 0] - true) / head.scale).square().mean()


def known(data: Examples, ahead: int) -> tuple[int, Tensor]:
    """Model steps whose rewards count, and the rows, bool (R,), of which all of these are known: the episode goes on
    for ``ahead`` steps, or ended for good before. Where no episode is that long, as many steps as there are."""
    while not (rows := (data.rest >= ahead * data.stride) | data.terminated).any():
        ahead //= 2
    return ahead, rows


def returns(data: Examples, rows: Tensor, ahead: int, discount: float) -> Tensor:
    """Discounted rewards, float (N,), of the ``ahead`` model steps from rows, int64 (N,), on."""
    later, last = rows[:, None] + torch.arange(ahead) * data.stride, data.last[rows, None]
    earned = data.earned[torch.minimum(later, last)] * (later < last)
    return (earned * discount ** torch.arange(ahead)).sum(1)
