"""Any gymnasium id as a world: its image observation, or else its ``rgb_array`` render, resized."""

from __future__ import annotations

import contextlib
import os
import warnings
from typing import Any, ClassVar

import cv2
import gymnasium as gym
import numpy as np

from shared.errors import TinyJEPAError, brief
from shared.worlds.base import World
from shared.worlds.images import channels, is_image, may_be_image, scale, to_frame

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame draws to memory; without a display it complains

RENDER = "render"
"""As ``observation``: the environment's own picture, whatever it observes."""
_ACTION_SPACES = (gym.spaces.Box, gym.spaces.Discrete, gym.spaces.MultiDiscrete, gym.spaces.MultiBinary)


class GymnasiumWorld(World):
    """A gymnasium environment seen through frames; it has no privileged state.

    The frame is the observation where that is certainly an image (``shared.worlds.images``), else the ``rgb_array``
    render, else an observation that can be converted to one; reduced by area averaging to
    ``(frame_size, frame_size, C)``, with C 1 for a grey observation and 3 for anything else. ``observation`` chooses:
    a key of a dictionary, or ``render``.

    ``control_rate`` is the environment's ``render_fps``, 50 where it names none: pictures per second when people watch.
    That need not be its actions per simulated second, which no environment has to tell: Acrobot-v1 names 15, and a step
    of it lasts 0.2 s. Stores are recognised by the rate, so it stays what it is.

    Every reset makes a fresh environment, so that nothing of an earlier episode can show in a later one. The
    environment's own time limit is kept. ``info["TimeLimit.truncated"]``, with which environments of old say that the
    end they call a termination is none, makes it a truncation. ``options`` are the keyword arguments of
    ``gymnasium.make``.

    Raises ``TinyJEPAError`` when the environment or a package it needs is missing, when it refuses its
    options, when it shows no image, or when its actions are not Box, Discrete, MultiDiscrete or MultiBinary; ``reset``
    and ``step`` raise it for a picture that cannot be a frame.
    """

    shard_rows: ClassVar[int] = 1024

    def __init__(self, id: str, frame_size: int = 64, observation: str | None = None, **options: Any) -> None:
        self._id = id
        self._options = {key: value for key, value in options.items() if key != "render_mode"}
        self._env = self._make()
        self._key: str | None = None
        seen = self._choose(observation)
        if seen is None:
            self._options["render_mode"] = "rgb_array"
            self.close()
            self._env = self._make()
        if not isinstance(self._env.action_space, _ACTION_SPACES):
            raise TinyJEPAError(
                f"world '{id}' takes actions of {self._env.action_space}; only Box, Discrete, MultiDiscrete "
                "and MultiBinary can be stored"
            )
        self._from_observation = seen is not None
        self._top = 1.0 if seen is None else scale(seen)
        self._size = frame_size
        shape = (frame_size, frame_size, 3 if seen is None else channels(seen))
        self.observation_space = gym.spaces.Box(0, 255, shape, np.uint8)
        self.action_space = self._env.action_space
        self.control_rate = float(self._env.metadata.get("render_fps") or World.control_rate)
        limit = self._env.spec.max_episode_steps if self._env.spec else None
        self.max_episode_steps = limit or World.max_episode_steps

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.close()
        self._env = self._make()
        inner_seed = int(self.np_random.integers(2**31)) if seed is None else seed
        observation, info = self._env.reset(seed=inner_seed, options=options)
        return self._frame(observation), info

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self._env.step(action)
        if not truncated and isinstance(info, dict) and info.get("TimeLimit.truncated"):
            terminated, truncated = False, True
        return self._frame(observation), float(reward), bool(terminated), bool(truncated), info

    def close(self) -> None:
        """Never raises: what it has shown is not lost by an environment that fails as it is closed."""
        with contextlib.suppress(Exception, SystemExit):
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

    def _choose(self, wanted: str | None) -> gym.Space[Any] | None:
        """The space of the observation that is shown, with its key; None for the render."""
        space = self._env.observation_space
        parts = dict(space.spaces) if isinstance(space, gym.spaces.Dict) else {}
        if wanted in parts:
            if not may_be_image(parts[wanted], least=1):
                raise TinyJEPAError(f"world '{self._id}': observation '{wanted}' is no image ({parts[wanted]})")
            self._key = wanted
            return parts[wanted]
        draws = "rgb_array" in (self._env.metadata.get("render_modes") or ())
        if wanted is not None and not (wanted == RENDER and draws):
            choices = [*(str(key) for key in parts), *([RENDER] if draws else [])]
            names = ", ".join(choices) or "none: leave it out"
            raise TinyJEPAError(f"world '{self._id}' has no observation '{wanted}' to show. Choices: {names}")
        if wanted is None and is_image(space):
            return space
        if draws:
            return None
        if may_be_image(space):
            return space
        images = [key for key, part in parts.items() if may_be_image(part)]
        if len(images) == 1:
            self._key = images[0]
            return parts[images[0]]
        if images:
            raise TinyJEPAError(
                f"world '{self._id}' shows several images: choose one by --observation {images[0]}, "
                f"or {', '.join(map(str, images[1:]))}"
            )
        raise TinyJEPAError(
            f"world '{self._id}' shows no frames: its observation is no image ({space}) and it has no rgb_array render"
        )

    def _frame(self, observation: Any) -> np.ndarray:
        if self._from_observation:
            image, what = observation if self._key is None else observation[self._key], "the observation"
        else:
            image, what = self._env.render(), "what render() gave"
        pixels = to_frame(image, what, self._top)
        frame = cv2.resize(pixels, (self._size, self._size), interpolation=cv2.INTER_AREA)
        shape = self.observation_space.shape or ()
        if frame.ndim == 2 and shape[2] == 3:
            frame = cv2.cvtColor(frame, cv2.COLOR_GRAY2RGB)
        return frame.reshape(shape)
