"""A tree of imagined moments, grown wherever the model says that something new can be reached."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from brain.planning.actions import ActionSpace, Proposal
from brain.planning.costs.base import Imagination, Setting, needed
from brain.planning.dynamics import Copies, Counted
from brain.planning.planners.base import Plan, Problem, comparable
from brain.planning.planners.cem import CEM, CEMOptions
from shared.errors import TinyJEPAError

TOGETHER = 12
"""Moments from which the tree grows at a time."""
FINER = 3
"""Times that a tree which has found nothing more to add halves the distance of its moments."""
ARRIVED = 0.5
"""Of the distance of moments: a tree that comes so near the goal has found it."""
THERE = 0.01
"""Of the distance of moments: a plan that ends so near the goal needs no search."""
TYPICAL = 0.75
"""The quantile of the root's branches whose length is a typical one: many may end at a wall."""


class TreeOptions(CEMOptions):
    horizon: int = Field(6, ge=1, le=512, description="model steps of the last approach, which cem plans")
    receding: int = Field(3, ge=1, description="model steps that are done before it looks again")
    block: int = Field(3, ge=1, description="model steps for which cem holds an action")
    samples: int = Field(16, ge=2, description="plans that cem tries in an iteration")
    iterations: int = Field(2, ge=1, description="times that cem refines the last approach")
    elites: int = Field(4, ge=1, description="best plans of an iteration of cem")
    nodes: int = Field(400, ge=2, description="moments that a tree holds at most")
    branches: int = Field(12, ge=1, description="actions that are tried from each moment")
    length: int = Field(3, ge=1, description="model steps of a branch, which holds its action")
    apart: float = Field(0.5, gt=0, description="least squared distance of moments, in that of a typical branch")


class Tree:
    """Moments that can be reached from the present, in imagination: the present first, each after its parent."""

    def __init__(self, z: Tensor, most: int, actions: int) -> None:
        self.z = z.new_zeros(most, *z.shape[1:])
        self.z[0] = z[0]
        self.count = 1
        self.parent = [-1]
        self.depth = [0]
        self.actions = [torch.zeros(0, actions, device=z.device)]
        """(length, A) each: of the model steps from the parent"""

    @property
    def full(self) -> bool:
        return self.count == len(self.z)

    def nearest(self, z: Tensor, first: int = 0) -> Tensor:
        """Mean squared distances of latents (N, *L) to the nearest moment from number ``first`` on, (N,).

        0 for latents that are not finite: nothing new is reached there.
        """
        own, others = z.flatten(1), self.z[first : self.count].flatten(1)
        squares = own.square().sum(1)[:, None] + others.square().sum(1) - 2 * own @ others.T
        distances = squares.clamp_min(0).amin(1) / own.shape[1]
        return torch.where(distances.isfinite(), distances, 0.0)

    def add(self, parent: int, actions: Tensor, z: Tensor) -> None:
        self.z[self.count] = z
        self.count += 1
        self.parent.append(parent)
        self.depth.append(self.depth[parent] + 1)
        self.actions.append(actions)

    def way(self, node: int) -> Tensor:
        """The actions of the model steps from the present to a moment, (K, A)."""
        actions = [self.actions[0]]
        while self.parent[node] >= 0:
            actions.insert(1, self.actions[node])
            node = self.parent[node]
        return torch.cat(actions)


@dataclass(frozen=True)
class Known:
    """What an episode has taught so far."""

    apart: float = 0.0
    """mean squared distance by which moments are kept apart; what one tree used, the next does not fall below"""
    within: float = 0.0
    """mean squared distance from the goal within which a way must still end to be kept"""
    refuted: tuple[tuple[Tensor, Tensor], ...] = ()
    """a moment and what was to come of it, (1, *L) each, but did not"""

    def after(self, plan: Plan, z: Tensor, steps: int) -> Known:
        """Having done ``steps`` model steps of a plan, one sees the moment z (1, *L)."""
        start, end = plan.latents[:1], plan.latents[steps : steps + 1]
        if len(end) == 0 or distance(end, z) <= self.apart:
            return self
        return replace(self, refuted=(*self.refuted, (start, end)))

    def refutes(self, starts: Tensor, ends: Tensor) -> Tensor:
        """Which steps from moments (N, *L) to others (N, *L) are like one that did not come true, bool (N,)."""
        found = torch.zeros(len(starts), dtype=torch.bool, device=starts.device)
        for start, end in self.refuted:
            both = torch.stack([starts - start, ends - end]).square().flatten(2).mean(2)
            found |= (both <= self.apart).all(0)
        return found


