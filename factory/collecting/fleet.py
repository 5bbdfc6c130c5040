"""A collection on Ray: simulators as actors, kept busy, replaced when they die."""

from __future__ import annotations

import contextlib
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factory.cluster.head import Head
from factory.cluster.interrupt import Interrupt
from factory.cluster.session import ray_runs, ray_session
from factory.collecting.episodes import episode_seeds
from factory.collecting.headstart import HeadStart
from factory.collecting.job import Job
from factory.collecting.progress import Display, Tally
from factory.collecting.schedule import Plan
from factory.collecting.simulator import Record, Simulator
from shared.cli.runlog import LOG
from shared.errors import TinyJEPAError
from shared.store.reader import Store
from shared.worlds.finding import called_from

MOST_DEATHS = 3
"""Simulators that may die on one episode, or before their first one, until the collection gives up."""
QUEUE_SECONDS = 5.0
"""An actor whose episodes take less has a second one waiting, so that it never idles between two."""
POLL_SECONDS = 0.5


@dataclass
class Worker:
    """One actor and what it was given."""

    number: int
    actor: Any
    started: Any
    """Reference to the answer of ``Simulator.start``; None once it has come."""
    queue: deque[tuple[int, Any]] = field(default_factory=deque)
    """(episode, reference to its record), in the order they are made."""
    appended: set[int] = field(default_factory=set)
    """Episodes it has made; they are in the store once their shard is committed."""
    depth: int = 1


def collect_on_ray(
    path: Path,
    job: Job,
    plan: Plan,
    workers: int | None,
    address: str | None,
    interrupt: Interrupt,
    tally: Tally,
    screen: Display,
) -> None:
    """Make the episodes that ``plan`` hands out on up to ``workers`` actors; each commits all it has in the end.

    ``workers`` None means one for each core of the cluster.

    Uses the Ray that runs in this process, else joins the cluster at ``address``, else starts one here.
    Raises ``TinyJEPAError`` when Ray is not installed or does not start, when the world or the disk fails in an
    actor, when one episode kills its process again and again, or when Ray's head dies.
    """
    screen.show(plan.progress, tally, "starting Ray")
    early = None if address or ray_runs() else HeadStart(path, job, plan, tally, interrupt)
    with early or contextlib.nullcontext(), ray_session(workers, address, interrupt) as head:
        if early:
            early.stop()
        interrupt.check()
        fleet = Fleet(path, job, plan, tally, head)
        try:
            while not plan.finished:
                if early:
                    early.hear()
                fleet.staff(min(workers or fleet.cores, plan.parallel))
                fleet.hand_out()
                fleet.wait()
                screen.show(plan.progress, tally, fleet.note())
                interrupt.check()
        finally:
            fleet.close(wait=not interrupt.now)


