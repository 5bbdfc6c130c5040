"""What an agent imagines, as it is drawn in the picture: where its plans lead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from brain.planning.dynamics import Counted
from brain.planning.paths import PathReader
from shared.worlds.base import World

PATHS, POINTS = 800, 8
"""Maximum number of imagined paths that are drawn, and of points of each where the picture stands still."""
ROWS = 600
"""Maximum number of latents of a rollout whose places are read."""
CELLS = 32
"""The picture is so many cells wide and high: of the imagined paths that end in the same cell one is drawn."""


class Abandoned(Exception):
    """Nobody waits for this decision any more."""


class Drawing(Protocol):
    """How imagined latents are drawn: places are shares of the picture's width and height, float (P, 2) for a path."""

    moving: bool
    """whether the picture moves with what acts, so that only paths from the present on have places in it"""

    def read(self, paths: Tensor) -> list[np.ndarray]:
        """Latents (N, K + 1, *L) to what is kept of N of them or fewer, float (P, C) each."""

    def path(self, latents: Tensor) -> np.ndarray:
        """One path (K + 1, *L), in full, to what is kept of it, float (K + 1, C)."""

    def places(self, world: World, kept: Sequence[np.ndarray], passed: int) -> list[np.ndarray]:
        """What was kept of paths of one length, in the picture that the world shows ``passed`` frames after the
        decision; empty where they end before that."""


class Standing:
    """The picture stands still: each latent has a place in it, whatever the moment."""

    moving = False

    def __init__(self, locate: Callable[[Tensor], np.ndarray]) -> None:
        """``locate``: latents (N, *L) to places (N, 2)."""
        self._locate = locate

    def read(self, paths: Tensor) -> list[np.ndarray]:
        count, length = paths.shape[:2]
        steps = spread(length, POINTS)
        chosen = spread(count, max(1, ROWS // len(steps)))
        some = paths[torch.from_numpy(chosen)][:, torch.from_numpy(steps)]
        return list(self._locate(some.flatten(0, 1)).reshape(len(chosen), len(steps), 2))

    def path(self, latents: Tensor) -> np.ndarray:
        return self._locate(latents)

    def places(self, world: World, kept: Sequence[np.ndarray], passed: int) -> list[np.ndarray]:
        return list(kept)


class Moving:
    """The picture moves with what acts: a path leads on from the present, as ``World.course`` draws it.

    What is kept are true states. As frames pass, their part of a path is left behind: it begins at the present.
    """

    moving = True

    def __init__(self, reader: PathReader, stride: int) -> None:
        """``stride``: frames of a model step."""
        self._reader, self._stride = reader, stride

    def read(self, paths: Tensor) -> list[np.ndarray]:
        return list(self._reader.path(paths.flatten(0, 1)).reshape(*paths.shape[:2], -1))

    def path(self, latents: Tensor) -> np.ndarray:
        return self._reader.path(latents)

    def places(self, world: World, kept: Sequence[np.ndarray], passed: int) -> list[np.ndarray]:
        last = len(kept[0]) - 1 if kept else 0
        if not kept or passed > last * self._stride:
            return []
        states = np.stack(kept)
        step, share = np.divmod(np.arange(passed, last * self._stride + 1) / self._stride, 1)
        before = step.astype(int)
        after = np.minimum(before + 1, last)
        states = states[:, before] * (1 - share[:, None]) + states[:, after] * share[:, None]
        courses = world.course(states, 1 / world.control_rate)
        return list(courses[:, spread(courses.shape[1], last + 1)])


def spread(length: int, most: int) -> np.ndarray:
    """At most ``most`` of the numbers below ``length``, evenly spread, with the first and the last: int64."""
    return np.linspace(0, length - 1, min(length, most)).round().astype(int)


def apart(paths: Iterable[np.ndarray], cells: set[tuple[int, ...]]) -> list[np.ndarray]:
    """Those paths (P, 2) that end in none of the cells, nor in that of another one; their cells are added."""
    found = []
    for path in paths:
        cell = tuple(np.floor(path[-1] * CELLS).astype(int).tolist())
        if cell not in cells:
            cells.add(cell)
            found.append(path)
    return found


class Watched(Counted):
    """Dynamics that keep some of what one agent imagines with them, and that end its decision when it is abandoned."""

    def __init__(self, dynamics: Counted, drawing: Drawing | None) -> None:
        super().__init__(dynamics.inner)
        self.abandoned = False
        self._drawing = drawing
        self.forget()

    def forget(self) -> None:
        """A decision begins."""
        self.kept: list[np.ndarray] = []
        """of paths that were imagined for it: what the drawing reads, float (P, C) each, of one length"""
        self.before, self._cells = self.steps, set[tuple[int, ...]]()

    def observe(self, frames: np.ndarray, states: np.ndarray) -> Tensor:
        self._present = super().observe(frames, states)
        return self._present

    def rollout(self, z: Tensor, chunks: Tensor) -> Tensor:
        if self.abandoned:
            raise Abandoned
        future = super().rollout(z, chunks)
        if self._drawing is not None and len(self.kept) < PATHS:
            self._keep(self._drawing, torch.cat([z[:, None], future.detach()], 1))
        return future

    def _keep(self, drawing: Drawing, paths: Tensor) -> None:
        """Paths (N, K + 1, *L): those that end where none has ended yet; or, of those from the present on, the longest,
        as a planner may imagine them step by step."""
        if not drawing.moving:
            self.kept = [*self.kept, *apart(drawing.read(paths), self._cells)][:PATHS]
        elif bool((paths[:, 0] == self._present).all()):
            longest = len(self.kept[0]) if self.kept else 0
            if paths.shape[1] >= longest:
                old = self.kept if paths.shape[1] == longest else []
                self.kept = [*old, *drawing.read(paths[: PATHS - len(old)])]
