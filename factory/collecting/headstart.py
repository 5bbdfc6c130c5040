"""A plain process that simulates while Ray starts, which takes seconds."""

from __future__ import annotations

import multiprocessing
import multiprocessing.synchronize
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

from factory.cluster.interrupt import Interrupt
from factory.collecting.job import Job
from factory.collecting.progress import Tally
from factory.collecting.schedule import Plan
from factory.collecting.simulator import Simulator
from shared.cli.runlog import LOG
from shared.errors import TinyJEPAError
from shared.lifetime import end_with
from shared.store.reader import Store
from shared.worlds.finding import called_from

MOST_EPISODES = 64
"""Given to the process at once; what it has not begun when it is told to stop goes back to the plan."""
WORKER = -1
"""Its number in the tally."""


class HeadStart:
    """Makes the first episodes of a plan in a process of its own; a context manager.

    It may die like any simulator: what it has not committed is then handed out again. It dies with this process.
    """

    def __init__(self, path: Path, job: Job, plan: Plan, tally: Tally, interrupt: Interrupt) -> None:
        self._interrupt = interrupt
        self._path, self._run, self._plan, self._tally = path, job.run, plan, tally
        episodes: list[int] = []
        while len(episodes) < MOST_EPISODES and (k := plan.take()) is not None:
            episodes.append(k)
        self._given = set(episodes)
        self._left = set(episodes)
        context = multiprocessing.get_context("spawn")
        self._stop = context.Event()
        self._records, theirs = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_simulate,
            args=(path, job, episodes, self._stop, theirs, os.getpid(), called_from()),
            name="head-start",
            daemon=True,
        )
        self._process.start()
        theirs.close()
        self.running = True
        """Until its end was heard of."""

    def __enter__(self) -> HeadStart:
        return self

    def __exit__(self, *error: object) -> None:
        """Wait for the episode in hand; after a second Ctrl-C, now or meanwhile, for nothing."""
        try:
            self.stop()
            while self.running and not self._interrupt.now:
                self.hear(wait=None)
        finally:
            if self.running:
                self._process.kill()
                self._process.join()
            del self._stop  # gives its semaphores back now, however this process will end

    def stop(self) -> None:
        """Let it end after the episode in hand and commit."""
        self._stop.set()

    def hear(self, wait: float | None = 0.0) -> None:
        """Take in what it has made, waiting for news for ``wait`` seconds, or for as long as it takes.

        Raises ``TinyJEPAError`` for what it reports of the world or the disk.
        """
        while self.running and self._records.poll(wait):
            wait = 0.0
            try:
                word = self._records.recv()
            except EOFError:
                self._end()
                return
            if isinstance(word, TinyJEPAError):
                self._end()
                raise word
            self._left.discard(word.index)
            self._plan.done(word.index, word.rows)
            self._tally.add(WORKER, word)

    def _end(self) -> None:
        self.running = False
        self._process.join()
        if self._process.exitcode == 0:
            self._plan.lost(self._left)
            return
        committed = {ref.index: ref.rows for ref in Store(self._path).episodes if ref.run == self._run}
        self._plan.lost(self._given - committed.keys())
        for k in self._left & committed.keys():
            self._plan.done(k, committed[k])
        self._tally.deaths += 1
        LOG.warning("the simulator that worked while Ray started died (exit code %s)", self._process.exitcode)


def _simulate(
    path: Path,
    job: Job,
    episodes: list[int],
    stop: multiprocessing.synchronize.Event,
    records: Connection,
    parent: int,
    folder: Path,
) -> None:
    end_with(parent)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the driver decides when to stop
    simulator = Simulator(path, job.spec, job.run, worker=0, folder=folder)
    try:
        simulator.start()
        for k in episodes:
            if stop.is_set():
                break
            records.send(simulator.simulate(k))
        simulator.close()
    except TinyJEPAError as error:
        records.send(error)
