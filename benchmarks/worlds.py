"""Frames per second and core of the small worlds, beside what a user would otherwise step.

    python -m benchmarks.worlds
    pip install loguru; pip download --no-deps --dest swm stable-worldmodel==0.1.1; unzip -q swm/*.whl -d swm
    python -m benchmarks.worlds --swm swm      # two-room against stable-worldmodel's, too

Simulated and drawn, uint8 at our world's frame size: what a factory stores. Interleaved, one thread, CPU time. The
alternatives: gymnasium's Acrobot-v1 (also a double pendulum integrated by Runge-Kutta) and stable-worldmodel's TwoRoom,
both rendered and resized; and for ``two-room`` its own array program of many episodes at once.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import cv2
import gymnasium as gym
import numpy as np

from shared.worlds import make_world
from shared.worlds.two_room import TwoRoomBatch

BATCH = 256

Step = Callable[[], int]
"""Simulates and draws some frames; returns how many."""


def ours(name: str, **options: bool | str) -> Step:
    world = make_world(name, **options)
    world.reset(seed=0)
    world.action_space.seed(0)
    actions = [world.action_space.sample() for _ in range(64)]

    def step() -> int:
        for action in actions:
            world.step(action)
            world.state()
        return len(actions)

    return step


def batch() -> Step:
    rooms = TwoRoomBatch(BATCH)
    rooms.reset(seed=0)
    actions = np.random.default_rng(0).uniform(-1.5, 1.5, (BATCH, 2))

    def step() -> int:
        rooms.step(actions)
        return BATCH

    return step


def rendered(env: gym.Env, size: int) -> Step:
    """A gymnasium environment, drawn and resized after each step."""
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(16)]

    def step() -> int:
        for action in actions:
            env.step(action)
            cv2.resize(np.asarray(env.render()), (size, size), interpolation=cv2.INTER_AREA)
        return len(actions)

    return step


def stable_worldmodel(folder: Path) -> gym.Env:
    """Its TwoRoom, without the package's heavy imports."""
    import torch

    torch.set_num_threads(1)
    for name in ("stable_worldmodel", "stable_worldmodel.envs", "stable_worldmodel.envs.two_room"):
        package = types.ModuleType(name)
        package.__path__ = [str(folder / name.replace(".", "/"))]
        sys.modules[name] = package
    import stable_worldmodel.utils  # noqa: F401 - the environment expects it to be there
    from stable_worldmodel.envs.two_room.env import TwoRoomEnv

    made: gym.Env = TwoRoomEnv()
    return made


def rate(step: Step, seconds: float) -> float:
    """Frames per CPU second."""
    started, count = time.process_time(), 0
    while (spent := time.process_time() - started) < seconds:
        count += step()
    return count / spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swm", type=Path, help="folder of the unpacked stable-worldmodel wheel")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    subjects: dict[str, Step] = {
        "bouncing-logo": ours("bouncing-logo"),
        "double-pendulum": ours("double-pendulum"),
        "Acrobot-v1": rendered(gym.make("Acrobot-v1", render_mode="rgb_array").unwrapped, 64),
        "two-room": ours("two-room"),
        f"two-room, {BATCH} at once": batch(),
    }
    pairs = [("double-pendulum", "Acrobot-v1"), (f"two-room, {BATCH} at once", "two-room")]
    if options.swm:
        subjects["swm TwoRoom"] = rendered(stable_worldmodel(options.swm), 65)
        pairs.append(("two-room", "swm TwoRoom"))
    rates: dict[str, list[float]] = {name: [] for name in subjects}
    for step in subjects.values():
        step()
    for _ in range(options.rounds):
        for name, step in subjects.items():
            rates[name].append(rate(step, options.seconds))
    for name, values in rates.items():
        print(f"{name:24} {statistics.median(values):9,.0f} frames/s [{min(values):,.0f}–{max(values):,.0f}]")
    for one, other in pairs:
        ratios = [a / b for a, b in zip(rates[one], rates[other])]
        print(f"{one} / {other}: {statistics.median(ratios):.3g} [{min(ratios):.3g}–{max(ratios):.3g}]")


if __name__ == "__main__":
    main()
