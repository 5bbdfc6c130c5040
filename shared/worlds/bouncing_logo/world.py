"""A logo that bounces in a box: the smallest world whose future is visible in two frames but not in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import cv2
import numpy as np
from gymnasium import spaces

from shared.errors import TinyJEPAError
from shared.worlds.axes import Axis, even
from shared.worlds.base import World
from shared.worlds.bouncing_logo.violations import VIOLATIONS
from shared.worlds.factors import Factor, number
from shared.worlds.violations import Violation

PICTURE_SIDE = 480

FACTORS = (
    Factor("speed", "times the usual", 1.0, (0.1, 3.0), (0.7, 1.4), physical=True),
    Factor("logo_size", "times the usual", 1.0, (0.4, 2.0), (0.8, 1.3)),
    Factor("box", "share of the frame's side", 1.0, (0.5, 1.0), (0.75, 1.0), physical=True),
)
OUTSIDE_LEVEL = 90.0
"""Brightness of the frame outside of a smaller box."""


class BouncingLogo(World):
    """A soft round logo moves at constant speed on a diagonal and is reflected by the walls.

    * Observation: uint8 ``(16, 16, 1)``, a Gaussian of standard deviation 1.5 pixels and peak 255 at the logo's
      place, to a fraction of a pixel. A ``frame_size`` other than 16 scales everything.
    * Action: none, ``Box`` of shape (0,). Reward: always 0. It never terminates.
    * Dynamics: each coordinate moves by 0.05 (N - 1) pixels a step, N the frame's side: 0.75 pixels. Where it
      would leave [1, N - 2] it is set back to the border and its velocity turns.
    * Start: uniform in [2, N - 3] squared, one of four diagonal directions, then the first step.
    * State: ``x``, ``y`` (pixels, of the logo's centre), ``vx``, ``vy`` (pixels per step).
    * Option ``teleport_at``: at that step (1 is the first) the logo is put down uniformly in [3, N - 4] squared
      before it moves, a future that nothing announces; 0 means never.
    * Options ``factors``, ``vary``: values of ``FACTORS`` by name, and those to sample per episode. Of a ``box``
      smaller than the frame, what lies outside is grey, and 1 and N - 2 above are its borders ``low`` and ``high``.

    This is the world of dvd-jepa (github.com/mandarwagh9/dvd-jepa), with frames of 8 bits.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 25}  # noqa: RUF012 - gymnasium declares it per instance
    state_names = ("x", "y", "vx", "vy")
    default_recipe: ClassVar[str] = "bouncing-logo"
    control_rate = 25.0
    max_episode_steps = 63
    default_frame_size: ClassVar[int] = 16
    default_policy: ClassVar[str] = "none"
    violations: ClassVar[tuple[Violation, ...]] = VIOLATIONS
    factors: ClassVar[tuple[Factor, ...]] = FACTORS
    maps: ClassVar[tuple[tuple[str, str], ...]] = (("x", "y"),)

    @classmethod
    def axes(cls, frame_size: int) -> tuple[Axis, ...]:
        low, high, speed = 1.0, frame_size - 2.0, 0.05 * (frame_size - 1)
        places = even("x", "pixels", low, high, 12), even("y", "pixels", low, high, 12, down=True)
        return (*places, *(even(name, "pixels/step", -2 * speed, 2 * speed, 2) for name in ("vx", "vy")))

    position: np.ndarray
    """float64 (2,): the logo's centre, pixels"""
    velocity: np.ndarray
    """float64 (2,): pixels per step"""
    low: float
    high: float
    """where the logo's centre turns, in both directions, pixels"""

    def __init__(
        self,
        frame_size: int = 16,
        teleport_at: int = 0,
        render_mode: str | None = None,
        factors: Mapping[str, Any] | None = None,
        vary: Sequence[str] = (),
    ) -> None:
        self.choose(factors, vary)
        if teleport_at < 0:
            raise TinyJEPAError(f"BouncingLogo: teleport_at is {teleport_at}; it must be a step, or 0 for never")
        if render_mode not in (None, "rgb_array"):
            raise TinyJEPAError(f"BouncingLogo: unknown render_mode '{render_mode}'. Choices: rgb_array")
        self.render_mode = render_mode
        self.observation_space = spaces.Box(0, 255, (frame_size, frame_size, 1), np.uint8)
        self.action_space = spaces.Box(-1, 1, (0,), np.float32)
        self.size = frame_size
        self._teleport_at = teleport_at
        self._pixels = np.arange(frame_size, dtype=np.float32)
        self._apply_factors()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._apply_factors()
        self.position = self.np_random.uniform(self.low + 1, self.high - 1, 2)
        self.velocity = (
            self.np_random.choice([-1.0, 1.0], 2) * 0.05 * (self.size - 1) * number(self.factor_values["speed"])
        )
        self._step = 0
        self._move()
        return self.frame(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._step += 1
        if self._step == self._teleport_at:
            self.position = self.np_random.uniform(self.low + 2, self.high - 2, 2)
        self._move()
        return self.frame(), 0.0, False, False, {}

    def state(self) -> np.ndarray:
        return np.array([*self.position, *self.velocity], np.float32)

    def render(self) -> np.ndarray | None:
        """The box, enlarged: RGB uint8 ``(480, 480, 3)``; None without ``render_mode``."""
        if self.render_mode is None:
            return None
        side = (PICTURE_SIDE, PICTURE_SIDE)
        return cv2.cvtColor(
            cv2.resize(self.frame()[:, :, 0], side, interpolation=cv2.INTER_NEAREST), cv2.COLOR_GRAY2RGB
        )

    def frame(self) -> np.ndarray:
        return self.picture([self.position])

    def picture(
        self, centres: Sequence[np.ndarray], *, across: float = 1.0, down: float = 1.0, peak: float = 255.0
    ) -> np.ndarray:
        """Logos at ``centres`` (pixels, (2,) each), stretched along x and y: a frame, uint8 ``(N, N, 1)``."""
        total = self._outside.copy()
        for centre in centres:
            x, y = (
                np.exp(-((self._pixels - place) ** 2) / (self._spread * np.float32(stretch**2)))
                for place, stretch in zip(np.asarray(centre, np.float32), (across, down))
            )
            total += np.float32(peak) * np.outer(y, x)
        return np.rint(np.minimum(total, 255)).astype(np.uint8)[:, :, None]

    def _apply_factors(self) -> None:
        size = number(self.factor_values["logo_size"])
        self._spread = np.float32(2 * (1.5 * self.size / 16 * size) ** 2)
        middle = (self.size - 1) / 2
        self.low = middle - number(self.factor_values["box"]) * (middle - 1)
        self.high = self.size - 1 - self.low
        inside = np.clip(np.minimum(self._pixels - (self.low - 2), self.high + 2 - self._pixels), 0, 1)
        self._outside = np.float32(OUTSIDE_LEVEL) * (1 - np.outer(inside, inside)).astype(np.float32)

    def _move(self) -> None:
        moved = self.position + self.velocity
        low, high = self.low, self.high
        self.velocity[(moved < low) | (moved > high)] *= -1
        self.position = np.clip(moved, low, high)
