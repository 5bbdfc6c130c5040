"""Impossible events that were played, and how the energy responded."""

from __future__ import annotations

from dataclasses import dataclass

from brain.data.windows import Timing

PATIENCE = 100
"""Frames after which an event that has not ended is given up."""


@dataclass
class Event:
    """An impossible event and the energy's response. Times are frame numbers."""

    name: str
    start: int
    stop: int
    """first true frame after it"""
    peak: float = 0.0
    seen: int | None = None
    """first frame above the threshold"""
    over: int | None = None
    """frame from which the energy stays below the threshold, or at which its episode ended"""
    open: bool = True
    calm: int = 0

    def follow(self, number: int, energy: float | None, threshold: float | None, timing: Timing) -> None:
        """Take in a frame's energy.

        Its peak, and whether it is seen, count while a frame of it is still part of a judged transition. It is over
        once the energy stays below the threshold for a model step.
        """
        if energy is None:
            return
        above = threshold is not None and energy > threshold
        if number < self.stop + timing.history + timing.stride:
            self.peak = max(self.peak, energy)
            if above and self.seen is None:
                self.seen = number
        self.calm = 0 if above or number < self.stop else self.calm + 1
        if self.calm >= timing.stride and self.seen is not None:
            self.over = number - self.calm + 1
        self.open = self.over is None and number < self.stop + PATIENCE

    def end(self, number: int) -> None:
        """Its episode ends at frame ``number``, and with it an event that was detected."""
        if self.open and self.seen is not None:
            self.over = number
        self.open = False
