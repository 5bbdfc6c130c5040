"""Effort."""

from __future__ import annotations

from torch import Tensor

from brain.planning.costs.base import Cost, Goal, Imagination


class Control(Cost):
    """Mean square of the actions, in the world's own units."""

    vector_suffices = True

    def __call__(self, imagined: Imagination, goal: Goal | None) -> Tensor:
        return imagined.chunks.square().mean((1, 2))
