"""One episode as a pure function of (world, policy, seed, k)."""

from __future__ import annotations

import numpy as np

from factory.policies import make_policy
from shared.errors import TinyJEPAError, brief
from shared.store.schema import Episode, RunSpec
from shared.worlds.base import World
from shared.worlds.episode import play, record
from shared.worlds.policy import Policy


def episode_seeds(run_seed: int, k: int) -> tuple[int, np.random.Generator]:
    """The seed episode ``k`` resets the world with, in [0, 2^31), and the generator of its policy.

    Both come from ``numpy.random.SeedSequence([run_seed, k])`` and are independent of each other. Runs have episodes of
    their own where their seeds are below 2^32: of a larger one numpy takes the upper half for k, so that its episode 0
    is another of the run whose seed is the lower half.
    """
    sequence = np.random.SeedSequence([run_seed, k])
    world_seed = int(sequence.generate_state(1)[0]) & 0x7FFFFFFF
    return world_seed, np.random.default_rng(sequence.spawn(1)[0])


def run_episode(world: World, policy: str, run_seed: int, k: int, max_steps: int) -> Episode:
    """Simulate episode ``k`` of a run, at most ``max_steps`` steps; deterministic, whatever ran before."""
    seed, rng = episode_seeds(run_seed, k)

    def begin() -> Policy:
        nonlocal policy
        policy, driver = make_policy(policy, world, rng)
        return driver

    recording = record(world, play(world, seed, begin, max_steps), max_steps)
    return Episode(index=k, seed=seed, policy=policy, **recording._asdict())


def make_episode(world: World, name: str, run: RunSpec, k: int) -> Episode:
    """``run_episode`` for a world that may fail: raises ``TinyJEPAError`` that names world, episode and seed."""
    try:
        return run_episode(world, run.policy, run.seed, k, run.max_episode_steps)
    except TinyJEPAError:
        raise
    except (Exception, SystemExit) as error:  # the world's code may raise anything, and call sys.exit
        seed, _ = episode_seeds(run.seed, k)
        raise TinyJEPAError(f"world '{name}' failed in episode {k} (world seed {seed}): {brief(error)}") from error


def difference(world: World, name: str, run: RunSpec, episode: Episode) -> str | None:
    """Make an episode of ``make_episode`` again: where it parts from the first making, in words; None where nowhere."""
    again = make_episode(world, name, run, episode.index)
    rows = min(again.rows, episode.rows)
    found = [
        (row, name)
        for name in ("frame", "state", "action", "reward")
        if (row := _first_difference(getattr(again, name)[:rows], getattr(episode, name)[:rows])) is not None
    ]
    if found:
        row, name = min(found, key=lambda one: one[0])
        return f"its {name} differs in step {row}"
    if again.rows != episode.rows:
        return f"it ends after {again.rows - 1} steps, not {episode.rows - 1}"
    if (again.terminated, again.truncated) != (episode.terminated, episode.truncated):
        return "its end differs"
    return None


def _first_difference(ours: np.ndarray, theirs: np.ndarray) -> int | None:
    """The first row whose bits differ."""
    if not ours.size:
        return None
    differs = (ours.view(np.uint8) != theirs.view(np.uint8)).reshape(len(ours), -1).any(axis=1)
    return int(differs.argmax()) if differs.any() else None
