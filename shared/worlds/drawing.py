"""Pairs of violations drawn by processes of their own, while the caller does other work.

A process reads its orders from standard input, as JSON, and answers on standard output: a line of JSON, then arrays in
numpy's format. It imports what the caller can import, and dies with it.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.lib.format import read_array, write_array

from shared.cores import usable_cores
from shared.lifetime import end_with
from shared.worlds import stored_world
from shared.worlds.base import World
from shared.worlds.finding import called_from
from shared.worlds.violations import Moments, Pairs, draw_pairs

LOG = logging.getLogger("tinyjepa")
COLUMNS = tuple(field.name for field in fields(Moments))
"""Of the arrays of a moment, in the order in which they are sent."""


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
        self._cores = cores or usable_cores()
        self._orders = orders
        self._count = min(len(orders), self._cores - 1)
        self._drawn: dict[int, list[Pairs]] = {}
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
                with process:  # closes its pipe and waits for it
                    process.kill()

    @property
    def cores_left(self) -> int:
        """Cores that no process draws on, at least one."""
        return self._cores - sum(process is not None for process in self._processes)

    def pairs(self, number: int) -> list[Pairs]:
        """Of one of the orders. Waits for its process."""
        order = self._orders[number]
        if number not in self._drawn and self._count:
            self._receive(number % self._count)
        if number not in self._drawn:
            return order.draw()
        return self._drawn.pop(number)

    def _receive(self, process: int) -> None:
        """Take over what a process has drawn; nothing if it has failed."""
        running = self._processes[process]
        if running is None:
            return
        answer, _ = running.communicate()
        self._processes[process] = None
        if running.returncode:
            LOG.warning("a process that draws violations ended with code %s: they are drawn here", running.returncode)
            return
        mine = range(process, len(self._orders), self._count)
        try:
            self._drawn |= zip(mine, _read(answer, [self._orders[number] for number in mine]), strict=True)
        except (ValueError, TypeError, LookupError) as error:  # something was printed before the answer
            LOG.warning("a process that draws violations said something else (%s): they are drawn here", error)

    def _start(self, orders: Sequence[Order]) -> None:
        """One more process; None in its place where there can be none."""
        code = f"import {__name__} as drawing; drawing.main()"
        try:
            folder = called_from()
            path = os.pathsep.join(str(folder / entry) for entry in sys.path)
            told = {"parent": os.getpid(), "orders": [asdict(order) for order in orders]}
            with tempfile.TemporaryFile() as file:  # a pipe holds only so much, and would wait for the process
                file.write(json.dumps(told).encode())
                file.seek(0)
                process = subprocess.Popen(
                    [sys.executable, "-P", "-c", code], stdin=file, stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL, cwd=folder, env={**os.environ, "PYTHONPATH": path},
                )  # fmt: skip
        except OSError as error:
            LOG.warning("no process can be started to draw violations (%s): they are drawn here", error)
            self._processes.append(None)
            return
        self._processes.append(process)


def main() -> None:
    """Draw what standard input asks for."""
    told = json.load(sys.stdin)
    end_with(told["parent"])
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # an environment may print
    drawn = [Order(**order).draw() for order in told["orders"]]
    with answer:
        answer.write(_written(drawn))


def _written(drawn: Sequence[list[Pairs]]) -> bytes:
    """The pairs of each order; moments that several violations share, once."""
    file = io.BytesIO()
    tables = list({id(one.moments): one.moments for pairs in drawn for one in pairs}.values())
    places = {id(table): place for place, table in enumerate(tables)}
    names = [[(one.violation.name, places[id(one.moments)]) for one in pairs] for pairs in drawn]
    file.write(json.dumps({"tables": len(tables), "pairs": names}).encode() + b"\n")
    rows: list[Sequence[np.ndarray]] = [[getattr(table, name) for name in COLUMNS] for table in tables]
    rows += [(one.at, one.impossible, one.impossible_state) for pairs in drawn for one in pairs]
    for row in rows:
        for array in row:
            write_array(file, array, allow_pickle=False)
    return file.getvalue()


def _read(answer: bytes, orders: Sequence[Order]) -> list[list[Pairs]]:
    """What ``_written`` says of these orders.

    Raises ``ValueError``, ``TypeError`` or ``LookupError`` for anything else.
    """
    file = io.BytesIO(answer)
    told = json.loads(file.readline())

    def arrays(count: int) -> list[np.ndarray]:
        return [read_array(file, allow_pickle=False) for _ in range(count)]

    tables = [Moments(*arrays(len(COLUMNS))) for _ in range(told["tables"])]
    drawn = []
    for order, names in zip(orders, told["pairs"], strict=True):
        with order.made() as world:
            known = {violation.name: violation for violation in world.violations}
        drawn.append([Pairs(known[name], tables[place], *arrays(3)) for name, place in names])
    return drawn