class Fleet:
    """The actors of a collection."""

    def __init__(self, path: Path, job: Job, plan: Plan, tally: Tally, head: Head | None = None) -> None:
        import ray

        self._ray = ray
        self._actor: Any = ray.remote(num_cpus=1, max_restarts=0, scheduling_strategy="SPREAD")(Simulator)
        self._path, self._spec, self._run = path.absolute(), job.spec, job.run
        self._plan, self._tally, self._head = plan, tally, head
        self._store = Store(path)
        self._workers: list[Worker] = []
        self._hired = 0
        self._closing = False
        self._deaths: Counter[int | None] = Counter()

    @property
    def cores(self) -> int:
        """CPU cores of all nodes."""
        return int(self._ray.cluster_resources().get("CPU", 1))

    def staff(self, count: int) -> None:
        """Start actors until there are ``count``; each opens a stream of its own."""
        while len(self._workers) < count:
            actor = self._actor.remote(self._path, self._spec, self._run, self._hired, called_from())
            self._workers.append(Worker(self._hired, actor, actor.start.remote()))
            self._hired += 1

    def hand_out(self) -> None:
        """Give every started actor an episode, and the quick ones a second to go on with."""
        for depth in (1, 2):
            for worker in self._workers:
                if worker.started is None and len(worker.queue) < min(depth, worker.depth):
                    k = self._plan.take()
                    if k is None:
                        return
                    worker.queue.append((k, worker.actor.simulate.remote(k)))

    def wait(self) -> None:
        """Take in what the actors have to say, waiting for it half a second at most. Raises where the head is lost."""
        if self._head is not None:
            self._head.check()
        said = {self._next_word(worker): worker for worker in self._workers}
        said.pop(None, None)
        if not said:
            time.sleep(0.02)
            return
        ready, _ = self._ray.wait([*said], num_returns=1, timeout=POLL_SECONDS)
        for reference in ready:
            worker = said[reference]
            with self._watch(worker):
                self._hear(worker, self._ray.get(reference))

    def note(self) -> str:
        """How many actors are still starting, or nothing."""
        starting = sum(worker.started is not None for worker in self._workers)
        return f"{starting} of {len(self._workers)} simulators starting" if starting else ""

    def close(self, wait: bool = True) -> None:
        """Let every actor end what it has in hand and commit it; those that died have lost their episodes.

        Without ``wait`` they are killed where they are.
        """
        if self._head is not None and self._head.lost:
            return  # no answer would come; the actors end with their node
        self._closing = True
        staff = [*self._workers]
        failures = []
        try:
            closing = {worker.actor.close.remote(): worker for worker in staff if wait and worker.started is None}
            for reference, worker in closing.items():
                try:
                    with self._watch(worker):
                        self._ray.get(reference)
                except TinyJEPAError as error:
                    failures.append(error)
        finally:
            for worker in staff:
                self._ray.kill(worker.actor)
        if failures:
            raise failures[0]

    def _next_word(self, worker: Worker) -> Any:
        if worker.started is not None:
            return worker.started
        return worker.queue[0][1] if worker.queue else None

    def _hear(self, worker: Worker, word: Any) -> None:
        if not isinstance(word, Record):
            worker.started = None
            LOG.info("simulator %s is at work, process %s", worker.number, word)
            return
        worker.queue.popleft()
        worker.appended.add(word.index)
        worker.depth = 2 if word.seconds < QUEUE_SECONDS else 1
        self._plan.done(word.index, word.rows)
        self._tally.add(worker.number, word)

    @contextlib.contextmanager
    def _watch(self, worker: Worker) -> Iterator[None]:
        """Replace an actor that has died; pass on in one line what it reports."""
        try:
            yield
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, TinyJEPAError):
                raise TinyJEPAError(str(error.cause)) from error
            raise
        except self._ray.exceptions.RayActorError as error:
            self._bury(worker, error)

    def _bury(self, worker: Worker, error: Exception) -> None:
        """Hand out again what a dead actor had not committed, and start another in its place."""
        self._ray.kill(worker.actor)
        self._workers.remove(worker)
        in_hand = worker.queue[0][0] if worker.queue else None
        if in_hand is not None or worker.started is not None:
            self._deaths[in_hand] += 1
        if self._deaths[in_hand] >= MOST_DEATHS and not self._closing:
            raise TinyJEPAError(self._hopeless(in_hand))
        self._store.refresh()
        committed = {ref.index: ref.rows for ref in self._store.episodes if ref.run == self._run}
        given = worker.appended | {k for k, _ in worker.queue}
        self._plan.lost(given - committed.keys())
        for k in given & committed.keys():
            self._plan.done(k, committed[k])
        self._tally.deaths += 1
        reason = " ".join(str(error).split())[:500]
        LOG.warning(
            "simulator %s died (%s): %s of its episodes are committed, %s are made again",
            *(worker.number, reason, len(given & committed.keys()), len(given - committed.keys())),
        )
        if not self._closing:
            self.staff(len(self._workers) + 1)

    def _hopeless(self, k: int | None) -> str:
        if k is None:
            return (
                f"{MOST_DEATHS} simulator processes died while starting: see session_latest/logs in Ray's "
                "temporary folder (/tmp/ray unless TMPDIR or RAY_TMPDIR names another); "
                "if the cluster was started without a token, set RAY_AUTH_MODE=disabled"
            )
        seed, _ = episode_seeds(self._run.seed, k)
        return (
            f"episode {k} (world seed {seed}) killed its simulator {MOST_DEATHS} times: "
            f"too little memory, or a crash in world '{self._spec.world}'; what is committed stays"
        )
