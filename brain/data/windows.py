"""Stack and stride: which frames make an observation, and which actions lead from one to the next.

An *observation* is ``stack`` frames, ``stride`` apart, oldest first; it *ends at* its newest frame. A *model step* is
``stride`` frames. The actions taken at its ``stride`` frames, joined, are its *action chunk*. This file is the only
place with that arithmetic: for stored episodes (``Timing``), for shuffled training windows (``Window``) and for a
world that is running (``OnlineWindow``).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from brain.recipes.schema import Observation


@dataclass(frozen=True)
class Batch:
    """B windows of consecutive model steps.

    Observation i of a window is ``frames[:, i : i + stack]``; there are steps + 1 of them, and action i leads from
    observation i to i + 1.
    """

    frames: Tensor
    """uint8 (B, stack + steps, H, W, C), one model step (``stride`` frames) apart, on the device; float32 where a frame
    is coordinates"""
    actions: Tensor
    """float32 (B, steps, stride * A): the actions between, flattened, on the device"""


@dataclass(frozen=True)
class Timing:
    """Rows of an episode to observations and model steps."""

    stack: int
    stride: int

    @classmethod
    def of(cls, observation: Observation) -> Timing:
        """The timing that a recipe asks for."""
        return cls(observation.stack, observation.stride)

    @property
    def history(self) -> int:
        """Rows before the newest frame of an observation that it needs."""
        return (self.stack - 1) * self.stride

    @property
    def shortest(self) -> int:
        """Rows an episode needs to hold one transition."""
        return self.rows(1)

    def rows(self, steps: int) -> int:
        """Rows that an observation and ``steps`` model steps after it need."""
        return (self.stack - 1 + steps) * self.stride + 1

    def window(self, rows: np.ndarray, steps: int = 0) -> np.ndarray:
        """Rows of the frames of observations that end at ``rows`` (N,), and of ``steps`` model steps after each.

        int (N, stack + steps), ascending.
        """
        return rows[:, None] + np.arange(1 - self.stack, steps + 1) * self.stride

    def taken(self, rows: np.ndarray, steps: int = 1) -> np.ndarray:
        """Rows of the actions of ``steps`` model steps from observations that end at ``rows`` (N,).

        int (N, steps * stride), ascending.
        """
        return rows[:, None] + np.arange(steps * self.stride)

    def chunks(self, actions: np.ndarray, rows: np.ndarray, steps: int = 1) -> np.ndarray:
        """Action chunks of ``steps`` model steps from ``rows`` (N,): ``actions`` (R, A) to (N, steps, stride * A)."""
        return actions[self.taken(rows, steps)].reshape(len(rows), steps, self.stride * actions.shape[1])


@dataclass(frozen=True)
class Window(Timing):
    """The rows of a training window, relative to its first: ``stack + steps`` frames, ``stride`` apart.

    With ``steps`` 0 a window is one observation, without actions.
    """

    steps: int

    @property
    def frames(self) -> np.ndarray:
        """int64 (stack + steps,)"""
        return self.window(np.array([self.history]), self.steps)[0]

    @property
    def actions(self) -> np.ndarray:
        """int64 (steps * stride,): from the newest frame of the first observation on"""
        return self.taken(np.array([self.history]), self.steps)[0]

    @property
    def span(self) -> int:
        """Rows from the first frame to the last, both included."""
        return self.rows(self.steps)


class OnlineWindow:
    """The newest frames and actions of a world that is running: those that one observation and one chunk need.

    >>> window = OnlineWindow(Timing(stack=2, stride=1))
    >>> window.add(np.zeros((8, 8, 3), np.uint8))
    >>> window.add(np.ones((8, 8, 3), np.uint8), np.zeros(2, np.float32))
    >>> window.observation().shape, window.chunk().shape
    ((2, 8, 8, 3), (2,))
    """

    def __init__(self, timing: Timing) -> None:
        self.timing = timing
        self._frames: deque[np.ndarray] = deque(maxlen=timing.history + 1)
        self._actions: deque[np.ndarray] = deque(maxlen=timing.stride)

    def add(self, frame: np.ndarray, action: np.ndarray | None = None) -> None:
        """Take in a frame (H, W, C), or a state (S,), and the action float32 (A,) that led to it; None for an episode's
        first frame."""
        self._frames.append(frame)
        if action is not None:
            self._actions.append(action)

    def clear(self) -> None:
        """An episode begins: nothing leads from the frames before to those after."""
        self._frames.clear()
        self._actions.clear()

    def observation(self) -> np.ndarray | None:
        """The observation that ends at the newest frame, (stack, H, W, C); None while frames are missing."""
        if len(self._frames) <= self.timing.history:
            return None
        return np.stack(list(self._frames)[:: self.timing.stride])

    def padded(self) -> np.ndarray:
        """The same at any time after the first frame: where frames are missing, the first one stands in for them."""
        last = len(self._frames) - 1
        return np.stack(
            [self._frames[max(0, last - k * self.timing.stride)] for k in reversed(range(self.timing.stack))]
        )

    def chunk(self) -> np.ndarray | None:
        """The action chunk of the newest model step, float32 (stride * A,); None while actions are missing."""
        if len(self._actions) < self.timing.stride:
            return None
        return np.concatenate(self._actions)
