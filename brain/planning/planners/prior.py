"""Search about a learned policy."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from brain.planning.actions import ActionSpace
from brain.planning.costs.base import Setting
from brain.planning.planners.base import Plan, Problem, Search
from brain.planning.planners.policy import BehaviourPolicy, PolicyOptions


class PriorOptions(PolicyOptions):
    horizon: int = Field(8, ge=1, le=512, description="model steps that are imagined")
    block: int = Field(1, ge=1, description="model steps for which a course holds an action")
    samples: int = Field(48, ge=2, description="courses of the policy, the first without noise")
    noise: float = Field(0.15, ge=0, description="on the policy's actions, in typical deviations")
    persistence: float = Field(0.8, ge=0, lt=1, description="share of a step's noise that the next step keeps")
    temperature: float = Field(0.5, gt=0, description="of the weights, in standard deviations of the courses' costs")


class Prior(Search):
    """Courses of the planner ``policy`` in imagination, each with lasting noise of its own, averaged by their costs.

    The policy reads each imagined moment anew. Weights are exp(-cost / temperature), as in MPPI (Williams et al. 2017);
    that the search begins and stays near a policy is TD-MPC2's way (Hansen et al. 2024): costs are only known to be
    right where the data have been. Discrete actions are replaced by random ones at a rate of ``noise`` / 4, and the
    cheapest course is taken.
    """

    Options = PriorOptions
    learned: ClassVar[bool] = True

    def __init__(self, options: Any, space: ActionSpace, setting: Setting) -> None:
        super().__init__(options, space, setting)
        self.policy = BehaviourPolicy(options, space, setting)

    @torch.no_grad()
    def plan(self, problem: Problem, generator: torch.Generator, before: Plan | None = None) -> Plan:
        plans = self._courses(problem, generator)
        costs = self.costs(problem, plans)
        if self.space.widths or not costs.isfinite().all():
            return self.finish(problem, plans[int(costs.argmin())], {})
        spread = costs.std(correction=0).clamp_min(1e-9) * self.options.temperature
        weights = torch.softmax(-(costs - costs.min()) / spread, 0).to(plans)
        return self.finish(problem, (weights[:, None, None] * plans).sum(0), {})

    def _courses(self, problem: Problem, generator: torch.Generator) -> Tensor:
        """Plans (samples, decisions, A) of the policy with noise; the first is without."""
        options, count = self.options, self.options.samples
        z, plans = problem.z.expand(count, *problem.z.shape[1:]), []
        noise = torch.randn(count, self.space.dim, generator=generator)
        random = self.space.proposal(self.decisions).sample(count, generator)
        for step in range(self.decisions):
            action = self.policy.action(z)
            if self.space.widths:
                replaced = torch.rand(count, 1, generator=generator).to(z.device) < options.noise / 4
                other = torch.where(replaced, random[:, step].to(action), action)
            else:
                other = self.space.nearest(action + options.noise * noise.to(z.device) * self.space.std)
                fresh = torch.randn(count, self.space.dim, generator=generator)
                noise = options.persistence * noise + (1 - options.persistence**2) ** 0.5 * fresh
            plans.append(torch.cat([action[:1], other[1:]]))
            chunk = plans[-1].repeat(1, problem.dynamics.stride)[:, None].expand(-1, options.block, -1)
            z = problem.dynamics.rollout(z, chunk)[:, -1]
        return torch.stack(plans, 1)
