"""Gradient descent through the imagined rollout."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field

from brain.planning.actions import ActionSpace
from brain.planning.costs.base import Setting
from brain.planning.planners.base import Plan, Problem, SampledOptions, Search
from shared.errors import TinyJEPAError


class GradientOptions(SampledOptions):
    samples: int = Field(8, ge=1, description="plans that it starts from, each improved by itself")
    iterations: int = Field(20, ge=1, description="gradient steps (Adam)")
    learning_rate: float = Field(0.1, gt=0, description="of unbounded numbers that tanh or a softmax makes actions of")


class Gradient(Search):
    """Plans improved by the cost's gradient through the rollout.

    A Box is reached by tanh and never left; discrete actions are relaxed to probabilities and then rounded. The
    cheapest plan that was met, after rounding, is taken. Raises ``TinyJEPAError`` for dynamics without gradients.
    """

    Options = GradientOptions

    def __init__(self, options: Any, space: ActionSpace, setting: Setting) -> None:
        super().__init__(options, space, setting)
        if not setting.dynamics.differentiable:
            raise TinyJEPAError(f"planner gradient needs a model: {setting.dynamics.name} has no gradients; use cem")

    def plan(self, problem: Problem, generator: torch.Generator, before: Plan | None = None) -> Plan:
        options = self.options
        proposal = self.space.proposal(self.decisions)
        plans = proposal.sample(options.samples, generator)
        if before is not None and options.warm_start:
            plans[0] = self.space.nearest(
                torch.cat([before.actions[options.receding :: options.block], plans[0]])[: self.decisions]
            )
        best, least = plans[0], float("inf")
        free = self.space.unbounded(plans).requires_grad_()
        optimizer = torch.optim.Adam([free], lr=options.learning_rate)
        for step in range(options.iterations + 1):
            rounded = self.space.nearest(self.space.relaxed(free.detach()))
            costs = self.costs(problem, rounded)
            first = int(costs.argmin())
            if costs[first] < least:
                best, least = rounded[first], float(costs[first])
            if step == options.iterations:
                break
            with torch.enable_grad():
                imagined = self.imagine(problem, self.space.relaxed(free))
                cost = problem.cost(imagined, problem.goal).sum()
                optimizer.zero_grad()
                cost.backward()
            optimizer.step()
        return self.finish(problem, best, {"best": best})
