"""The cross-entropy method."""

from __future__ import annotations

import torch
from pydantic import Field, model_validator

from brain.planning.actions import Proposal
from brain.planning.planners.base import Plan, Problem, SampledOptions, Search


class CEMOptions(SampledOptions):
    elites: int = Field(16, ge=1, description="best plans of an iteration, to which the next one is fitted")
    momentum: float = Field(0.1, ge=0, lt=1, description="share of the old distribution that an iteration keeps")

    @model_validator(mode="after")
    def _some_are_elites(self) -> CEMOptions:
        if self.elites > self.samples:
            raise ValueError(f"elites {self.elites} cannot be more than the samples, {self.samples}")
        return self


class CEM(Search):
    """Sample plans, fit a distribution to the best, and again; the plan is the cheapest that was seen.

    Rubinstein 1999; as in PlaNet (Hafner et al. 2019). Discrete actions: probabilities in place of Gaussians. The
    distribution's own best plan is always among the samples.
    """

    Options = CEMOptions

    def plan(self, problem: Problem, generator: torch.Generator, before: Plan | None = None) -> Plan:
        return self.search(problem, self.begin(before), generator)

    def search(self, problem: Problem, proposal: Proposal, generator: torch.Generator) -> Plan:
        """The cheapest plan that a search from this proposal meets."""
        options = self.options
        best, least = proposal.best(), float("inf")
        for _ in range(options.iterations):
            plans = proposal.sample(options.samples, generator)
            plans[0] = proposal.best()
            costs = self.costs(problem, plans)
            order = costs.argsort(stable=True)[: options.elites]
            if costs[order[0]] < least:
                best, least = plans[order[0]], float(costs[order[0]])
            weights = torch.full((len(order),), 1 / len(order), device=plans.device)
            proposal = proposal.fit(plans[order], weights, options.momentum)
        return self.finish(problem, best, {"proposal": proposal})
