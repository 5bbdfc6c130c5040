"""An episode of a world: the one place where a world is stepped with a policy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from shared.worlds.actions import Actions
from shared.worlds.base import World, action_dim
from shared.worlds.factors import Value
from shared.worlds.policy import Policy


class Step(NamedTuple):
    """What a world shows, and the action that led there."""

    frame: np.ndarray
    """uint8 (H, W, C)"""
    state: np.ndarray
    """float32 (S,)"""
    action: np.ndarray
    """float32 (A,): what the policy chose, as the store keeps it; zero after the reset"""
    reward: float
    """What the action earned; 0 after the reset."""
    terminated: bool
    truncated: bool
    """By the world itself."""


class Recording(NamedTuple):
    """An episode of L steps as L + 1 rows: each a frame, its state, the action taken there and what that earned."""

    frame: np.ndarray
    """uint8 (L + 1, H, W, C)"""
    action: np.ndarray
    """float32 (L + 1, A); the last row is zero"""
    reward: np.ndarray
    """float32 (L + 1,); the last is zero"""
    state: np.ndarray
    """float32 (L + 1, S)"""
    terminated: bool
    truncated: bool
    """By the world, or because it was left before it had ended."""
    factors: Mapping[str, Value]
    """Values of the factors of variation that were set or sampled."""


def play(world: World, seed: int, begin: Callable[[], Policy], max_steps: int) -> Iterator[Step]:
    """Reset the world and step it with a policy, which ``begin`` makes after the reset: at most ``max_steps`` steps.

    The first ``Step`` is the reset's. The world gets the value that the store keeps of the action, in an array of its
    own: an environment that changes its argument changes neither the policy's action nor the stored one.
    """
    frame, _ = world.reset(seed=seed)
    policy = begin()
    if (options := getattr(policy, "reset_options", None)) is not None:
        frame, _ = world.reset(seed=seed, options=options)
    actions = Actions(world.action_space)
    state = world.state()
    yield Step(frame, state, np.zeros(action_dim(world.action_space), np.float32), 0.0, False, False)
    for _ in range(max_steps):
        row = actions.row(policy.act(frame, state))
        frame, reward, terminated, truncated, _ = world.step(actions.action(row))
        state = world.state()
        yield Step(frame, state, row, float(reward), bool(terminated), bool(truncated))
        if terminated or truncated:
            return


def record(world: World, steps: Iterable[Step], max_steps: int) -> Recording:
    """All ``steps`` of an episode as arrays."""
    frames = np.empty((max_steps + 1, *(world.observation_space.shape or ())), np.uint8)
    states = np.empty((max_steps + 1, len(world.state_names)), np.float32)
    actions, rewards = list[np.ndarray](), list[float]()
    for row, step in enumerate(steps):
        frames[row], states[row] = step.frame, step.state
        actions.append(step.action)
        rewards.append(step.reward)
    rows = row + 1
    acted = np.zeros((rows, action_dim(world.action_space)), np.float32)
    earned = np.zeros(rows, np.float32)
    acted[:-1], earned[:-1] = np.reshape(actions[1:], acted[1:].shape), rewards[1:]
    return Recording(
        frame=frames[:rows],
        action=acted,
        reward=earned,
        state=states[:rows],
        terminated=step.terminated,
        truncated=step.truncated or not step.terminated,
        factors={name: world.factor_values[name] for name in world.variation.names},
    )
