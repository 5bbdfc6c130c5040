"""Distance to the goal, in latents."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from brain.planning.costs.base import Cost, CostOptions, Goal, Imagination, needed, over_time

When = Literal["last", "mean", "least"]
WHEN = "last = at the plan's end, mean = all along (a sum over the plan), least = where it is nearest"


class DistanceOptions(CostOptions):
    when: When = Field("mean", description=WHEN)


class GoalDistance(Cost):
    """Mean squared difference of standardised latents, of whatever shape: about 2 between unrelated moments."""

    Options = DistanceOptions
    needs_goal = True

    def __call__(self, imagined: Imagination, goal: Goal | None) -> Tensor:
        target = needed(goal, "goal-distance").z
        squares = (imagined.future - target[:, None]).square().flatten(2).mean(2)
        return over_time(squares, self.options.when)
