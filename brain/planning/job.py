"""One evaluation, from choices to metrics: the job of ``brain plan``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from brain.data.state_mode import StateStore, picture_shape, stored_spec
from brain.models.world_model import WorldModel
from brain.parts import PLANNERS
from brain.planning import outcome
from brain.planning.actions import ActionSpace
from brain.planning.baselines import BASELINES, baseline_model, effort
from brain.planning.costs.base import CostOptions, Setting, WeightedSum
from brain.planning.dynamics import Copies, Counted, Dynamics, Imagined, ImaginedVector, true_dynamics
from brain.planning.evaluation import Evaluation, Played, impossible_plans, light
from brain.planning.kept import Keeper, Kept
from brain.planning.paths import PathReader
from brain.planning.planners.base import PlannerOptions
from shared.errors import TinyJEPAError
from shared.registry import closest
from shared.store.reader import Store
from shared.store.schema import RunSpec
from shared.worlds import stored_world
from shared.worlds.base import World
from shared.worlds.tasks import Case, Reach, Task, fingerprint, tasks

TRUE = "true"
DEFAULTS = ("tree", "prior", "cem")
"""Planners for a task with a goal, for one without where the run has learned a policy, and elsewhere."""
PRACTICE = 0x5EED
"""Added to the seed of episodes that are recorded: they are none of the fixed list."""


@dataclass(frozen=True)
class Choices:
    """What is evaluated."""

    task: str | None = None
    """None: the world's first"""
    planner: str | None = None
    """None: one of ``DEFAULTS``"""
    options: tuple[str, ...] = ()
    """``KEY=VALUE`` of the planner"""
    costs: tuple[str, ...] = ()
    """``KIND`` or ``KIND:KEY=VALUE,...``; empty: what suits the task"""
    dynamics: str = "model"
    """``model``, ``true``, or one of ``BASELINES``"""
    episodes: int | None = None
    """None: the whole list"""
    seed: int = 0
    shown: int = 4
    """episodes whose frames are kept"""
    baselines: bool = True
    trust_world: bool = False
    """whether to import the module that the store names for its world"""
    world_options: Mapping[str, Any] | None = None
    """in place of the run's own; None: these"""


