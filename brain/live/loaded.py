"""A trained run, ready to be watched: its model, its threshold, and the world or the episodes to show it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from brain.evaluation.dream import load_decoder
from brain.evaluation.episodes import Timing
from brain.live.rides import KEYS, RANDOM, RECORDED, Recordings, Ride, StoredRide, WorldRide
from brain.models.world_model import EnergyKind, WorldModel
from brain.runs.folder import Run
from shared.errors import TinyJEPAError, cause
from shared.store.reader import Store
from shared.store.schema import StoreSpec
from shared.worlds import make_world
from shared.worlds.base import action_dim

LEAST_STEPS = 4
"""Model steps that a stored episode must hold to be replayed."""


@dataclass(frozen=True)
class Calibration:
    """The energy as the judge calibrated it on validation episodes."""

    kind: EnergyKind
    threshold: float | None
    """what at most a share ``false_alarms`` of true transitions exceeds; None where the run is not judged"""
    false_alarms: float


@dataclass(frozen=True)
class Loaded:
    """A run in memory; nothing of it changes."""

    path: Path
    model: WorldModel
    decoder: nn.Module | None
    calibration: Calibration
    recordings: Recordings
    simulated: bool
    """whether the simulator runs; else stored test episodes are replayed"""
    notes: tuple[str, ...]
    """what is missing and what to do about it, for people"""
    policies: tuple[str, ...]
    """who can act, the default first"""
    keys: tuple[str, ...]

    @property
    def spec(self) -> StoreSpec:
        return self.model.spec

    @property
    def timing(self) -> Timing:
        return Timing(self.model.recipe.observation.stack, self.model.recipe.observation.stride)

    def rides(self, seed: int) -> tuple[Ride, Ride]:
        """Two courses of the world, independent of each other."""
        first, second = (np.random.default_rng([seed, n]) for n in (0, 1))
        if not self.simulated:
            return StoredRide(self.recordings, first), StoredRide(self.recordings, second)
        worlds = [make_world(self.spec.world, self.spec.frame_shape[0], **self.spec.world_options) for _ in range(2)]
        return WorldRide(worlds[0], self.recordings, first), WorldRide(worlds[1], self.recordings, second)


def load(path: Path, store: Store | None, device: torch.device, *, replay: bool = False) -> Loaded:
    """Opens a run folder; ``store`` is None where the one it was trained on is gone.

    Shows the simulator, or, where it is not installed or with ``replay``, the store's test episodes. Raises
    ``TinyJEPAError`` for a damaged folder, and where neither can be shown.
    """
    run = Run(path)
    judgement = _judgement(run)
    spec = store.spec if store else _judged_spec(run, judgement)
    model = WorldModel.load(path, spec, device)
    notes = []
    decoder = load_decoder(run, model) if run.decoder.exists() else None
    if decoder is None:
        notes.append(f"No decoder: latents cannot be drawn. Make one with: brain dream --run {path}")
    calibration = _calibration(run, judgement, model)
    if calibration.threshold is None:
        notes.append(f"Not calibrated: no threshold is drawn. Make one with: brain judge --run {path}")
    shortest = Timing(model.recipe.observation.stack, model.recipe.observation.stride)
    recordings = Recordings.of(store, shortest.history + LEAST_STEPS * shortest.stride + 1)
    keys: tuple[str, ...] = ()
    absent = "" if replay else None
    if not replay:
        try:
            world = make_world(spec.world, spec.frame_shape[0], **spec.world_options)
            found = (world.observation_space.shape, action_dim(world.action_space))
            keys = tuple(world.keys)
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
        return Loaded(path, model, decoder, calibration, recordings, False, tuple(notes), recorded, ())
    if not recorded:
        notes.append("No stored test episodes here: only random actions and the keyboard can act.")
    policies = (*recorded, RANDOM, *([KEYS] if keys else []))
    return Loaded(path, model, decoder, calibration, recordings, True, tuple(notes), policies, keys)


def _by_length(recordings: Recordings) -> list[str]:
    """Policies, those whose episodes last longest first."""
    mean = {name: float(np.mean([ref.rows for ref in refs])) for name, refs in recordings.by_policy.items()}
    return sorted(mean, key=lambda name: (-mean[name], name))


def _judgement(run: Run) -> dict[str, Any]:
    """``judge.json``; empty where the run is not judged."""
    if not run.judgement.exists():
        return {}
    try:
        content = json.loads(run.judgement.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("no JSON object")
        return content
    except ValueError as error:
        raise TinyJEPAError(f"{run.judgement} is damaged ({error}): run brain judge again") from None


def _judged_spec(run: Run, judgement: dict[str, Any]) -> StoreSpec:
    """What ``judge.json`` says of the store that is gone."""
    if not judgement:
        raise TinyJEPAError(
            f"the store of {run.path} is not there ({run.facts()['store']}) and the run is not judged: give its --store"
        )
    try:
        return StoreSpec(**{key: value for key, value in judgement["store"].items() if key != "path"})
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise TinyJEPAError(f"{run.judgement} is damaged ({reason}): run brain judge again") from None


def _calibration(run: Run, judgement: dict[str, Any], model: WorldModel) -> Calibration:
    share = model.recipe.energy.false_alarm_rate
    if not judgement:
        return Calibration("scaled", None, share)
    try:
        kind = judgement["energy"]["form"]
        threshold = judgement["energy"]["validation"][kind]["thresholds"]["1"]
        return Calibration(kind, None if threshold is None else float(threshold), share)
    except (KeyError, TypeError, ValueError) as error:
        raise TinyJEPAError(f"{run.judgement} is damaged ({cause(error)}): run brain judge again") from None
