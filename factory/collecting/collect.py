"""The driver: makes a store hold the episodes of a run, here or on Ray workers."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.cluster.interrupt import Interrupt
from factory.collecting.job import Job, as_stored
from factory.collecting.progress import Display, Quiet, Tally
from factory.collecting.schedule import Plan
from factory.collecting.simulator import Simulator
from shared.errors import TinyJEPAError
from shared.store.claim import Claim
from shared.store.dataset import agree, create_store
from shared.store.reader import Store
from shared.store.schema import RunSpec
from shared.worlds.finding import called_from


@dataclass(frozen=True)
class Summary:
    """What a collection did."""

    path: Path
    frames: int
    """Rows of the run's episodes, all committed."""
    episodes: int
    new_frames: int
    """Rows that were missing when the collection started."""
    seconds: float
    bytes_on_disk: int
    """Of the whole store."""
    difference: str | None = None
    """Where two makings of the first episode parted, if it was made by this collection and they did."""

    def facts(self) -> dict[str, Any]:
        """For programs: every field but the path, and ``frames_per_second``."""
        fields = dataclasses.asdict(self) | {"frames_per_second": round(self.frames_per_second, 1)}
        del fields["path"]
        return fields

    @property
    def frames_per_second(self) -> float:
        return self.new_frames / max(self.seconds, 1e-9)


def collect(
    path: Path,
    job: Job,
    frames: int | None = None,
    workers: int | None = 1,
    address: str | None = None,
    display: Display | None = None,
    *,
    episodes: int | None = None,
    append: bool = False,
) -> Summary:
    """Collect episodes 0 to K-1 of a run into the store at ``path``.

    K is ``episodes``, or the smallest number for ``frames`` rows: give one of them. Episodes that are there
    already are kept, so the same call resumes an earlier one, and a higher goal extends the run.
    The episodes are the same, bit for bit, whatever the number of workers; None means one for each core of the
    cluster at ``address``. Without an ``address``, what one worker can do is done in this process, without Ray.

    Raises ``TinyJEPAError`` when the store holds another world, or other runs and ``append`` is not set, when
    another process makes the same run, when the world fails or the disk refuses, and ``KeyboardInterrupt`` after
    SIGINT or SIGTERM; what is committed then stays.
    """
    if (frames is None) == (episodes is None):
        raise TinyJEPAError("a collection needs one goal: frames or episodes")
    goal = frames if frames is not None else episodes
    if goal is None or goal < 1 or (workers or 1) < 1:
        raise TinyJEPAError(f"the goal ({goal}) and workers ({workers}) must be positive")
    path = path.absolute()  # an environment may change the working directory
    job = as_stored(path, job)
    job = Job(create_store(path, job.spec), job.run)
    store = Store(path)

    def missing() -> Plan:
        have = _check_run(store, job.run, append)
        return Plan(goal, job.run.max_episode_steps + 1, have, counts_rows=frames is not None)

    claim = contextlib.nullcontext() if missing().finished else Claim(path, job.run)
    with claim, display or Quiet() as screen, Interrupt() as interrupt:
        store.refresh()
        plan, tally = missing(), Tally()
        found = plan.rows
        while not plan.finished:
            if address is None and min(workers or 1, plan.parallel) == 1:
                _collect_here(path, job, plan, interrupt, tally, screen)
            else:
                from factory.collecting.fleet import collect_on_ray

                collect_on_ray(path, job, plan, workers, address, interrupt, tally, screen)
            store.refresh()
            plan.lost(plan.missing(_made(store, job.run)))
    return Summary(
        path, plan.rows, plan.episodes, plan.rows - found, tally.seconds, store.bytes_on_disk, tally.difference
    )


def _collect_here(path: Path, job: Job, plan: Plan, interrupt: Interrupt, tally: Tally, screen: Display) -> None:
    simulator = Simulator(path, job.spec, job.run, worker=0, folder=called_from())
    simulator.start()
    try:
        while (k := plan.take()) is not None:
            record = simulator.simulate(k)
            plan.done(k, record.rows)
            tally.add(0, record)
            screen.show(plan.progress, tally)
            interrupt.check()
    finally:
        simulator.close()


def open_store(path: Path, job: Job, append: bool = False) -> dict[int, int]:
    """The episodes of the job's run that the store at ``path`` holds, and their rows; changes nothing.

    Raises ``StoreError`` when it is no readable store, ``TinyJEPAError`` when ``collect`` would refuse it.
    """
    store = Store(path)
    agree(path, store.spec, as_stored(path, job).spec)
    return _check_run(store, job.run, append)


def _check_run(store: Store, run: RunSpec, append: bool) -> dict[int, int]:
    if store.runs and run not in store.runs and not append:
        raise _other_run(store, run)
    return _made(store, run)


def _made(store: Store, run: RunSpec) -> dict[int, int]:
    """The run's committed episodes and their rows."""
    return {ref.index: ref.rows for ref in store.episodes if ref.run == run}


def _other_run(store: Store, run: RunSpec) -> TinyJEPAError:
    there = store.runs[0]
    ours = dataclasses.asdict(run)
    parts = [
        f"{name.replace('_', ' ')} {theirs}, not {ours[name]}"
        for name, theirs in dataclasses.asdict(there).items()
        if theirs != ours[name]
    ]
    return TinyJEPAError(
        f"the store {store.path} holds a run with {' and '.join(parts)}: "
        "give its arguments to resume it, --append to add a run, or another --store"
    )
