"""The interface of planners: from a moment and a cost to a plan."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from brain.parts import PLANNERS
from brain.planning.actions import ActionSpace, Proposal
from brain.planning.costs.base import Goal, Imagination, Setting, WeightedSum
from brain.planning.dynamics import Dynamics
from brain.recipes.schema import PartOptions

PART_NUMBERS = 1 << 22
"""Maximum number of latent values held at once: more plans are imagined in equal parts, one after the other."""


class PlannerOptions(PartOptions):
    """Options of every planner."""

    registry = PLANNERS
    default = "cem"

    kind: str = Field("", description=f"registered planner: {', '.join(PLANNERS)}")
    horizon: int = Field(16, ge=1, le=512, description="model steps that are imagined")
    receding: int = Field(1, ge=1, description="model steps that are done before it plans again")

    @model_validator(mode="after")
    def _fits(self) -> PlannerOptions:
        if self.receding > self.horizon:
            raise ValueError(f"receding {self.receding} is more than the horizon of {self.horizon} model steps")
        return self


class SampledOptions(PlannerOptions):
    block: int = Field(1, ge=1, description="model steps for which a plan holds an action")
    warm_start: bool = Field(True, description="begin at what the last plan has not done yet")
    samples: int = Field(128, ge=2, description="plans that are tried in an iteration")
    iterations: int = Field(4, ge=1, description="times that the search is refined")


@dataclass(frozen=True)
class Problem:
    """One moment of one episode, and the objective."""

    dynamics: Dynamics
    cost: WeightedSum
    z: Tensor
    """the present, (1, *L)"""
    goal: Goal | None = None


@dataclass(frozen=True)
class Plan:
    """The result of a planner."""

    actions: Tensor
    """float (K, A): the action of each model step, in the action space"""
    latents: Tensor
    """(K + 1, *L): the present and what is imagined"""
    cost: float
    memory: dict[str, Any] = field(default_factory=dict)
    """what the next search may begin with"""


def comparable(costs: Tensor) -> Tensor:
    """Costs (N,) as float64. What is not finite is infinite, minus infinity too: a cost that overflows or is no number
    is of a future that the model cannot tell, and is never the least."""
    costs = costs.double()
    return torch.where(costs.isfinite(), costs, torch.inf)


class Planner:
    """Finds actions whose imagined future has a low cost.

    ``plan`` draws all that is random from the generator it is given. Each moment is planned by itself, so that no bit
    of a plan depends on what else is planned.
    """

    Options: ClassVar[type[PlannerOptions]] = PlannerOptions
    """The options that ``brain plan --set`` takes."""
    costless: ClassVar[bool] = False
    """Whether it reads no cost."""
    needs_goal: ClassVar[bool] = False
    learned: ClassVar[bool] = False
    """Whether it must be fitted to episodes first, and so needs a model."""

    def __init__(self, options: Any, space: ActionSpace, setting: Setting) -> None:
        """Raises ``TinyJEPAError`` where the setting lacks what it needs."""
        self.options = options
        self.space = space

    def plan(self, problem: Problem, generator: torch.Generator, before: Plan | None = None) -> Plan:
        """A plan for one moment. ``before``: the last plan of the same episode, ``receding`` model steps ago."""
        raise NotImplementedError


class Search(Planner):
    """Tries plans of actions, each held for ``block`` model steps, under the cost."""

    def __init__(self, options: Any, space: ActionSpace, setting: Setting) -> None:
        super().__init__(options, space, setting)
        self.decisions = -(-options.horizon // options.block)
        """Number of actions in a plan."""

    def held(self, plans: Tensor) -> Tensor:
        """Plans (N, decisions, A) to the actions of the model steps, (N, horizon, A)."""
        return plans.repeat_interleave(self.options.block, 1)[:, : self.options.horizon]

    def imagine(self, problem: Problem, plans: Tensor) -> Imagination:
        """Imagined futures of plans (N, decisions, A): an action is held through the frames of a model step."""
        actions = self.held(plans)
        chunks = actions.repeat(1, 1, problem.dynamics.stride)
        present = problem.z.expand(len(plans), *problem.z.shape[1:])
        return Imagination(present, problem.dynamics.rollout(present, chunks), chunks)

    @torch.no_grad()
    def costs(self, problem: Problem, plans: Tensor) -> Tensor:
        """Costs of plans (N, decisions, A): float64 (N,), infinite where they are not finite."""
        part = max(1, PART_NUMBERS // (self.options.horizon * problem.z[0].numel()))
        costs = [problem.cost(self.imagine(problem, some), problem.goal) for some in plans.split(part)]
        return comparable(torch.cat(costs))

    @torch.no_grad()
    def finish(self, problem: Problem, plan: Tensor, memory: dict[str, Any]) -> Plan:
        """The chosen plan (decisions, A), with its imagined latents."""
        plan = self.space.nearest(plan)
        imagined = self.imagine(problem, plan[None])
        cost = float(problem.cost(imagined, problem.goal)[0])
        latents = torch.cat([problem.z, imagined.future[0]])
        return Plan(self.held(plan[None])[0], latents, cost, memory)

    def begin(self, before: Plan | None) -> Proposal:
        """Where a search begins: at the last plan's proposal, moved on, or at the space's own."""
        if before is None or not self.options.warm_start or "proposal" not in before.memory:
            return self.space.proposal(self.decisions)
        proposal: Proposal = before.memory["proposal"]
        return proposal.shifted(self.options.receding, self.options.block)
