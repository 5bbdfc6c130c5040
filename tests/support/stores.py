"""Stores with content that is a function of the episode's number, and real processes that write (and die).

``python -m tests.support.stores MODE ROOT ...`` is the writer process of the crash tests.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from shared.store.dataset import create_store
from shared.store.log import seal
from shared.store.reader import Store
from shared.store.schema import FIRST, LAST, TERMINATED, TRUNCATED, Episode, RunSpec, StoreSpec
from shared.store.writer import StreamWriter

FIELDS = ("frame", "action", "reward", "flags", "episode", "state")

Body = dict[str, Any]
"""A line of a log, without its checksum."""


def fast_directory() -> tempfile.TemporaryDirectory[str]:
    """In memory where that is possible: fsync costs nothing there, and a signal loses nothing the kernel has."""
    return tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)


def rewrite_log(log: Path, change: Callable[[int, Body], None]) -> None:
    """The log with its bodies changed and every checksum right: ``change`` gets the line's number and its body."""
    crc, out = 0, b""
    for number, line in enumerate(log.read_bytes().splitlines()):
        body = json.loads(line)
        del body["c"]
        change(number, body)
        sealed, crc = seal(body, crc)
        out += sealed
    log.write_bytes(out)


RUN = RunSpec(seed=7, policy="uniform", max_episode_steps=40)


def small_spec(**changes: Any) -> StoreSpec:
    """Inner chunks of 4 rows and shards of 16, so that a few episodes cross every border."""
    values: dict[str, Any] = {
        "world": "noise",
        "frame_shape": (4, 5, 3),
        "action_dim": 2,
        "state_names": ("x", "y"),
        "control_rate": 50.0,
        "inner_rows": 4,
        "shard_rows": 16,
    }
    return StoreSpec(**{**values, **changes})


def noise_episode(spec: StoreSpec, index: int, rows: int | None = None) -> Episode:
    """Episode ``index``: incompressible noise of 1 to 40 rows. A pure function of its arguments."""
    rng = np.random.default_rng(index)
    length = int(rng.integers(1, 41))
    n = length if rows is None else rows
    terminated = bool(rng.integers(2))
    return Episode(
        index=index,
        seed=1000 + index,
        policy=("uniform", "pursuit")[index % 2],
        frame=rng.integers(0, 256, (n, *spec.frame_shape), dtype=np.uint8),
        action=rng.normal(size=(n, spec.action_dim)).astype(np.float32),
        reward=rng.normal(size=n).astype(np.float32),
        state=rng.normal(size=(n, len(spec.state_names))).astype(np.float32),
        terminated=terminated,
        truncated=not terminated,
    )


def columns(episode: Episode) -> dict[str, np.ndarray]:
    """What a store must give back for an episode, field by field."""
    flags = np.zeros(episode.rows, np.uint8)
    flags[0] |= FIRST
    flags[-1] |= LAST | (TERMINATED if episode.terminated else 0) | (TRUNCATED if episode.truncated else 0)
    return {
        "frame": episode.frame,
        "action": episode.action,
        "reward": episode.reward,
        "flags": flags,
        "episode": np.full(episode.rows, episode.index, np.int64),
        "state": episode.state,
    }


def check_episodes(store: Store, refs: list[Any] | None = None) -> None:
    """Every visible episode is bit for bit the one that was made."""
    for ref in store.episodes if refs is None else refs:
        episode = noise_episode(store.spec, ref.index)
        assert (ref.seed, ref.policy, ref.rows) == (episode.seed, episode.policy, episode.rows)
        assert ref.terminated == episode.terminated
        found = store.read_episode(ref)
        for name, values in columns(episode).items():
            assert found[name].dtype == values.dtype
            assert np.array_equal(found[name], values), (ref, name)


def read_everything(path: Path) -> Store:
    """Read every committed row of every field."""
    store = Store(path)
    for stream in store.streams.values():
        for field in FIELDS:
            store.read(stream.name, 0, stream.rows, field)
    return store


# The writer processes.

STEPS = ("open", "write", "fsync", "rename", "link", "mkdir", "unlink")


def die_at(step: int, torn: bool) -> None:
    """Kill this process with signal 9 just before its ``step``-th system call that changes a file.

    With ``torn`` only writes count, and the fatal one first gets half of its bytes out.
    """
    left = step

    def hook(name: str) -> None:
        original = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                if torn:
                    original(args[0], bytes(args[1])[: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **kwargs)

        setattr(os, name, call)

    for name in ("write",) if torn else STEPS:
        hook(name)


def scenario(path: Path, report: Callable[[int], None]) -> None:
    """One writer's life: create, three episodes over two full shards and a short one, close."""
    spec = create_store(path, small_spec())
    writer = StreamWriter(path, spec, RUN, 0)
    for index in range(100, 103):
        writer.append(noise_episode(spec, index))
        report(writer.rows_committed)
    writer.close()
    report(writer.rows_committed)


def die_at_every_step(root: Path, torn: bool) -> None:
    """Run the scenario again and again, killed one step later each time, each in ``root/<step>``."""
    for step in range(1, 10_000):
        pid = os.fork()
        if pid == 0:
            die_in_scenario(root, step, torn)
        if os.waitpid(pid, 0)[1] == 0:
            return


def die_in_scenario(root: Path, step: int, torn: bool) -> None:
    """In a child: run the scenario, killed at ``step``; ``root/<step>.progress`` tells what it was promised."""
    progress = os.open(root / f"{step}.progress", os.O_WRONLY | os.O_CREAT)
    write = os.write  # the one that does not count
    die_at(step, torn)

    def report(rows: int) -> None:
        write(progress, b"%d\n" % rows)

    scenario(root / str(step), report)
    os._exit(0)


def write_range(path: Path, worker: int, episodes: range, tell: int | None = None) -> None:
    """Write episodes into a new stream, and a byte to the pipe ``tell`` after each."""
    spec = create_store(path, small_spec())
    with StreamWriter(path, spec, RUN, worker) as writer:
        for index in episodes:
            writer.append(noise_episode(spec, index))
            if tell is not None:
                os.write(tell, b".")


def die_at_random(path: Path, kills: int, seed: int) -> None:
    """Writers one after another, each killed from outside somewhere in its first 10 episodes."""
    rng = random.Random(seed)
    for kill in range(kills):
        told, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            write_range(path, kill, range(1000 * kill, 1000 * kill + 1000), tell)
            os._exit(0)
        for _ in range(rng.randrange(10)):
            os.read(told, 1)
        time.sleep(rng.uniform(0, 0.005))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(told)
        os.close(tell)


def write_together(path: Path, workers: int, episodes: int) -> None:
    """Writers at the same time, the k-th with every ``workers``-th episode."""
    pids = []
    for worker in range(workers):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                write_range(path, worker, range(worker, episodes, workers))
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    if any(os.waitpid(pid, 0)[1] for pid in pids):
        sys.exit("a writer failed")


def main(mode: str, root: str, *rest: str) -> None:
    if mode == "every-step":
        die_at_every_step(Path(root), rest == ("torn",))
    elif mode == "random":
        die_at_random(Path(root), int(rest[0]), int(rest[1]))
    elif mode == "together":
        write_together(Path(root), int(rest[0]), int(rest[1]))
    else:
        sys.exit(f"unknown mode {mode}")


if __name__ == "__main__":
    main(*sys.argv[1:])
