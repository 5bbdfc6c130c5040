"""A store small enough for tests and real enough to learn from: a bright square that the action pushes about."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shared.store.dataset import create_store
from shared.store.schema import Episode, RunSpec, StoreSpec
from shared.store.writer import StreamWriter

RUN = RunSpec(seed=0, policy="uniform", max_episode_steps=100)


def dot_spec(size: int = 16) -> StoreSpec:
    return StoreSpec(
        world="dots",
        frame_shape=(size, size, 3),
        action_dim=2,
        state_names=("x", "y", "vx", "vy"),
        control_rate=10.0,
        inner_rows=16,
        shard_rows=128,
    )


def dot_episode(index: int, rows: int = 61, size: int = 16) -> Episode:
    """The square has inertia; ``state`` is its position and velocity in pixels and pixels per step."""
    rng = np.random.default_rng(index)
    position, velocity = rng.uniform(4, size - 4, 2), np.zeros(2)
    colour = rng.integers(100, 255, 3)
    frame = np.zeros((rows, size, size, 3), np.uint8)
    action = np.zeros((rows, 2), np.float32)
    state = np.zeros((rows, 4), np.float32)
    push = rng.uniform(-1, 1, 2)
    for t in range(rows):
        x, y = np.clip(position, 0, size - 3).astype(int)
        frame[t] = (30, 60, 30)
        frame[t, y : y + 3, x : x + 3] = colour
        state[t] = *position, *velocity
        if t % 8 == 0:
            push = rng.uniform(-1, 1, 2)
        if t < rows - 1:
            action[t] = push
        velocity = 0.8 * velocity + 0.3 * push
        bounced = (position + velocity < 0) | (position + velocity > size - 3)
        velocity[bounced] *= -1
        position = position + velocity
    reward = np.zeros(rows, np.float32)
    return Episode(index, 1000 + index, "uniform", frame, action, reward, state, False, True)


def make_dot_store(path: Path, episodes: int = 40, rows: int = 61, size: int = 16) -> Path:
    """``episodes`` episodes of ``rows`` rows in two streams."""
    spec = create_store(path, dot_spec(size))
    writers = [StreamWriter(path, spec, RUN, worker) for worker in range(2)]
    for index in range(episodes):
        writers[index % 2].append(dot_episode(index, rows, size))
    for writer in writers:
        writer.close()
    return path
