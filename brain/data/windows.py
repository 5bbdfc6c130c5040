"""What a stream delivers, and what a window is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor


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
class Window:
    """The rows of a window, relative to its first: ``stack + steps`` frames, ``stride`` apart, and what lies between.

    With ``steps`` 0 a window is one observation, without actions.
    """

    stack: int
    stride: int
    steps: int

    @property
    def frames(self) -> np.ndarray:
        """int64 (stack + steps,)"""
        return np.arange(self.stack + self.steps) * self.stride

    @property
    def actions(self) -> np.ndarray:
        """int64 (steps * stride,): from the newest frame of the first observation on"""
        return (self.stack - 1) * self.stride + np.arange(self.steps * self.stride)

    @property
    def span(self) -> int:
        """Rows from the first frame to the last, both included."""
        return (self.stack + self.steps - 1) * self.stride + 1
