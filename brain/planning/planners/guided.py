"""Search guided by a learned policy."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field

from brain.planning.costs.base import Imagination, needed
from brain.planning.planners.base import Plan, Problem, comparable
from brain.planning.planners.inverse import Inverse, InverseOptions


class GuidedOptions(InverseOptions):
    horizon: int = Field(12, ge=1, le=512, description="model steps that are imagined")
    receding: int = Field(2, ge=1, description="model steps that are done before it plans again")
    samples: int = Field(32, ge=1, description="courses that are tried, the first without noise")
    noise: float = Field(0.7, ge=0, description="on the actions, in typical deviations; it fades by half in 4 steps")


class Guided(Inverse):
    """Courses of the inverse model in imagination, each with its own noise on the actions; the cheapest is taken.

    The inverse model reads each imagined moment anew, so that a course comes back from its detour; where the plain one
    would press against a wall for ever, one that slips past is cheaper. As in TD-MPC2 (Hansen et al. 2024), whose
    search begins at a policy's proposals. Box actions; discrete ones are replaced by random ones at a rate of
    ``noise`` / 4.
    """

    Options = GuidedOptions
    costless: ClassVar[bool] = False

    @torch.no_grad()
    def plan(self, problem: Problem, generator: torch.Generator, before: Plan | None = None) -> Plan:
        options, count = self.options, self.options.samples
        z = problem.z.expand(count, *problem.z.shape[1:])
        goal = needed(problem.goal, "of planner guided").z.expand_as(z)
        random = self.space.proposal(options.horizon)
        path, chunks = [z], []
        noise = torch.randn(count, self.space.dim, generator=generator).to(z.device)
        for step in range(options.horizon):
            action = self.space.nearest(self.head(path[-1], goal))
            drawn = random.sample(count, generator)[:, step].to(action)
            if self.space.widths:
                other = torch.rand(count, 1, generator=generator).to(z.device) < options.noise / 4
            else:
                fading = options.noise * 0.5 ** (step / 4)
                drawn = self.space.nearest(action + fading * noise * self.space.std)
                other = torch.ones(count, 1, dtype=torch.bool, device=z.device)
            other[0] = False
            chunk = torch.where(other, drawn, action).repeat(1, problem.dynamics.stride)
            chunks.append(chunk)
            path.append(problem.dynamics.rollout(path[-1], chunk[:, None])[:, 0])
        imagined = Imagination(z, torch.stack(path[1:], 1), torch.stack(chunks, 1))
        costs = comparable(problem.cost(imagined, problem.goal))
        best = int(costs.argmin())
        actions = imagined.chunks[best, :, : self.space.dim]
        return Plan(actions, torch.cat([problem.z, imagined.future[best]]), float(costs[best]))
