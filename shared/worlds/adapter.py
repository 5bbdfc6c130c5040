"""Any gymnasium id as a world: its image observation, or else its ``rgb_array`` render, resized."""

from __future__ import annotations

import os
import warnings
from typing import Any, ClassVar

import cv2
import gymnasium as gym
import numpy as np

from shared.errors import TinyJEPAError, brief
from shared.worlds.base import World

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame draws to memory; without a display it complains

_MIN_IMAGE_SIDE = 8
_ACTION_SPACES = (gym.spaces.Box, gym.spaces.Discrete, gym.spaces.MultiDiscrete, gym.spaces.MultiBinary)


class GymnasiumWorld(World):
    """A gymnasium environment seen through frames; it has no privileged state.

    The frame is the observation where that is an image (uint8 ``(H, W, 3)``, ``(H, W, 1)`` or ``(H, W)``),
    else the ``rgb_array`` render, reduced by area averaging to ``(frame_size, frame_size, C)``.
    Every reset makes a fresh environment, so that nothing of an earlier episode can show in a later one. The
    environment's own time limit is kept. ``options`` are the keyword arguments of ``gymnasium.make``.

    Raises ``TinyJEPAError`` when the environment or a package it needs is missing, when it refuses its
    options, when it shows no image, or when its actions are not Box, Discrete, MultiDiscrete or MultiBinary.
    """

    shard_rows: ClassVar[int] = 1024

    def __init__(self, id: str, frame_size: int = 64, **options: Any) -> None:
        self._id = id
        self._options = {key: value for key, value in options.items() if key != "render_mode"}
        self._env = self._make()
        self._from_observation = _is_image(self._env.observation_space)
        if not self._from_observation:
            if "rgb_array" not in self._env.metadata.get("render_modes", ()):
                raise TinyJEPAError(
                    f"world '{id}' shows no frames: its observation is no image "
                    f"({self._env.observation_space}) and it has no rgb_array render"
                )
            self._options["render_mode"] = "rgb_array"
            self._env.close()
            self._env = self._make()
        if not isinstance(self._env.action_space, _ACTION_SPACES):
            raise TinyJEPAError(
                f"world '{id}' takes actions of {self._env.action_space}; only Box, Discrete, MultiDiscrete "
                "and MultiBinary can be stored"
            )
        shape = self._env.observation_space.shape if self._from_observation else (0, 0, 3)
        assert shape is not None
        channels = shape[2] if len(shape) == 3 else 1
        self._size = frame_size
        self.observation_space = gym.spaces.Box(0, 255, (frame_size, frame_size, channels), np.uint8)
        self.action_space = self._env.action_space
        self.control_rate = float(self._env.metadata.get("render_fps") or World.control_rate)
        limit = self._env.spec.max_episode_steps if self._env.spec else None
        self.max_episode_steps = limit or World.max_episode_steps

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._env.close()
        self._env = self._make()
        inner_seed = int(self.np_random.integers(2**31)) if seed is None else seed
        observation, info = self._env.reset(seed=inner_seed, options=options)
        return self._frame(observation), info

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self._env.step(action)
        return self._frame(observation), float(reward), bool(terminated), bool(truncated), info

    def close(self) -> None:
        self._env.close()

    def _make(self) -> gym.Env[Any, Any]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return gym.make(self._id, disable_env_checker=True, **self._options)
        except ImportError as error:  # gymnasium's DependencyNotInstalled is one
            raise TinyJEPAError(f"world '{self._id}' needs a package that is not installed: {error}") from error
        except (gym.error.Error, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise TinyJEPAError(f"gymnasium cannot make world '{self._id}': {reason}") from error
        except (Exception, SystemExit) as error:  # it is not our code
            raise TinyJEPAError(f"world '{self._id}' fails while it is made ({brief(error)}): mend it first") from error

    def _frame(self, observation: Any) -> np.ndarray:
        image = observation if self._from_observation else self._env.render()
        assert isinstance(image, np.ndarray), f"{self._id}: render() gave {type(image)}"
        frame = cv2.resize(image, (self._size, self._size), interpolation=cv2.INTER_AREA)
        return frame.reshape(self.observation_space.shape or ())


def _is_image(space: gym.Space[Any]) -> bool:
    if not isinstance(space, gym.spaces.Box) or space.dtype != np.uint8:
        return False
    shape = space.shape
    planar = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))
    return planar and min(shape[:2]) >= _MIN_IMAGE_SIDE
