"""State-space coverage of each policy on CarRacing: ``python -m benchmarks.policies [--episodes 40] [--steps 1000]``.

Prints the table of ``docs/policies.md``. Pictures are not needed for it, so they are drawn as small as possible.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np

from factory.collecting.episodes import episode_seeds
from factory.inspection.coverage import coverage
from factory.policies import MIXED, MIXES, POLICIES, check_policy, make_policy
from shared.errors import TinyJEPAError
from shared.worlds import make_world
from shared.worlds.base import World


@dataclass(frozen=True)
class Drive:
    states: np.ndarray
    """float32 ``(L + 1, S)``"""
    tiles: float
    """New track tiles per 1,000 steps."""
    policy_seconds: float


def drive(world: World, policy: str, k: int, steps: int) -> Drive:
    """Episode ``k`` of the run of seed 0, its states, and the time spent in the policy."""
    seed, rng = episode_seeds(0, k)
    frame, _ = world.reset(seed=seed)
    _, driver = make_policy(policy, world, rng)
    states, seconds = [world.state()], 0.0
    for _ in range(steps):
        started = time.perf_counter()
        action = driver.act(frame, states[-1])
        seconds += time.perf_counter() - started
        frame, _, terminated, _, _ = world.step(action)
        states.append(world.state())
        if terminated:
            break
    taken = len(states) - 1
    progress = float(states[-1][world.state_names.index("progress")])
    tiles = progress * len(world.track) * 1000 / taken  # type: ignore[attr-defined]
    return Drive(np.array(states), tiles, seconds / taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--steps", type=int, default=1000)
    arguments = parser.parse_args()
    world = make_world("car-racing", frame_size=8)
    print(
        "| policy | on road | speed (p95), units/s | tiles per 1,000 steps | std lateral, units | std heading, rad "
        "| state bins hit / perplexity | microseconds per step (best episode) |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for policy in [*POLICIES, *MIXES, MIXED]:
        try:
            check_policy(policy, world)
        except TinyJEPAError:
            continue  # it is for other worlds
        drives = [drive(world, policy, k, arguments.steps) for k in range(arguments.episodes)]
        states = np.concatenate([one.states for one in drives])
        found = coverage(world.axes(8), world.state_names, states, len(drives))
        speed, offset, heading = (found.spreads[name] for name in ("speed", "lateral_offset", "heading_error"))
        microseconds = 1e6 * min(one.policy_seconds for one in drives)
        print(
            f"| `{policy}` | {offset.within:.2f} | {speed.mean:.1f} ({speed.p95:.0f}) "
            f"| {np.mean([one.tiles for one in drives]):.0f} | {offset.std:.1f} "
            f"| {heading.std:.2f} | {found.hit} / {found.perplexity:.0f} "
            f"| {microseconds:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
