"""Frames per second and core of CarRacing at 64x64: ours, gymnasium's, EnvPool's, and the physics alone.

    python -m benchmarks.car_racing

The variants take turns in every round, so that ratios are of the same moments. Rounds are blocks of a fixed number of
steps with uniform random actions that favour gas, resets included (an episode has 400 steps). Times are CPU seconds of
the process; nothing runs in a second thread. EnvPool is left out unless installed (``pip install envpool``).
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
from gymnasium.envs.box2d import car_racing as reference

from benchmarks.car_racing_fidelity import Reference, reduced
from shared.worlds.car_racing import CarRacing

EPISODE = 400
GYMNASIUM = "gymnasium + cv2 INTER_AREA"
ENVPOOL = "EnvPool, 1 environment, 1 thread + INTER_AREA"
Step = Callable[[np.ndarray], np.ndarray]


def actions(rng: np.random.Generator, count: int) -> np.ndarray:
    """Float32 ``(count, 3)``, held for 8 steps each: enough gas to get around, some brake."""
    kept = rng.uniform([-0.5, 0.1, -0.3], [0.5, 0.8, 0.2], (count // 8 + 1, 3)).clip([-1, 0, 0], 1)
    return np.repeat(kept, 8, axis=0)[:count].astype(np.float32)


class Runner:
    """One variant, stepped through episodes of ``EPISODE`` steps with seeds 0, 1, ...; ``frames`` are made per step."""

    def __init__(self, env: CarRacing | reference.CarRacing, finish: Callable[[np.ndarray], np.ndarray]) -> None:
        self.env = env
        self.finish = finish
        self.seed = 0
        self.step = EPISODE

    def __call__(self, action: np.ndarray) -> None:
        if self.step == EPISODE:
            self.env.reset(seed=self.seed)
            self.seed += 1
            self.step = 0
        picture, _, ended, _, _ = self.env.step(action)
        self.finish(picture)
        self.step = EPISODE if ended else self.step + 1


class NoPictures(CarRacing):
    """Our physics and rules without rendering: the upper bound."""

    def _frame(self) -> np.ndarray:
        return np.empty(0, np.uint8)


class WithState(Runner):
    """Ours, reading the state at every step as a collection does."""

    def __call__(self, action: np.ndarray) -> None:
        super().__call__(action)
        assert isinstance(self.env, CarRacing)
        self.env.state()


def envpool_stepper(size: int) -> Callable[[np.ndarray], None] | None:
    """EnvPool's CarRacing in one thread, reduced as gymnasium's; None where it is not installed."""
    try:
        import envpool
    except ImportError:
        return None
    env = envpool.make("CarRacing-v3", env_type="gymnasium", num_envs=1, num_threads=1, max_episode_steps=EPISODE)
    env.reset()

    def step(action: np.ndarray) -> None:
        reduced(env.step(action[None])[0][0], size, False)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="CPU seconds per variant and round (default 2)")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--core", type=int, help="pin the process to this core")
    options = parser.parse_args()
    cv2.setNumThreads(0)
    if options.core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {options.core})
    size = options.size

    def keep(picture: np.ndarray) -> np.ndarray:
        return picture

    variants: dict[str, Callable[[np.ndarray], None]] = {
        GYMNASIUM: Runner(reference.CarRacing(), lambda picture: reduced(picture, size, False)),
        "ours": Runner(CarRacing(size), keep),
        "ours, with dashboard": Runner(CarRacing(size, hud=True), keep),
        "ours, state read every step": WithState(CarRacing(size), keep),
        "gymnasium's physics alone": Runner(Reference(pictures=False), keep),
        "our physics alone": Runner(NoPictures(size), keep),
    }
    envpool = envpool_stepper(size)
    if envpool is None:
        print("EnvPool is not installed: left out (pip install envpool)")
    else:
        variants[ENVPOOL] = envpool

    rng = np.random.default_rng(0)
    plan = actions(rng, 100_000)
    at = dict.fromkeys(variants, 0)
    rates: dict[str, list[float]] = {name: [] for name in variants}
    for round_number in range(options.rounds + 1):
        for name, step in variants.items():
            start = time.process_time()
            done = 0
            while time.process_time() - start < options.seconds:
                for _ in range(10):
                    step(plan[(at[name] + done) % len(plan)])
                    done += 1
            at[name] += done
            if round_number > 0:  # the first round fills caches
                rates[name].append(done / (time.process_time() - start))
        print(f"round {round_number} of {options.rounds}", file=sys.stderr, flush=True)

    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, OpenCV {cv2.__version__}")
    print(f"{size}x{size}, {options.rounds} rounds; median [min-max]")
    print(f"{'variant':46} {'frames/s/core':>24} {'x gymnasium':>20} {'x EnvPool':>18}")
    for name, values in rates.items():
        cells = [f"{name:46}", f"{spread(values, '.0f'):>24}"]
        for base, width in ((GYMNASIUM, 20), (ENVPOOL, 18)):
            ratios = [value / other for value, other in zip(values, rates.get(base, []))]
            cells.append(f"{spread(ratios, '.1f') if ratios else '-':>{width}}")
        print(" ".join(cells))


def spread(values: list[float], form: str) -> str:
    return f"{statistics.median(values):{form}} [{min(values):{form}}-{max(values):{form}}]"


if __name__ == "__main__":
    main()
