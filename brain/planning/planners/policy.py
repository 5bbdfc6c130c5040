"""A learned policy without a goal: what good drivers in the data did."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from brain.planning.actions import ActionSpace
from brain.planning.costs.base import Setting
from brain.planning.costs.learned import ValueOptions, known, returns, value_loss
from brain.planning.learned import BATCH, Examples, Head, Loss, fit, learned
from brain.planning.planners.base import Plan, Planner, PlannerOptions, Problem

LARGEST = 20.0
"""Weight that a row has at most."""
TOGETHER = 4096
"""Rows that are read at once."""


class PolicyOptions(PlannerOptions):
    horizon: int = Field(1, ge=1, le=512, description="model steps that are imagined: receding at least")
    fit_steps: int = Field(
        1200, ge=1, description="optimiser steps of its fit; more fit the data better, and drive worse"
    )
    advantage: float = Field(
        0.0, ge=0, description="how much more rows count after which more was earned than expected"
    )


class BehaviourPolicy(Planner):
    """Behaviour cloning from frozen latents to actions: one pass of a small network, no search, no goal.

    By absolute errors, so that it takes the middle of what the data did and their noise has little say. With the option
    ``advantage`` rows are weighted by exp(advantage * A), A being how much more was earned after them than their latent
    lets expect, in standard deviations (advantage-weighted regression, Peng et al. 2019, algorithm 1). That reads the
    store's rewards, and is for data of mixed quality. Without it, it is plain behaviour cloning, which has no labels
    but actions, and suits data in which everyone acts well.
    """

    Options = PolicyOptions
    costless: ClassVar[bool] = True
    learned: ClassVar[bool] = True

    def __init__(self, options: Any, space: ActionSpace, setting: Setting) -> None:
        super().__init__(options, space, setting)
        self.head = learned(
            setting, "policy", lambda imagined: Head(imagined.latent_shape, space.dim),
            policy_loss(space, options.advantage, setting.seed), options, "advantage",
        )  # fmt: skip

    def action(self, z: Tensor) -> Tensor:
        """Latents (N, *L) to actions in the space, (N, A)."""
        return self.space.nearest(self.head(z))

    @torch.no_grad()
    def plan(self, problem: Problem, generator: torch.Generator, before: Plan | None = None) -> Plan:
        path, actions = [problem.z], []
        for _ in range(self.options.horizon):
            action = self.action(path[-1])
            path.append(problem.dynamics.rollout(path[-1], action.repeat(1, problem.dynamics.stride)[:, None])[:, 0])
            actions.append(action)
        return Plan(torch.cat(actions), torch.cat(path), 0.0)


def policy_loss(space: ActionSpace, advantage: float, seed: int) -> Loss:
    """Absolute error of a model step's mean action, in deviations, or cross-entropy of its first choice."""
    weights: dict[int, Tensor] = {}

    def loss(head: Head, data: Examples, generator: torch.Generator) -> Tensor:
        if id(data) not in weights:
            weights[id(data)] = advantage_weights(data, advantage, seed)
        weight = weights[id(data)]
        rows = torch.multinomial(weight, BATCH, replacement=True, generator=generator)
        guess = head(data.z[rows])
        if space.widths:
            groups = zip(guess.split(space.widths, 1), data.actions[rows].split(space.widths, 1))
            return torch.stack([F.cross_entropy(g, t.argmax(1)) for g, t in groups]).sum()
        later = torch.minimum(rows[:, None] + torch.arange(data.stride), (data.last[rows] - 1)[:, None])
        taken = data.actions[later].mean(1)
        spread = data.actions.std(0, correction=0).clamp_min(1e-4)
        return ((guess - taken) / spread).abs().mean()

    return loss


def advantage_weights(data: Examples, advantage: float, seed: int) -> Tensor:
    """How much each row counts, float (R,), at most ``LARGEST``; 0 where nothing follows, or its return is not known;
    without ``advantage`` 1 elsewhere.

    The return that its latent lets expect is that of the cost ``value`` with its defaults, fitted here and not kept.
    """
    if not advantage:
        return (data.rest > 0).float()
    options = ValueOptions(kind="value")
    ahead, able = known(data, options.ahead)
    able = able & (data.rest > 0)
    expected = Head(data.z.shape[1:], 1)

    def loss(head: Head, data: Examples, generator: torch.Generator) -> Tensor:
        return value_loss(head, data, generator, options)

    fit(expected, data, loss, options.fit_steps, seed)
    with torch.no_grad():
        values = torch.cat([expected(z)[:, 0] for z in data.z.split(TOGETHER)])
    more = returns(data, torch.arange(len(data.last)), ahead, options.discount) - values
    mean, spread = more[able].mean(), more[able].std(correction=0).clamp_min(1e-6)
    return torch.exp(advantage * (more - mean) / spread).clamp(max=LARGEST) * able
