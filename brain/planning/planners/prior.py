"""Search that begins at a learned policy's proposals."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from brain.planning.actions import ActionSpace
from brain.planning.costs.base import Setting
from brain.planning.planners.base import Plan, Problem
from brain.planning.planners.cem import CEM, CEMOptions
from brain.planning.planners.policy import BehaviourPolicy, PolicyOptions


class PriorOptions(CEMOptions):
    horizon: int = Field(10, ge=1, le=512, description="model steps that are imagined")
    samples: int = Field(64, ge=2, description="courses of the policy, the first without noise")
    iterations: int = Field(1, ge=0, description="times that cem refines the best courses")
    elites: int = Field(8, ge=1, description="best plans, to which cem's distribution is fitted")
    noise: float = Field(0.3, ge=0, description="on the policy's actions, in typical deviations")
    persistence: float = Field(0.6, ge=0, lt=1, description="share of a step's noise that the next step keeps")
    fit_steps: int = Field(6000, ge=1, description="optimiser steps of the policy's fit")


class Prior(CEM):
    """Courses of the policy ``policy`` in imagination, each with noise of its own; cem refines the best of them.

    The policy reads each imagined moment anew. The rest of the last plan is among the courses. As in TD-MPC2 (Hansen et
    al. 2024), whose search begins at a policy's proposals; the noise lasts, as in iCEM (Pinneri et al. 2020). Discrete
    actions are replaced by random ones at a rate of ``noise`` / 4.
    """

    Options = PriorOptions
    learned = True

    def __init__(self, options: Any, space: ActionSpace, setting: Setting) -> None:
        super().__init__(options, space, setting)
        own = PolicyOptions(kind="policy", horizon=options.horizon, fit_steps=options.fit_steps)
        self.policy = BehaviourPolicy(own, space, setting)

    @torch.no_grad()
    def plan(self, problem: Problem, generator: torch.Generator, before: Plan | None = None) -> Plan:
        options = self.options
        plans = self._courses(problem, generator)
        if before is not None and options.warm_start:
            rest = before.actions[options.receding :: options.block][: self.decisions]
            plans = torch.cat([plans, torch.cat([rest, plans[0, len(rest) :]])[None]])
        costs = self.costs(problem, plans)
        for _ in range(options.iterations):
            order = costs.argsort(stable=True)[: options.elites]
            plans, costs = plans[order], costs[order]
            weights = torch.full((len(order),), 1 / len(order), device=plans.device)
            proposal = self.space.proposal(self.decisions).fit(plans, weights, options.momentum)
            drawn = proposal.sample(options.samples // 2, generator)
            plans, costs = torch.cat([plans, drawn]), torch.cat([costs, self.costs(problem, drawn)])
        return self.finish(problem, plans[int(costs.argmin())], {})

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
