"""A trained run for the live page: its model, its threshold, and the world or the episodes to show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from brain.data.windows import Timing
from brain.live.pilot import Acting, Pilot
from brain.live.rides import KEYS, PLANNER, RANDOM, RECORDED, Recordings, Ride, StoredRide, WorldRide
from brain.models.decoders.trained import load_decoder
from brain.models.world_model import EnergyKind, WorldModel
from brain.planning.job import Job
from brain.pretrained import comes_with_the_package
from brain.runs.figures import damaged, read_judgement
from brain.runs.folder import Run
from brain.runs.judgement import Judgement
from shared.errors import TinyJEPAError
from shared.store.reader import Store
from shared.store.schema import StoreSpec
from shared.worlds import stored_world
from shared.worlds.base import World, action_dim
from shared.worlds.tasks import Reach, tasks
from shared.worlds.violations import Violation

LEAST_STEPS = 4
"""Minimum number of model steps of a stored episode that can be replayed."""


@dataclass(frozen=True)
class Calibration:
    """The energy as the judge calibrated it on validation episodes."""

    kind: EnergyKind
    threshold: float | None
    """exceeded by at most a share ``false_alarms`` of true transitions; None if the run is not judged"""
    false_alarms: float


@dataclass(frozen=True)
class Loaded:
    """A run in memory; read-only."""

    path: Path
    model: WorldModel
    decoder: nn.Module | None
    calibration: Calibration
    recordings: Recordings
    simulated: bool
    """whether the simulator runs; else stored test episodes are replayed"""
    notes: tuple[str, ...]
    """messages for people: what is missing and what to do about it"""
    policies: tuple[str, ...]
    """policies to choose from, the default first"""
    keys: tuple[str, ...]
    world_violations: tuple[Violation, ...] = ()
    """the impossible events that the simulator can make"""
    trust_world: bool = False
    """whether the module that the store names for its world may be imported"""
    planning: Job | None = None
    """what the planner acts with; None where it cannot"""
    no_planner: str = ""
    """why it cannot"""

    @property
    def spec(self) -> StoreSpec:
        return self.model.spec

    @property
    def timing(self) -> Timing:
        return Timing.of(self.model.recipe.observation)

    def rides(self, seed: int, pilot: Pilot | None) -> tuple[Ride, Ride]:
        """Two independent trajectories of the world; the ``pilot`` may act in either."""
        first, second = (np.random.default_rng([seed, n]) for n in (0, 1))
        if not self.simulated:
            return StoredRide(self.recordings, first), StoredRide(self.recordings, second)
        worlds = [_world(self.spec, self.trust_world) for _ in range(2)]
        return (
            WorldRide(worlds[0], self.recordings, first, pilot),
            WorldRide(worlds[1], self.recordings, second, pilot),
        )


def load(
    path: Path,
    store: Store | None,
    device: torch.device,
    *,
    replay: bool = False,
    trust_world: bool = False,
    acting: Acting | None = None,
    fit: Store | None = None,
) -> Loaded:
    """Opens a run folder; ``store`` is None where the one it was trained on is gone.

    Shows the simulator, or, where it is not installed or with ``replay``, the store's test episodes. With ``acting`` a
    planner may act, whose learned parts are fitted to the store ``fit`` where they are missing. Raises
    ``TinyJEPAError`` for a damaged folder, and where neither simulator nor episodes can be shown.
    """
    run = Run(path)
    judgement = read_judgement(run)
    spec = store.spec if store else _judged_spec(run, judgement)
    model = WorldModel.load(path, spec, device)
    if model.recipe.observation.mode == "state":
        raise TinyJEPAError(f"{path} sees coordinates, and there is no picture to show: give a run that sees frames")
    given = f"--pretrained {path.name}" if comes_with_the_package(path) else f"--run {path}"
    notes = []
    decoder = load_decoder(run, model) if run.decoder.exists() else None
    if decoder is None:
        notes.append(f"No decoder: latents cannot be drawn. Make one with: brain dream {given}")
    calibration = _calibration(judgement, model)
    if calibration.threshold is None:
        notes.append(f"Not calibrated: no threshold is drawn. Make one with: brain judge {given}")
    recordings = Recordings.of(store, Timing.of(model.recipe.observation).rows(LEAST_STEPS))
    keys: tuple[str, ...] = ()
    violations: tuple[Violation, ...] = ()
    absent = "" if replay else None
    if not replay:
        try:
            world = _world(spec, trust_world)
            found = (world.observation_space.shape, action_dim(world.action_space))
            keys, violations = tuple(world.keys), world.violations
            world.close()
            if found != (spec.frame_shape, spec.action_dim):
                absent = "its frames or actions here are not those it was trained on"
        except TinyJEPAError as error:
            absent = str(error)
    recorded = tuple(RECORDED + name for name in _by_length(recordings))
    if absent is not None:
        if not recorded:
            why = f"the simulator cannot run ({absent})" if absent else "--replay was given"
            raise TinyJEPAError(
                f"{path}: {why}, and there is no stored test episode to replay: "
                "install the world, or give --store a store that has test episodes"
            )
        notes += [f"The simulator cannot run, so stored test episodes are replayed: {absent}"] if absent else []
        why = "stored episodes cannot be steered"
        return Loaded(path, model, decoder, calibration, recordings, False, tuple(notes), recorded, (), no_planner=why)
    if not recorded:
        collect = run.facts().get("collect")
        cure = f" Collect some with: {collect}" if collect else ""
        notes.append(f"No stored test episodes here to replay.{cure}")
    planning, why = _planning(path, model, fit, acting, trust_world)
    policies = (*recorded, RANDOM, *([KEYS] if keys else []), *([PLANNER] if planning else []))
    if planning and not recorded and not isinstance(planning.task, Reach):
        policies = (PLANNER, RANDOM, *([KEYS] if keys else []))  # more is to be seen than under random actions
    shown = tuple(notes), policies, keys, violations, trust_world, planning, why
    return Loaded(path, model, decoder, calibration, recordings, True, *shown)


def _planning(
    path: Path, model: WorldModel, fit: Store | None, acting: Acting | None, trust_world: bool
) -> tuple[Job | None, str]:
    """What the planner acts with, or why it cannot."""
    if acting is None:
        return None, ""
    try:
        world = _world(model.spec, trust_world)
        choices = acting.choices(next(iter(tasks(world).values())), path, trust_world)
        world.close()
        return Job(choices, path, model, fit, quiet=False), ""
    except TinyJEPAError as error:
        return None, str(error)


def _world(spec: StoreSpec, trust: bool) -> World:
    return stored_world(spec.world, spec.frame_shape[0], spec.world_options, trust=trust)


def _by_length(recordings: Recordings) -> list[str]:
    """Policies, ordered by the length of their episodes, longest first."""
    mean = {name: float(np.mean([ref.rows for ref in refs])) for name, refs in recordings.by_policy.items()}
    return sorted(mean, key=lambda name: (-mean[name], name))


def _judged_spec(run: Run, judgement: Judgement | None) -> StoreSpec:
    """What ``judge.json`` says of the store that is gone."""
    if judgement is None:
        raise TinyJEPAError(
            f"the store of {run.path} is not there ({run.facts()['store']}) and the run is not judged: give its --store"
        )
    try:
        return judgement.spec()
    except ValueError as error:
        raise damaged(run.judgement, error, "run brain judge again") from None


def _calibration(judgement: Judgement | None, model: WorldModel) -> Calibration:
    share = model.recipe.energy.false_alarm_rate
    if judgement is None:
        return Calibration("scaled", None, share)
    return Calibration(judgement.energy.form, judgement.energy.thresholds.get(1), share)
