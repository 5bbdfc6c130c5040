"""Gymnasium environments with one bad habit each: ``tests.support.misbehaving:tests/Odd-v0``, option ``how``."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

ID = "tests.support.misbehaving:tests/Odd-v0"


class Odd(gym.Env[np.ndarray, int]):
    """A noisy picture, episodes of ten steps. What it does at the fifth step of every episode is ``how``:

    ``print`` to standard output from Python, from C and to the descriptor; ``exit``; ``chdir``; or ``hang``, in Python,
    in ``hang-c`` with the interpreter held up in a call, in ``hang-on`` whatever exception comes. Hanging processes say
    so by a file named after their number in the folder ``told``. ``quit`` exits while it is made, ``unclosable`` raises
    whenever it is closed.
    """

    observation_space = gym.spaces.Box(0, 255, (16, 16, 1), np.uint8)

    def __init__(self, how: str = "", told: str = "", actions: int = 3) -> None:
        self.how, self.told = how, told
        self.action_space = gym.spaces.Discrete(actions)
        if how == "quit":
            sys.exit("made no more")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.steps = 0
        return self.picture(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        if self.steps == 5 and self.how:
            getattr(self, self.how.replace("-", "_"))()
        return self.picture(), float(action), self.steps == 10, False, {}

    def picture(self) -> np.ndarray:
        return self.np_random.integers(0, 256, (16, 16, 1), dtype=np.uint8)

    def unclosable(self) -> None:
        pass

    def close(self) -> None:
        if self.how == "unclosable":
            raise RuntimeError("the display is gone")

    def print(self) -> None:
        print("hello from Python")
        ctypes.CDLL(None).puts(b"hello from C")
        os.write(1, b"hello from the descriptor\n")

    def exit(self) -> None:
        sys.exit(3)

    def chdir(self) -> None:
        os.chdir("/")

    def hang(self) -> None:
        self._tell()
        time.sleep(3600)

    def hang_c(self) -> None:
        self._tell()
        ctypes.CDLL(None).sleep(3600)
        while True:  # an interrupted sleep(3) returns
            ctypes.CDLL(None).sleep(3600)

    def hang_on(self) -> None:
        self._tell()
        while True:
            with contextlib.suppress(BaseException):
                time.sleep(3600)

    def _tell(self) -> None:
        Path(self.told, str(os.getpid())).touch()


gym.register("tests/Odd-v0", entry_point=Odd, max_episode_steps=50)
