"""Impossible events, played on the film while it runs: a new one is one function and one line in ``TRICKS``.

A trick yields what is shown and what the model is told: frames, uint8 (H, W, C), and the actions that are said to
have led there, float32 (A,). It ends when the film is an honest one again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import numpy as np

Shown = tuple[np.ndarray, np.ndarray]


class Stage(Protocol):
    """What a trick may touch; ``brain.live.scene.Scene`` is one."""

    past: list[Shown]
    """the newest frames shown, and the actions told, oldest first"""
    other_action: np.ndarray
    """the action of the other course at this frame"""

    def drive(self) -> Shown | None:
        """One honest frame on; None where the episode is over."""

    def swap(self) -> None:
        """Exchange the course that is shown with the other one."""


def teleport(stage: Stage, frames: int) -> Iterator[Shown]:
    """The next frame is of the other course, and the film goes on there."""
    stage.swap()
    shown = stage.drive()
    if shown:
        yield shown


def freeze(stage: Stage, frames: int) -> Iterator[Shown]:
    """The picture stops, and the actions go on; then the world goes on from there."""
    frame, action = stage.past[-1]
    for _ in range(frames):
        yield frame, action


def reverse(stage: Stage, frames: int) -> Iterator[Shown]:
    """The film runs backwards, then forwards again to where it was."""
    past = stage.past[-frames - 1 :]
    for frame, _ in reversed(past[:-1]):
        yield frame, past[-1][1]
    yield from past[1:]


def wrong_action(stage: Stage, frames: int) -> Iterator[Shown]:
    """The world does what it does, and the model is told the other course's actions."""
    for _ in range(frames):
        shown = stage.drive()
        if shown is None:
            return
        yield shown[0], stage.other_action


class Trick(NamedTuple):
    label: str
    summary: str
    play: Callable[[Stage, int], Iterator[Shown]]
    needs_actions: bool = False


TRICKS = {
    "teleport": Trick("Teleport", "jump to another course of the world", teleport),
    "freeze": Trick("Freeze", "the picture stops", freeze),
    "reverse": Trick("Reverse", "the film runs backwards", reverse),
    "wrong-action": Trick("Wrong action", "the model is told other actions", wrong_action, needs_actions=True),
}