@dataclass
class Job:
    """Everything an evaluation needs, made from ``Choices``. Raises ``TinyJEPAError`` for choices that do not fit."""

    choices: Choices
    run: Path
    model: WorldModel
    store: Store | None
    """store to which learned parts are fitted"""
    quiet: bool = True
    chosen: bool = True
    """whether it was chosen for that: parts that were fitted to another store are else kept"""

    def __post_init__(self) -> None:
        spec = self.model.spec
        side = picture_shape(spec)[0]
        self.options = spec.world_options if self.choices.world_options is None else dict(self.choices.world_options)
        self.world, other = (
            stored_world(spec.world, side, self.options, trust=self.choices.trust_world) for _ in range(2)
        )
        self.name, self.task = chosen_task(self.world, self.choices.task)
        self.task.check(self.world)
        kind = self.choices.planner or default_planner(self.task, self.run, self.choices.dynamics)
        stride = self.model.recipe.observation.stride
        scale = self.store.scale if isinstance(self.store, StateStore) else None
        self.planner_options = planner_options(kind, self.choices.options)
        planner = self.planner_options.part()
        made_by = self.choices.dynamics if self.choices.dynamics in BASELINES else "model"
        typical = Imagined(self.model).typical  # of a baseline too: the search is the same
        if self.choices.dynamics in BASELINES:
            if self.store is None:
                raise TinyJEPAError(f"--dynamics {made_by} needs a store to fit to: give --store or --fit")
            self.model = baseline_model(self.choices.dynamics, self.model, self.store, self.choices.seed, self.quiet)
        inner: Dynamics = Imagined(self.model, scale, made_by)
        device: Any = self.model.device
        if self.choices.dynamics == TRUE:
            self.world.reset(seed=0)
            inner, device = true_dynamics(self.world, stride), "cpu"
            typical = None  # type: ignore[assignment]
        self.cost_options = [] if planner.costless else self._costs(isinstance(inner, Copies))
        if not isinstance(self.task, Reach):
            wanting = [f"cost {options.kind}" for options in self.cost_options if options.part().needs_goal]
            wanting = [f"planner {kind}"] * planner.needs_goal + wanting
            if wanting:
                raise TinyJEPAError(
                    f"{wanting[0]} needs a goal, and task {self.name} has none: "
                    "planners such as cem and prior, and costs such as reward, need none"
                )
        enough = not planner.needs_goal and all(options.part().vector_suffices for options in self.cost_options)
        if enough and self.choices.dynamics != TRUE and ImaginedVector.suits(self.model):
            inner = ImaginedVector(self.model, scale, made_by)
        self.dynamics = Counted(inner)
        self.space = ActionSpace(self.world.action_space, typical, device)
        self.setting = Setting(
            self.task, self.dynamics, self.run, self.store, self.choices.seed, self.quiet, self.chosen
        )
        self.planner = planner(self.planner_options, self.space, self.setting)
        self.cost = WeightedSum([options.part()(options, self.setting) for options in self.cost_options])
        self.reader = PathReader(self.setting)
        self.evaluation = Evaluation(self.world, other, self.task, self.choices.seed)

    def _costs(self, copies: bool) -> list[CostOptions]:
        reach, real = isinstance(self.task, Reach), self.choices.dynamics == TRUE
        names = self.choices.costs
        if not names and real and not reach and not copies:
            raise TinyJEPAError(f"task {self.name} has no goal, and no cost of it is known on the true state")
        if not names:
            own = (("goal-distance",), ("reward", "value"))[not reach]
            names = (("true-distance",), ("true-reward",))[not reach] if real else own
        return [cost_options(text) for text in names]

    @property
    def count(self) -> int:
        return self.choices.episodes or self.task.episodes

    def identity(self, heads: bool = True) -> str:
        """SHA-256, hexadecimal, of all that decides how this agent plays: weights, task, planner, costs, dynamics, seed
        and world. Without ``heads``, as long as what it has learned for planning may be fitted anew."""
        baseline = f"-{self.choices.dynamics}" if self.choices.dynamics in BASELINES else ""
        kinds = [kind for kind in sorted(self.setting.fitted_to) if heads and kind != "states"]
        fitted = [self.store.address, self.store.rows, effort(self.model.recipe)] if baseline and self.store else []
        names = ["encoder", "predictor", *(f"planning-{kind}{baseline}" for kind in kinds)]
        files = [path for name in names if (path := self.run / f"{name}.safetensors").exists()]
        said = {
            "task": self.name,
            "planner": self.planner_options.model_dump(mode="json"),
            "costs": [
                cost.options.model_dump(mode="json") | ({"threshold": cost.threshold} if cost.threshold else {})
                for cost in self.cost.costs
            ],
            "dynamics": self.choices.dynamics,
            "fitted": fitted,
            "seed": self.choices.seed,
            "world": [self.model.spec.world, self.options],
            "weights": [[file.name, hashlib.sha256(file.read_bytes()).hexdigest()] for file in files],
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()

    def keeper(self, record: Path) -> Keeper:
        """Of this agent's episodes, in the store at ``record``."""
        policy = f"plan-{self.planner_options.kind}"
        run = RunSpec(self.choices.seed, f"{policy}-{self.identity(heads=False)[:8]}", self.task.steps)
        return Keeper(record, stored_spec(self.model.spec), run, policy)

    def evaluate(
        self, record: Path | None, say: Callable[[str], None], kept: Kept | None = None
    ) -> tuple[dict[str, Any], list[Played]]:
        """The content of ``plan.json``, and the first episodes with their frames.

        With ``record``, other episodes than the fixed list's, which are written to the store there; those that it holds
        already are not played again, but count: the cost of their decisions is not known. Where it holds all, there are
        no figures. Without, those in ``kept`` are not played again, but for the first ones, whose frames are shown.
        """
        if record is None:
            cases = self.task.cases(self.count)
        else:
            cases = self.task.practice(self.count, self.choices.seed + PRACTICE)
        played: list[Played] = []
        shown: list[Played] = []
        impossible: list[bool] = []
        new = False
        with ExitStack() as stack:
            keep = stack.enter_context(self.keeper(record)) if record else None
            for number, case in enumerate(cases):
                if keep and (recorded := keep.read(number)):
                    played.append(self.evaluation.again(case, recorded))
                    continue
                new = True
                wanted = len(shown) < self.choices.shown
                if kept and not wanted and (before := kept.get(number, case)):
                    one, cannot_be = before
                else:
                    one = next(self.evaluation.agent([case], self.dynamics, self.planner, self.cost, number))
                    cannot_be = impossible_plans(self.task, one, self.reader)
                    if keep:
                        keep.write(number, one)
                    if kept and not kept.get(number, case):
                        kept.add(number, one, cannot_be)
                impossible += cannot_be
                shown += [one] * wanted
                played.append(light(one))
                say(progress_line(self.task, played, len(cases)))
        if not new:
            return {}, []
        return self._figures(cases, played, impossible, record, say), shown

    def _figures(
        self,
        cases: Sequence[Case],
        played: list[Played],
        impossible: list[bool],
        record: Path | None,
        say: Callable[[str], None],
    ) -> dict[str, Any]:
        spec = self.model.spec
        figures: dict[str, Any] = {
            "world": spec.world,
            "world_options": self.options,
            "task": self.name,
            "summary": self.task.summary,
            "steps": self.task.steps,
            "episodes": len(played),
            "list": "recorded, not the fixed list" if record else "fixed",
            "list_sha256": fingerprint(list(cases)),
            "seed": self.choices.seed,
            "dynamics": self.dynamics.name,
            "planner": self.planner_options.model_dump(),
            "costs": [options.model_dump() for options in self.cost_options],
            "fitted_to": self.setting.fitted_to,
            "fitted_with": self.setting.fitted_with,
            **self.evaluation.figures(played),
        }
        if impossible:
            count, plans = sum(map(bool, impossible)), len(impossible)  # no interval: many are of one episode
            figures["imagined"] = {"impossible": {"rate": count / plans, "count": count, "plans": plans}}
        figures["baselines"] = {}
        for name in self.evaluation.baselines if self.choices.baselines and not record else ():
            say(f"baseline {name}")
            figures["baselines"][name] = self.evaluation.figures(
                [light(one) for one in self.evaluation.baseline(name, cases)]
            )
            del figures["baselines"][name]["decision"]
        figures["each"] = [each(self.task, one) for one in played]
        return figures


def chosen_task(world: World, name: str | None) -> tuple[str, Task]:
    """The world's task of this name, or its first; ``TinyJEPAError`` with the closest match for another."""
    known = tasks(world)
    if name is not None and name not in known:
        raise TinyJEPAError(closest(name, list(known), "task"))
    name = name or next(iter(known))
    return name, known[name]


def default_planner(task: Task, run: Path, dynamics: str = "model") -> str:
    """The planner of ``DEFAULTS`` for a task; on the true state CEM, which needs no model of what is near what."""
    if dynamics == TRUE:
        return DEFAULTS[2]
    learned = (run / "planning-policy.safetensors").exists()
    return DEFAULTS[0 if isinstance(task, Reach) else 1 if learned else 2]


def planner_options(kind: str, texts: Sequence[str]) -> PlannerOptions:
    """A planner's options from ``KEY=VALUE`` texts."""
    values = _values(kind, texts, "--planner")
    options: PlannerOptions = _validated(PLANNERS.get(kind).Options, values, f"planner {kind}")
    return options


def cost_options(text: str) -> CostOptions:
    """A cost's options from ``KIND`` or ``KIND:KEY=VALUE,KEY=VALUE``."""
    kind, _, rest = text.partition(":")
    values = _values(kind, [part for part in rest.split(",") if part], "--cost")
    options: CostOptions = _validated(CostOptions.chosen(values), values, f"cost {kind}")
    return options


def _values(kind: str, texts: Sequence[str], flag: str) -> dict[str, str]:
    values = dict(_pair(text) for text in texts)
    if "kind" in values:
        raise TinyJEPAError(f"kind={values['kind']} is no option: choose by {flag} {values['kind']}")
    return values | {"kind": kind}


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise TinyJEPAError(f"'{text}' is no KEY=VALUE, such as horizon=20")
    return key.strip(), value.strip()


def _validated(options: Any, values: dict[str, str], what: str) -> Any:
    unknown = [key for key in values if key not in options.model_fields]
    if unknown:
        raise TinyJEPAError(closest(unknown[0], list(options.model_fields), f"option of {what}"))
    try:
        return options.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        reason = first["msg"].removeprefix("Value error, ")
        raise TinyJEPAError(f"{what}{', ' + where if where else ''}: {reason}") from None


def each(task: Task, played: Played) -> dict[str, Any]:
    """One episode's line in ``plan.json``."""
    line: dict[str, Any] = {
        "seed": played.case.seed,
        "group": played.case.group,
        "steps": len(played.recording.reward) - 1,
    }
    if isinstance(task, Reach):
        nearest = float(np.min(played.distances)) if len(played.distances) else float("nan")
        line |= {"distance": round(float(played.distances[-1]), 3), "nearest": round(nearest, 3)}
        return line | outcome.reached(played.distances, task.radii[0], task.hold)
    return line | {"score": round(played.score, 3)}


def progress_line(task: Task, played: Sequence[Played], total: int) -> str:
    if isinstance(task, Reach):
        done = [outcome.reached(one.distances, task.radii[0], task.hold)["at_end"] for one in played]
        return f"episode {len(played)} of {total}: at the goal {sum(done)}"
    return f"episode {len(played)} of {total}: mean score {np.mean([one.score for one in played]):.1f}"
