"""Random shooting."""

from __future__ import annotations

import torch

from brain.planning.planners.base import Plan, Problem, SampledOptions, Search


class Shooting(Search):
    """The cheapest of ``samples`` times ``iterations`` random plans; with a warm start, of the last plan's rest too."""

    Options = SampledOptions

    def plan(self, problem: Problem, generator: torch.Generator, before: Plan | None = None) -> Plan:
        options = self.options
        plans = self.space.proposal(self.decisions).sample(options.samples * options.iterations, generator)
        if before is not None and options.warm_start:
            rest = before.memory["best"]
            held = rest.repeat_interleave(options.block, 0)[options.receding :: options.block]
            plans[0, : len(held)] = held
        best = plans[int(self.costs(problem, plans).argmin())]
        return self.finish(problem, best, {"best": best})
