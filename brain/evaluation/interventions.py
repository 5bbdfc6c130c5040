"""Interventions: impossible events that are played while a world runs. A new one is a function and a ``register`` line.

An intervention yields what is shown and what the model is told: frames, uint8 (H, W, C), and the actions that are said
to have led there, float32 (A,). It ends when what is shown is what the world does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from brain.evaluation.impossible import Impossible, register, registered

Shown = tuple[np.ndarray, np.ndarray]


class Lead(NamedTuple):
    """A true frame that an intervention needs to be shown before it begins."""

    frame: np.ndarray
    action: np.ndarray | None
    """that led to it; None where an episode begins with it"""


class Stage(Protocol):
    """What an intervention may access; implemented by ``brain.live.scene.Scene``."""

    past: list[Shown]
    """the newest frames shown, and the actions told, oldest first"""
    other_action: np.ndarray
    """the action of the other course at this frame"""

    def drive(self) -> Shown | None:
        """The next true frame; None at the end of the episode."""

    def swap(self) -> None:
        """Swap the trajectory on display with the other one."""

    def begin_other(self) -> None:
        """Begin another trajectory beside the one on display."""


@dataclass(frozen=True, kw_only=True)
class Intervention(Impossible):
    """An impossible event in a running world that lasts a number of frames."""

    label: str
    """label of its button"""
    play: Callable[[Stage, int], Iterator[Shown | Lead]]
    needs_actions: bool = False
    """whether it requires a world with actions"""


INTERVENTIONS = registered(Intervention)


def _teleport(stage: Stage, frames: int) -> Iterator[Shown]:
    """The next frame comes from the other trajectory, and the world continues there."""
    stage.swap()
    shown = stage.drive()
    if shown is None:  # it had come to its end
        stage.swap()
        stage.begin_other()
        stage.swap()
        shown = stage.drive()
    if shown:
        yield shown


def _freeze(stage: Stage, frames: int) -> Iterator[Shown]:
    """The picture freezes while actions continue; then the world continues from there."""
    frame, action = stage.past[-1]
    for _ in range(frames):
        yield frame, action


def _reverse(stage: Stage, frames: int) -> Iterator[Shown]:
    """The frames run backwards, then forwards again to the present."""
    past = stage.past[-frames - 1 :]
    for frame, _ in reversed(past[:-1]):
        yield frame, past[-1][1]
    yield from past[1:]


def _wrong_action(stage: Stage, frames: int) -> Iterator[Shown]:
    """The world is unchanged, but the model is given the actions of the other trajectory."""
    for _ in range(frames):
        shown = stage.drive()
        if shown is None:
            return
        yield shown[0], stage.other_action


register(Intervention(
    name="teleport", label="Teleport", summary="jump to another trajectory of the world",
    principle="continuity", play=_teleport,
))  # fmt: skip
register(Intervention(
    name="freeze", label="Freeze", summary="the picture stops", principle="inertia", play=_freeze,
))  # fmt: skip
register(Intervention(
    name="reverse", label="Reverse", summary="the video runs backwards",
    principle="time", play=_reverse,
))  # fmt: skip
register(Intervention(
    name="wrong-action", label="Wrong action", summary="the model is told other actions",
    principle="agency", play=_wrong_action, needs_actions=True,
))  # fmt: skip
