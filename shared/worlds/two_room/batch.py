"""Many two-room episodes at once, in arrays: for planners' rollouts, oracles and fast generation."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import batch_space

from shared.worlds.two_room import geometry
from shared.worlds.two_room.geometry import HIGH, LOW, MAX_STEP, SIZE


class TwoRoomBatch(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """``num_envs`` episodes of ``TwoRoom`` in one array program; see there for spaces, rules and options.

    ``gymnasium.make_vec("tinyjepa/TwoRoom-v0", 1024, vectorization_mode="vector_entry_point")``. Observation: uint8
    (N, 65, 65, 2); action: float (N, 2). Nothing terminates; all truncate together after ``max_episode_steps`` (None:
    never), and are then to be reset by hand.
    ``reset(options={"start": (N, 2), "wall": (N,), "door": (N,)})`` sets what it names.
    """

    metadata = {"autoreset_mode": "Disabled"}  # noqa: RUF012 - gymnasium declares it per instance

    def __init__(
        self, num_envs: int = 1, walls: str = "seen", collision: str = "stay", max_episode_steps: int | None = None
    ) -> None:
        geometry.check_collision(collision)
        self.num_envs = num_envs
        self.single_observation_space = spaces.Box(0, 255, (SIZE, SIZE, 2), np.uint8)
        self.single_action_space = spaces.Box(-MAX_STEP, MAX_STEP, (2,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._choices = geometry.layouts(walls)
        self._collision = collision
        self._longest = max_episode_steps

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        options, rng, count = options or {}, self.np_random, self.num_envs
        wall, door = (rng.choice(choices, count).astype(np.float64) for choices in self._choices)
        self.wall = np.asarray(options.get("wall", wall), np.float64)
        self.door = np.asarray(options.get("door", door), np.float64)
        start = geometry.outside_walls(rng.uniform(LOW, HIGH, (count, 2)), self.wall, self.door, rng)
        self.at = np.array(options.get("start", start), np.float64)
        """float64 (N, 2): where the dots are, pixels"""
        self._walls = geometry.draw_walls(self.wall, self.door)
        self._steps = 0
        return self.frames(), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        self.move(actions)
        self._steps += 1
        over = np.full(self.num_envs, self._steps == self._longest)
        return self.frames(), np.zeros(self.num_envs), np.zeros_like(over), over, {}

    def move(self, actions: np.ndarray) -> np.ndarray:
        """Step without drawing: actions (N, 2) to the new places, float64 (N, 2)."""
        rng = self.np_random if self._collision == "stop" else None
        self.at = geometry.advance(self.at, actions, self.wall, self.door, self._collision, rng)
        return self.at

    def frames(self) -> np.ndarray:
        """What is seen now: uint8 (N, 65, 65, 2)."""
        return np.stack([geometry.draw_dots(self.at), self._walls], -1)
