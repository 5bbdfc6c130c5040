"""A world's violations as interventions: buttons that show what cannot happen while the world runs.

The simulator's own run on a copy of the world; the true course goes on unseen, and is shown again when they are over. A
violation of a certain situation is led up to: an episode begins that comes to it. Stored episodes get those of the
generic violations that change each frame by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import gymnasium as gym
import numpy as np

from brain.evaluation.interventions import INTERVENTIONS, Intervention, Lead, Shown, Stage
from brain.live.loaded import Loaded
from shared.worlds.base import World, flat_action
from shared.worlds.frame_violations import FRAME_VIOLATIONS
from shared.worlds.violations import FrameViolation, Ride, Violation, frozen

LEAD = 12
"""Minimum number of frames before a situation."""

ATTEMPTS = 50
"""Maximum number of episodes searched for a situation."""


class WorldStage(Stage, Protocol):
    """What these interventions may access in addition."""

    number: int
    """of the newest frame"""

    @property
    def world(self) -> World | None:
        """The simulator of the trajectory on display; None for stored episodes."""


def offered(loaded: Loaded) -> dict[str, Intervention]:
    """All interventions of a run's page, by name: those that every world has first, then its own violations."""
    if loaded.simulated and loaded.world_violations:
        # to stand still is every world's "freeze"
        own = [
            violation for violation in loaded.world_violations if not (violation.anywhere and violation.make is frozen)
        ]
        made = [_simulated(violation) for violation in own]
    else:
        made = [_of_frames(violation) for violation in FRAME_VIOLATIONS if violation.framewise]
    return INTERVENTIONS | {
        intervention.name: intervention for intervention in made if intervention.name not in INTERVENTIONS
    }


def _simulated(violation: Violation) -> Intervention:
    def play(stage: Any, frames: int) -> Iterator[Shown | Lead]:
        assert stage.world is not None
        rng = np.random.default_rng([stage.number, *violation.name.encode()])
        if violation.anywhere:
            yield from _shown(violation, stage.world, _driven(stage, frames), rng)
            return
        ride, act = _situation(stage.world, violation, frames, rng)
        if act is None:
            return
        yield Lead(ride.frames[0], None)
        for frame, action in zip(ride.frames[1:], ride.actions):
            yield Lead(frame, action)

        def acted() -> Iterator[np.ndarray]:
            for _ in range(frames):
                action = act()
                ride.step(action)
                yield flat_action(ride.world.action_space, action)

        yield from _shown(violation, stage.world, acted(), rng)

    return Intervention(
        name=violation.name, label=violation.name.replace("-", " ").capitalize(), summary=violation.summary,
        principle=violation.principle, play=play,
    )  # fmt: skip


def _driven(stage: WorldStage, frames: int) -> Iterator[np.ndarray]:
    """Flat actions of the trajectory that continues unseen, one per frame."""
    for _ in range(frames):
        shown = stage.drive()
        if shown is None:
            return
        yield shown[1]


def _shown(
    violation: Violation, world: World, taken: Iterator[np.ndarray], rng: np.random.Generator
) -> Iterator[Shown]:
    """The impossible frames, made on a copy of the world as it is before the first of the actions."""
    told: list[np.ndarray] = []

    def actions() -> Iterator[Any]:
        for action in taken:
            told.append(action)
            yield gym.spaces.unflatten(fork.action_space, action)

    fork = world.fork()
    for frame in violation.make(fork, actions(), rng):
        yield frame.copy(), told[-1]


def _situation(world: World, violation: Violation, frames: int, rng: np.random.Generator) -> tuple[Ride, Any]:
    """An episode that has come to the violation's situation, and who acts from there; None where none comes to it."""
    ride = None
    for _ in range(ATTEMPTS):
        ride = Ride(world, int(rng.integers(2**31)), rng, LEAD, frames)
        act = next(violation.situation(ride), None)
        if act is not None and not ride.over:
            ride.frames, ride.actions = ride.frames[-LEAD - 1 :], ride.actions[-LEAD:]
            return ride, act
    assert ride is not None
    return ride, None


def _of_frames(violation: FrameViolation) -> Intervention:
    def play(stage: Any, frames: int) -> Iterator[Shown]:
        start = stage.number
        for _ in range(frames):
            shown = stage.drive()
            if shown is None:
                return
            frame, action = shown
            rng = np.random.default_rng([start, *violation.name.encode()])
            yield violation.make(frame[None], frame[None], 1, rng)[0], action

    return Intervention(
        name=violation.name, label=violation.name.replace("-", " ").capitalize(), summary=violation.summary,
        principle=violation.principle, play=play,
    )  # fmt: skip
