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
    """What an intervention may touch; ``brain.live.scene.Scene`` is one."""

    past: list[Shown]
    """the newest frames shown, and the actions told, oldest first"""
    other_action: np.ndarray
    """the action of the other course at this frame"""

    def drive(self) -> Shown | None:
        """The next true frame; None where the episode is over."""

    def swap(self) -> None:
        """Exchange the course that is shown with the other one."""


@dataclass(frozen=True, kw_only=True)
class Intervention(Impossible):
    """An impossible event in a world that is running, for a number of frames."""

    label: str
    """what its button says"""
    play: Callable[[Stage, int], Iterator[Shown | Lead]]
    needs_actions: bool = False
    """whether it means nothing in a world in which nobody acts"""


INTERVENTIONS = registered(Intervention)


def _teleport(stage: Stage, frames: int) -> Iterator[Shown]:
    """The next frame is of the other course, and the world goes on there."""
    stage.swap()
    shown = stage.drive()
    if shown:
        yield shown


def _freeze(stage: Stage, frames: int) -> Iterator[Shown]:
    """The picture stops, and the actions go on; then the world goes on from there."""
    frame, action = stage.past[-1]
    for _ in range(frames):
        yield frame, action


def _reverse(stage: Stage, frames: int) -> Iterator[Shown]:
    """The frames run backwards, then forwards again to where they were."""
    past = stage.past[-frames - 1 :]
    for frame, _ in reversed(past[:-1]):
        yield frame, past[-1][1]
    yield from past[1:]


def _wrong_action(stage: Stage, frames: int) -> Iterator[Shown]:
    """The world does what it does, and the model is told the other course's actions."""
    for _ in range(frames):
        shown = stage.drive()
        if shown is None:
            return
        yield shown[0], stage.other_action


register(Intervention(
    name="teleport", label="Teleport", summary="jump to another course of the world",
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
