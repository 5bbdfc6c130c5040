"""Where the walls of the two-room world are, what they stop, and how it looks; for many places at once.

Coordinates are pixels of the 65x65 frame, x to the right and y downwards; pixel i covers i - 1/2 to i + 1/2. The rules
are those of PLDM's wall environment (github.com/vladisai/PLDM, ``pldm_envs/wall``; Sobal et al. 2025), which eb_jepa
and the data of the NYU deep learning course share.
"""

from __future__ import annotations

from typing import Literal, get_args

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


def blocked(at: np.ndarray, to: np.ndarray, wall: np.ndarray, door: np.ndarray) -> np.ndarray:
    """Whether a wall is in the way of a straight move: ``at``, ``to`` float (N, 2), ``wall``, ``door`` (N,); bool (N,).

    The walls are the borders, the middle wall (``wall`` +- 1 wide, open at ``door`` +- 4), and the door's two jambs.
    """
    times, _ = hits(at, to, wall, door)
    return np.isfinite(times)


def hits(at: np.ndarray, to: np.ndarray, wall: np.ndarray, door: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
        for side in (wall - HALF_WALL, wall + HALF_WALL):
            time = (side - at[:, 0]) / dx
            y = at[:, 1] + time * dy
            crossed = (at[:, 0] - side) * (to[:, 0] - side) < 0
            meet(time, crossed & (np.abs(y - door) > HALF_DOOR), 0, -np.sign(dx))
        for jamb, way in ((door + HALF_DOOR, 1.0), (door - HALF_DOOR, -1.0)):
            time = (jamb - at[:, 1]) / dy
            x = at[:, 0] + time * dx
            crossed = ((at[:, 1] - jamb) * (to[:, 1] - jamb) < 0) & (dy * way > 0)
            meet(time, crossed & (np.abs(x - wall) < HALF_WALL), 1, np.full(len(at), -way))
    return first, push


def advance(
    at: np.ndarray,
    actions: np.ndarray,
    wall: np.ndarray,
    door: np.ndarray,
    collision: str = "stay",
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """One step: places (N, 2) and actions (N, 2), pixels, to the next places, float64 (N, 2).

    ``stay`` (PLDM's data): a step that a wall is in the way of does not happen. ``stop`` (PLDM's environment): the dot
    moves to the wall and is pushed off it by Gaussian noise from ``rng``, |N(0, 0.5)| pixels away from the wall and
    N(0, 0.5) along it (nothing without ``rng``: it then ends 0.01 pixels before the wall).
    """
    to = at + shortened(actions)
    times, push = hits(at, to, wall, door)
    hit = np.isfinite(times)
    if collision == "stay":
        return np.where(hit[:, None], at, to)
    noise = 0.01 * push
    if rng is not None:
        drawn = rng.normal(0, BOUNCE_STD, at.shape)
        noise = np.where(push != 0, np.abs(drawn) * push + 0.01 * push, drawn)
    met = at + np.where(hit, times, 0.0)[:, None] * (to - at)
    pushed = np.clip(met + noise, LOW + 0.01, HIGH - 0.01)
    through = blocked(at, pushed, wall, door)
    return np.where(hit[:, None], np.where(through[:, None], at, pushed), to)


def outside_walls(at: np.ndarray, wall: np.ndarray, door: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Places (N, 2), those inside the middle wall moved along x to a random place in a random room: float64 (N, 2)."""
    inside = (np.abs(at[:, 0] - wall) <= HALF_WALL) & (np.abs(at[:, 1] - door) > HALF_DOOR)
    left, share = rng.random(len(at)) < 0.5, rng.random(len(at))
    x = np.where(left, LOW + share * (wall - HALF_WALL - LOW), HIGH - share * (HIGH - wall - HALF_WALL))
    return np.stack([np.where(inside, x, at[:, 0]), at[:, 1]], 1)


def draw_walls(wall: np.ndarray, door: np.ndarray) -> np.ndarray:
    """The second channel: 255 on borders and middle wall, else 0; uint8 (N, 65, 65)."""
    pixels = np.arange(SIZE)
    columns = np.abs(pixels[None, :] - wall[:, None]) <= HALF_WALL
    rows = np.abs(pixels[None, :] - door[:, None]) > HALF_DOOR
    solid = columns[:, None, :] & rows[:, :, None]
    edges = [int(LOW), int(HIGH)]
    solid[:, edges, :] = True
    solid[:, :, edges] = True
    return solid.astype(np.uint8) * 255


def draw_dots(at: np.ndarray) -> np.ndarray:
    """The first channel: a Gaussian of 1.3 pixels and peak 255, rounded down; uint8 (N, 65, 65)."""
    offsets = np.arange(SIZE, dtype=np.float32)[None, None, :] - at[:, :, None].astype(np.float32)
    profile = np.exp(-(offsets**2) / (2 * DOT_STD**2))
    return (255 * profile[:, 1, :, None] * profile[:, 0, None, :]).astype(np.uint8)
