"""What a collection would cost, measured on a few of its own episodes; nothing is written."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from factory.collecting.episodes import make_episode
from factory.collecting.job import Job
from factory.collecting.progress import Unit
from factory.collecting.schedule import Plan
from shared.cores import usable_cores
from shared.store.codec import ShardEncoder, encode_chunk
from shared.worlds import make_world

SAMPLE_SECONDS = 3.0


@dataclass(frozen=True)
class Estimate:
    """Of what is still missing of a run."""

    frames: int
    episodes: int
    bytes: int
    seconds: float
    """With the workers asked for, at most as many as there are cores; Ray's start not included."""
    frames_per_second: float
    """Of one worker on this machine, writing included."""
    sampled_frames: int
    free_bytes: int
    """On the disk of the store."""


def estimate(path: Path, job: Job, have: Mapping[int, int], goal: int, unit: Unit, workers: int) -> Estimate:
    """Simulate and compress the first missing episodes for about three seconds, in memory.

    ``have`` maps the episodes that are in the store to their rows.
    """
    spec, run = job
    path = path.absolute()
    plan = Plan(goal, run.max_episode_steps + 1, have, counts_rows=unit == "frames")
    world = make_world(spec.world, spec.frame_shape[0], **spec.world_options)
    rows = size = episodes = 0
    started = time.perf_counter()
    try:
        while time.perf_counter() - started < SAMPLE_SECONDS and (k := plan.take()) is not None:
            episode = make_episode(world, spec.world, run, k)
            plan.done(k, episode.rows)
            encoder = ShardEncoder(-(-episode.rows // spec.inner_rows))
            for first in range(0, episode.rows, spec.inner_rows):
                encoder.add(episode.frame[first : first + spec.inner_rows])
            parts, _ = encoder.finish()
            columns = (episode.action, episode.reward, episode.state)
            size += sum(map(len, parts)) + sum(len(encode_chunk(values)[0]) for values in columns if values.size)
            rows += episode.rows
            episodes += 1
    finally:
        world.close()
    rate = rows / max(time.perf_counter() - started, 1e-9)
    done = plan.progress - (rows if unit == "frames" else episodes)
    left = max(goal - done, 0)
    frames = left if unit == "frames" else round(left * rows / max(episodes, 1))
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    return Estimate(
        frames=frames if episodes else 0,
        episodes=round(frames * episodes / rows) if rows else 0,
        bytes=round(size * frames / rows) if rows else 0,
        seconds=frames / rate / min(workers, usable_cores()) if rows else 0.0,
        frames_per_second=rate,
        sampled_frames=rows,
        free_bytes=shutil.disk_usage(there).free,
    )
