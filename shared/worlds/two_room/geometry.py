"""Where the walls of the two-room world are, what they stop, and how it looks; for many places at once.

Coordinates are pixels of the 65x65 frame, x to the right and y downwards; pixel i covers i - 1/2 to i + 1/2. The rules
are those of PLDM's wall environment (github.com/vladisai/PLDM, ``pldm_envs/wall``; Sobal et al. 2025), which eb_jepa
and the data of the NYU deep learning course share.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import numpy as np

from shared.errors import TinyJEPAError

SIZE = 65
LOW, HIGH = 4.0, 60.0
"""The dot stays between these border walls, in both directions."""
HALF_WALL = 1.0
HALF_DOOR = 4.0
DOT_STD = 1.3
MAX_STEP = 2.45
"""Longest step, pixels; a longer action is shortened to it."""
BOUNCE_STD = 0.5
"""Of the noise after a collision under the rule ``stop``, pixels."""

Walls = Literal["seen", "held-out", "random", "fixed"]
Collision = Literal["stay", "stop"]

DOORS = np.arange(10, 55)
WALLS: dict[Walls, np.ndarray] = {
    "seen": np.array([x for x in range(20, 45) if not 36 <= x <= 40]),
    "held-out": np.arange(36, 41),
    "random": np.arange(20, 45),
    "fixed": np.array([32]),
}
"""Where the middle wall may be: x of its middle. ``held-out`` is what ``seen`` leaves out for tests."""
FIXED_DOOR = np.array([10])


def layouts(walls: str) -> tuple[np.ndarray, np.ndarray]:
    """Choices of the wall's x and of the door's y, both int64. Raises ``TinyJEPAError`` for an unknown kind."""
    if walls not in WALLS:
        raise TinyJEPAError(f"two-room: unknown walls '{walls}'. Choices: {', '.join(WALLS)}")
    return WALLS[walls], FIXED_DOOR if walls == "fixed" else DOORS


def check_collision(rule: str) -> None:
    """Raise ``TinyJEPAError`` for an unknown rule."""
    if rule not in get_args(Collision):
        raise TinyJEPAError(f"two-room: unknown collision '{rule}'. Choices: {', '.join(get_args(Collision))}")


def shortened(actions: np.ndarray) -> np.ndarray:
    """Actions (N, 2), pixels, at most ``MAX_STEP`` long: float64 (N, 2)."""
    actions = np.asarray(actions, np.float64)
    length = np.hypot(actions[:, 0], actions[:, 1])[:, None]
    return actions * np.where(length > MAX_STEP, MAX_STEP / np.maximum(length, 1e-12), 1.0)


class Opening(NamedTuple):
    """How thick the middle wall is, and how wide its door: half of each, pixels."""

    wall: float = HALF_WALL
    door: float = HALF_DOOR


USUAL = Opening()


def blocked(at: np.ndarray, to: np.ndarray, wall: np.ndarray, door: np.ndarray, half: Opening = USUAL) -> np.ndarray:
    """Whether a wall is in the way of a straight move: ``at``, ``to`` float (N, 2), ``wall``, ``door`` (N,); bool (N,).

    The walls are the borders, the middle wall (``wall`` +- 1 wide, open at ``door`` +- 4), and the door's two jambs.
    """
    times, _ = hits(at, to, wall, door, half)
    return np.isfinite(times)


def hits(
    at: np.ndarray, to: np.ndarray, wall: np.ndarray, door: np.ndarray, half: Opening = USUAL
) -> tuple[np.ndarray, np.ndarray]:
    """When a move first meets a wall, as a share of it in [0, 1] (inf where it does not), (N,), and along which axis
    it is pushed back: float (N, 2) with one entry of -1 or 1 (0 where nothing is hit)."""
    dx, dy = to[:, 0] - at[:, 0], to[:, 1] - at[:, 1]
    first, push = np.full(len(at), np.inf), np.zeros((len(at), 2))

    def meet(time: np.ndarray, hit: np.ndarray, axis: int, sign: np.ndarray) -> None:
        nearer = hit & (time < first)
        first[nearer] = time[nearer]
        push[nearer] = 0.0
        push[nearer, axis] = sign[nearer]

    with np.errstate(divide="ignore", invalid="ignore"):
        for axis, step in ((0, dx), (1, dy)):
            for edge, sign in ((LOW, 1.0), (HIGH, -1.0)):
                outside = to[:, axis] <= edge if sign > 0 else to[:, axis] >= edge
                meet(np.clip((edge - at[:, axis]) / step, 0, 1), outside, axis, np.full(len(at), sign))
        for side in (wall - half.wall, wall + half.wall):
            time = (side - at[:, 0]) / dx
            y = at[:, 1] + time * dy
            crossed = (at[:, 0] - side) * (to[:, 0] - side) < 0
            meet(time, crossed & (np.abs(y - door) > half.door), 0, -np.sign(dx))
        for jamb, way in ((door + half.door, 1.0), (door - half.door, -1.0)):
            time = (jamb - at[:, 1]) / dy
            x = at[:, 0] + time * dx
            crossed = ((at[:, 1] - jamb) * (to[:, 1] - jamb) < 0) & (dy * way > 0)
            meet(time, crossed & (np.abs(x - wall) < half.wall), 1, np.full(len(at), -way))
    return first, push


def advance(
    at: np.ndarray,
    actions: np.ndarray,
    wall: np.ndarray,
    door: np.ndarray,
    collision: str = "stay",
    rng: np.random.Generator | None = None,
    half: Opening = USUAL,
) -> np.ndarray:
    """One step: places (N, 2) and actions (N, 2), pixels, to the next places, float64 (N, 2).

    ``stay`` (PLDM's data): a step that a wall is in the way of does not happen. ``stop`` (PLDM's environment): the dot
    moves to the wall and is pushed off it by Gaussian noise from ``rng``, |N(0, 0.5)| pixels away from the wall and
    N(0, 0.5) along it (nothing without ``rng``: it then ends 0.01 pixels before the wall).
    """
    to = at + shortened(actions)
    times, push = hits(at, to, wall, door, half)
    hit = np.isfinite(times)
    if collision == "stay":
        return np.where(hit[:, None], at, to)
    noise = 0.01 * push
    if rng is not None:
        drawn = rng.normal(0, BOUNCE_STD, at.shape)
        noise = np.where(push != 0, np.abs(drawn) * push + 0.01 * push, drawn)
    met = at + np.where(hit, times, 0.0)[:, None] * (to - at)
    pushed = np.clip(met + noise, LOW + 0.01, HIGH - 0.01)
    through = blocked(at, pushed, wall, door, half)
    return np.where(hit[:, None], np.where(through[:, None], at, pushed), to)


def outside_walls(
    at: np.ndarray, wall: np.ndarray, door: np.ndarray, rng: np.random.Generator, half: Opening = USUAL
) -> np.ndarray:
    """Places (N, 2), those inside the middle wall moved along x to a random place in a random room: float64 (N, 2)."""
    inside = (np.abs(at[:, 0] - wall) <= half.wall) & (np.abs(at[:, 1] - door) > half.door)
    left, share = rng.random(len(at)) < 0.5, rng.random(len(at))
    x = np.where(left, LOW + share * (wall - half.wall - LOW), HIGH - share * (HIGH - wall - half.wall))
    return np.stack([np.where(inside, x, at[:, 0]), at[:, 1]], 1)


def draw_walls(wall: np.ndarray, door: np.ndarray, half: Opening = USUAL) -> np.ndarray:
    """The second channel: 255 on borders and middle wall, else 0; uint8 (N, 65, 65).

    A part of a pixel of thickness shows as a share of 255 in the next pixel.
    """
    pixels = np.arange(SIZE)
    columns = _covered(np.abs(pixels[None, :] - wall[:, None]), half.wall)
    rows = 1.0 - _covered(np.abs(pixels[None, :] - door[:, None]), half.door)
    solid = columns[:, None, :] * rows[:, :, None]
    edges = [int(LOW), int(HIGH)]
    solid[:, edges, :] = 1.0
    solid[:, :, edges] = 1.0
    return np.rint(255 * solid).astype(np.uint8)


def _covered(away: np.ndarray, half: float) -> np.ndarray:
    """Shares in [0, 1] of pixels that lie ``away`` pixels from the middle of something ``half`` as wide."""
    whole = math.floor(half)
    share: np.ndarray = np.where(away <= whole, 1.0, np.where(away <= whole + 1, half - whole, 0.0))
    return share


def draw_dots(at: np.ndarray) -> np.ndarray:
    """The first channel: a Gaussian of 1.3 pixels and peak 255, rounded down; uint8 (N, 65, 65)."""
    offsets = np.arange(SIZE, dtype=np.float32)[None, None, :] - at[:, :, None].astype(np.float32)
    profile = np.exp(-(offsets**2) / (2 * DOT_STD**2))
    return (255 * profile[:, 1, :, None] * profile[:, 0, None, :]).astype(np.uint8)
