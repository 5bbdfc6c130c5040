"""The amortised planner: a goal-conditioned inverse model."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field

from brain.planning.actions import ActionSpace
from brain.planning.costs.base import Setting, needed
from brain.planning.learned import Head, inverse_loss, learned
from brain.planning.planners.base import Plan, Planner, PlannerOptions, Problem


class InverseOptions(PlannerOptions):
    horizon: int = Field(1, ge=1, le=512, description="model steps that are imagined: receding at least")
    fit_steps: int = Field(6000, ge=1, description="optimiser steps of its fit")


class Inverse(Planner):
    """The action that led from such a moment to such a goal in the data: one pass of a small network, no search.

    Fitted by hindsight within episodes to frozen latents of state and goal (goal-conditioned imitation, Ghosh et al.
    2019, "Learning to Reach Goals via Iterated Supervised Learning"). It is as good as the paths in its data: give
    ``--fit`` episodes that go somewhere. With a horizon above 1 it imagines where its own actions lead.
    """

    Options = InverseOptions
    costless: ClassVar[bool] = True
    needs_goal: ClassVar[bool] = True
    learned: ClassVar[bool] = True

    def __init__(self, options: Any, space: ActionSpace, setting: Setting) -> None:
        super().__init__(options, space, setting)
        self.head = learned(
            setting, "inverse", lambda imagined: Head(imagined.latent_shape, space.dim, pair=True),
            inverse_loss(space), options,
        )  # fmt: skip

    @torch.no_grad()
    def plan(self, problem: Problem, generator: torch.Generator, before: Plan | None = None) -> Plan:
        goal = needed(problem.goal, "of planner inverse").z
        path, actions = [problem.z], []
        for _ in range(self.options.horizon):
            action = self.space.nearest(self.head(path[-1], goal))
            chunk = action.repeat(1, problem.dynamics.stride)[:, None]
            path.append(problem.dynamics.rollout(path[-1], chunk)[:, 0])
            actions.append(action)
        away = float((path[-1] - goal).square().mean())
        return Plan(torch.cat(actions), torch.cat(path), away)
