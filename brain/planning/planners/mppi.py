"""Model-predictive path integral control."""

from __future__ import annotations

import torch
from pydantic import Field

from brain.planning.planners.base import Plan, Problem, SampledOptions, Search


class MPPIOptions(SampledOptions):
    temperature: float = Field(
        0.3, gt=0, description="of the weights exp(-cost / temperature), in standard deviations of the samples' costs"
    )
    momentum: float = Field(0.0, ge=0, lt=1, description="share of the old mean that an iteration keeps")


class MPPI(Search):
    """Sample plans about a mean, move the mean to their average, weighted by exp(-cost / temperature); the width stays.

    Williams et al. 2017, "Information Theoretic MPC". Costs are divided by their spread before, so that one
    temperature does for every cost; the fewer of them count, the lower it is. The plan is the last mean, or a sample
    that is cheaper.
    """

    Options = MPPIOptions

    def plan(self, problem: Problem, generator: torch.Generator, before: Plan | None = None) -> Plan:
        options = self.options
        proposal = self.begin(before)
        best, least = proposal.best(), float("inf")
        for _ in range(options.iterations):
            plans = proposal.sample(options.samples, generator)
            plans[0] = proposal.best()
            costs = self.costs(problem, plans)
            first = int(costs.argmin())
            if costs[first] < least:
                best, least = plans[first], float(costs[first])
            finite = costs[costs.isfinite()]
            spread = finite.std(correction=0).clamp_min(1e-12) if len(finite) else torch.tensor(1.0)
            weights = torch.softmax(-(costs - costs.min()) / (options.temperature * spread), 0)
            if len(finite):
                proposal = proposal.fit(plans, weights.to(plans), options.momentum, spread=False)
        mean = proposal.best()
        if self.costs(problem, mean[None])[0] <= least:
            best = mean
        return self.finish(problem, best, {"proposal": proposal})
