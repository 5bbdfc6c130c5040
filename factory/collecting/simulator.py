"""A simulator: one world, one stream of the store. It runs as a Ray actor, or in the driver's own process."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from factory.collecting.episodes import difference, make_episode
from factory.inspection.coverage import on_road
from shared.errors import TinyJEPAError
from shared.store.schema import RunSpec, StoreSpec
from shared.store.writer import StreamWriter
from shared.worlds import WORLDS, make_world
from shared.worlds.finding import search_in


@dataclass(frozen=True)
class Record:
    """What the driver hears of an episode; the frames themselves stay with the simulator that wrote them."""

    index: int
    rows: int
    policy: str
    seconds: float
    """Time it took to simulate and append."""
    episode_return: float
    on_road: float | None
    """Share of the rows on the road, 0 to 1; None for a world without a road."""
    bytes_committed: int
    """Bytes the simulator's stream has committed so far."""
    difference: str | None
    """Where a second making of the episode parted from it; None where nowhere, and where it was made once."""


class Simulator:
    """Makes episodes of one world and appends them to a stream of its own, opened with the first episode.

    The first episode of an environment that is not ours is made twice, to see whether its seed decides it. The module
    that a world names is looked for in ``folder`` too, the directory that the driver was called from.
    Its methods raise ``TinyJEPAError`` with one line for whatever goes wrong in the world or on the disk.
    """

    def __init__(self, path: Path, spec: StoreSpec, run: RunSpec, worker: int, folder: Path) -> None:
        self._path = path.absolute()  # the environment may change the working directory
        self._spec, self._run, self._worker, self._folder = spec, run, worker, folder
        self._writer: StreamWriter | None = None

    def start(self) -> int:
        """Make the world; returns the process id."""
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
        if not (self._path / "dataset.json").exists():
            raise TinyJEPAError(
                f"node {os.uname().nodename} does not see the store {self._path}: use a shared directory"
            )
        search_in(self._folder)
        self._world = make_world(self._spec.world, self._spec.frame_shape[0], **self._spec.world_options)
        return os.getpid()

    def simulate(self, k: int) -> Record:
        """Make episode ``k`` and append it; full shards are committed on the way."""
        started = time.perf_counter()
        spec, run = self._spec, self._run
        episode = make_episode(self._world, spec.world, run, k)
        seconds = time.perf_counter() - started
        parted = None
        if k == 0 and spec.world not in WORLDS:
            parted = difference(self._world, spec.world, run, episode)
        started = time.perf_counter() - seconds
        try:
            if self._writer is None:
                self._writer = StreamWriter(self._path, spec, run, self._worker)
            self._writer.append(episode)
        except OSError as error:
            raise _cannot_write(self._path, error) from error
        return Record(
            index=k,
            rows=episode.rows,
            policy=episode.policy,
            seconds=time.perf_counter() - started,
            episode_return=float(np.sum(episode.reward)),
            on_road=on_road(spec.state_names, episode.state),
            bytes_committed=self._writer.bytes_committed,
            difference=parted,
        )

    def close(self) -> int:
        """Commit the rows that do not fill a shard and end the stream; returns the bytes it committed."""
        if self._writer is None:
            return 0
        try:
            self._writer.close()
        except OSError as error:
            raise _cannot_write(self._path, error) from error
        return self._writer.bytes_committed


def _cannot_write(path: Path, error: OSError) -> TinyJEPAError:
    reason = error.strerror or str(error)
    return TinyJEPAError(f"cannot write to {path}: {reason}; free space or fix it, then rerun the command to resume")
