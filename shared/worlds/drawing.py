"""Pairs of violations drawn by processes of their own, while the caller does other work.

A process is told what to draw on its standard input and answers on its standard output, in the form of the pipes of
multiprocessing. It imports what the caller can import, and dies with it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

import numpy as np

from shared.lifetime import end_with
from shared.worlds import stored_world
from shared.worlds.base import World
from shared.worlds.finding import called_from
from shared.worlds.violations import Moments, Pairs, draw_pairs


class Named(NamedTuple):
    """``Pairs`` as they can be pickled: the violation, which is made of functions, is its name."""

    violation: str
    moments: Moments
    at: np.ndarray
    impossible: np.ndarray
    impossible_state: np.ndarray


@dataclass(frozen=True)
class Order:
    """What ``draw_pairs`` is to draw, of every violation of a world that a store names."""

    world: str
    side: int
    """of a frame, pixels"""
    options: Mapping[str, Any]
    seeds: Sequence[int]
    count: int
    steps: int
    past: int
    stride: int

    def draw(self) -> list[Pairs]:
        """The pairs, drawn in this process. Raises what ``stored_world`` raises."""
        with self.made() as world:
            return draw_pairs(
                world, world.violations, self.seeds, self.count, steps=self.steps, past=self.past, stride=self.stride
            )

    def made(self) -> contextlib.closing[World]:
        """The world, to be closed."""
        return contextlib.closing(stored_world(self.world, self.side, self.options))


class Drawing:
    """Orders in the hands of as many processes as there are cores beside the caller's; a context manager.

    What no process draws, because there is one core, or one could not start or died, is drawn when it is asked for. The
    pairs are the same.
    """

    def __init__(self, orders: Sequence[Order], cores: int | None = None) -> None:
        """``cores``: by default those that this process may run on."""
        spare = (cores or len(os.sched_getaffinity(0))) - 1
        self._orders = orders
        self._count = min(len(orders), spare)
        self._drawn: dict[int, list[Named]] = {}
        self._processes: list[subprocess.Popen[bytes] | None] = []
        try:
            for first in range(self._count):
                self._start(orders[first :: self._count])
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Drawing:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes:
            if process is not None:
                process.kill()
                process.communicate()

    def pairs(self, number: int) -> list[Pairs]:
        """Of one of the orders. Waits for its process."""
        order = self._orders[number]
        if number not in self._drawn and self._count:
            self._receive(number % self._count)
        if number not in self._drawn:
            return order.draw()
        with order.made() as world:
            known = {violation.name: violation for violation in world.violations}
        drawn = self._drawn.pop(number)
        return [Pairs(known[one.violation], one.moments, one.at, one.impossible, one.impossible_state) for one in drawn]

    def _receive(self, process: int) -> None:
        """Take over what a process has drawn; nothing if it has failed."""
        running = self._processes[process]
        if running is None:
            return
        answer, _ = running.communicate()
        self._processes[process] = None
        if running.returncode == 0:
            with contextlib.suppress(Exception):  # whatever a damaged answer raises
                drawn = ForkingPickler.loads(answer)
                self._drawn |= zip(range(process, len(self._orders), self._count), drawn, strict=True)

    def _start(self, orders: Sequence[Order]) -> None:
        """One more process; None in its place where there can be none."""
        code = f"import {__name__} as drawing; drawing.main()"
        try:
            folder = called_from()
            path = os.pathsep.join(str(folder / entry) for entry in sys.path)
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, cwd=folder, env={**os.environ, "PYTHONPATH": path},
            )  # fmt: skip
        except OSError:
            self._processes.append(None)
            return
        self._processes.append(process)
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(ForkingPickler.dumps((os.getpid(), orders)))
            process.stdin.close()
        process.stdin = None


def main() -> None:
    """Draw what standard input asks for."""
    parent, orders = ForkingPickler.loads(sys.stdin.buffer.read())
    end_with(parent)
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # an environment may print
    drawn = [
        [Named(one.violation.name, one.moments, one.at, one.impossible, one.impossible_state) for one in order.draw()]
        for order in orders
    ]
    with answer:
        answer.write(ForkingPickler.dumps(drawn))
