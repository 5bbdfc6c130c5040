"""The improved cross-entropy method."""

from __future__ import annotations

import torch
from pydantic import Field

from brain.planning.actions import shift
from brain.planning.planners.base import Plan, Problem, Search
from brain.planning.planners.cem import CEMOptions


class ICEMOptions(CEMOptions):
    colour: float = Field(2.0, ge=0, description="of the noise over time: 0 is white, 2 red (Box actions)")
    shrink: float = Field(1.25, ge=1, description="an iteration has so many times fewer samples than the one before")
    kept: float = Field(
        0.3, gt=0, le=1, description="share of the elites, one at least, that the next iteration and plan try again"
    )


class ICEM(Search):
    """CEM with coloured noise, shrinking samples and elites that are kept (Pinneri et al. 2020, "Sample-efficient
    Cross-Entropy Method for Real-time Planning"): as good with fewer samples."""

    Options = ICEMOptions

    def plan(self, problem: Problem, generator: torch.Generator, before: Plan | None = None) -> Plan:
        options = self.options
        proposal = self.begin(before)
        kept = proposal.best()[None]
        if before is not None and options.warm_start and "elites" in before.memory:
            fresh = proposal.best()
            moved = [shift(plan, fresh, options.receding, options.block) for plan in before.memory["elites"]]
            kept = torch.cat([kept, self.space.nearest(torch.stack(moved))])
        elites, costs = kept, self.costs(problem, kept)
        for iteration in range(options.iterations):
            count = max(2 * options.elites, round(options.samples / options.shrink**iteration))
            plans = proposal.sample(count, generator, options.colour)
            plans[0] = proposal.best()
            every = torch.cat([plans, elites])
            costs = torch.cat([self.costs(problem, plans), costs])
            order = costs.argsort(stable=True)[: options.elites]
            weights = torch.full((len(order),), 1 / len(order), device=plans.device)
            proposal = proposal.fit(every[order], weights, options.momentum)
            again = order[: max(1, round(options.kept * options.elites))]
            elites, costs = every[again], costs[again]
        return self.finish(problem, elites[0], {"proposal": proposal, "elites": elites})