class TreeSearch(CEM):
    """Where can I get to? Grow a tree of imagined moments, and take the way to the goal.

    Random actions branch off the moments that are fewest branches away. A branch is kept if it ends where no moment is
    yet: the latent distance has to tell neighbours apart, but need not know the way around a wall. The tree ends at
    the goal, or when it is full; then the way to the moment of least cost is taken. So do rapidly exploring trees
    (LaValle 1998) and their sparse kin (Li et al. 2016, SST) with true states. Where no more than ``horizon`` steps are
    left, cem improves them under the cost. A way is kept for as long as it still leads, from what is seen, to where it
    led. A step that did not come true is not imagined again in the same episode.
    """

    Options = TreeOptions
    needs_goal = True

    def __init__(self, options: Any, space: ActionSpace, setting: Setting) -> None:
        """Raises ``TinyJEPAError`` for copies of a world, which foresee nothing from imagined moments."""
        super().__init__(options, space, setting)
        dynamics = setting.dynamics.inner if isinstance(setting.dynamics, Counted) else setting.dynamics
        if isinstance(dynamics, Copies):
            raise TinyJEPAError(
                "planner tree goes on from imagined moments, and copies of this world start at the present only: "
                "use --planner cem, or leave out --dynamics true"
            )

    @torch.no_grad()
    def plan(self, problem: Problem, generator: torch.Generator, before: Plan | None = None) -> Plan:
        goal = needed(problem.goal, "of planner tree").z
        known, actions = Known(), None
        if before is not None:
            known = before.memory["known"].after(before, problem.z, self.options.receding)
        if before is not None and self.options.warm_start:
            actions = before.actions[self.options.receding :]
            if distance(self._end(problem, actions), goal) > known.within:
                actions = None
        if actions is None:
            actions, known = self._grow(problem, goal, generator, known)
        if len(actions) <= self.options.horizon:
            proposal = self._along(actions)
            plan = self.finish(problem, proposal.best(), {})
            if distance(plan.latents[-1], goal) > THERE * known.apart:
                plan = self.search(problem, proposal, generator)
            return Plan(plan.actions, plan.latents, plan.cost, {"known": known})
        latents = torch.cat([problem.z, self._future(problem, actions)])
        cost = float(self._costs(problem, latents[None], actions[None])[0, -1])
        return Plan(actions, latents, cost, {"known": known})

    def _grow(self, problem: Problem, goal: Tensor, generator: torch.Generator, known: Known) -> tuple[Tensor, Known]:
        """Actions (K, A) of the way that was found, and what is known from now on."""
        options = self.options
        tree, apart = Tree(problem.z, options.nodes, self.space.dim), known.apart
        way, least, left = tree.way(0), float("inf"), distance(problem.z[0], goal)
        gap, finer, open_ = apart, 0, [0]
        while not tree.full:
            if not open_:  # nothing new at this distance: look for what lies between
                if finer == FINER:
                    break
                gap, finer, open_ = gap / 2, finer + 1, list(range(tree.count))
            roots = sorted(open_, key=lambda node: tree.depth[node])[:TOGETHER]
            open_ = [node for node in open_ if node not in roots]
            z = tree.z[roots].repeat_interleave(options.branches, 0)
            actions = self.space.wide(len(z), generator)[:, None].expand(-1, options.length, -1)
            future = problem.dynamics.rollout(z, actions.repeat(1, 1, problem.dynamics.stride))
            if tree.count == 1 and not finer:
                apart = max(apart, options.apart * float(tree.nearest(future[:, -1]).quantile(TYPICAL)))
                gap = apart
            refuted = known.refutes(z, future[:, -1])
            each = self._costs(problem, torch.cat([z[:, None], future], 1), actions)
            each[refuted] = float("inf")
            number, step = divmod(int(each.argmin()), options.length)
            if each[number, step] < least:
                least, left = float(each[number, step]), distance(future[number, step], goal)
                way = torch.cat([tree.way(roots[number // options.branches]), actions[number, : step + 1]])
                if left <= ARRIVED * apart:
                    break
            first, distances = tree.count, tree.nearest(future[:, -1])
            distances[refuted] = 0
            for number in distances.argsort(descending=True, stable=True).tolist():
                if tree.full or not distances[number] > gap:
                    break
                if tree.count == first or tree.nearest(future[number, -1:], first) > gap:
                    open_.append(tree.count)
                    tree.add(roots[number // options.branches], actions[number], future[number, -1])
        return way, replace(known, apart=apart, within=left + apart)

    def _along(self, actions: Tensor) -> Proposal:
        """Where the search for the last approach begins: at these actions (K, A), and as at first after them."""
        proposal = self.space.proposal(self.decisions)
        rest = self.held(proposal.best()[None])[0, len(actions) :]
        plan = torch.cat([actions, rest])[:: self.options.block]
        return proposal.fit(plan[None], torch.ones(1, device=plan.device), 0.0, spread=False)

    def _future(self, problem: Problem, actions: Tensor) -> Tensor:
        """What comes of actions (K, A), (K, *L)."""
        return problem.dynamics.rollout(problem.z, actions.repeat(1, problem.dynamics.stride)[None])[0]

    def _end(self, problem: Problem, actions: Tensor) -> Tensor:
        return self._future(problem, actions)[-1] if len(actions) else problem.z[0]

    def _costs(self, problem: Problem, paths: Tensor, actions: Tensor) -> Tensor:
        """Costs (N, K) of the moments of paths (N, K + 1, *L) after the first, each by itself, by actions (N, K, A)."""
        chunks = actions.repeat(1, 1, problem.dynamics.stride).flatten(0, 1)[:, None]
        steps = Imagination(paths[:, :-1].flatten(0, 1), paths[:, 1:].flatten(0, 1)[:, None], chunks)
        return comparable(problem.cost(steps, problem.goal)).unflatten(0, actions.shape[:2])


def distance(z: Tensor, goal: Tensor) -> float:
    """Mean squared difference of two latents."""
    return float((z - goal).square().mean())
