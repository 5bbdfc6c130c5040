"""The axes on which data of CarRacing are looked at, and their cells that data should reach."""

from __future__ import annotations

import math

from gymnasium.envs.box2d.car_racing import PLAYFIELD

from shared.worlds.axes import Axis, Band
from shared.worlds.car_racing.road import ROAD_HALF_WIDTH

SPEED_CELLS = (2.0, 6.0, 12.0, 18.0, 25.0, 32.0, 40.0, 48.0, 56.0, 65.0)
OFFSET_CELLS = (-24.0, -12.0, -6.7, -3.0, -1.0, 1.0, 3.0, 6.7, 12.0, 24.0)
HEADING_CELLS = (-2.1, -1.05, -0.5, -0.2, -0.07, 0.07, 0.2, 0.5, 1.05, 2.1)
"""Borders of the cells."""

AXES = (
    Axis("speed", "units/s", ("forward_speed", "lateral_speed"), 0, 80, SPEED_CELLS),
    Axis(
        "lateral_offset", "units", ("lateral_offset",), -30, 30, OFFSET_CELLS,
        Band("on road", -ROAD_HALF_WIDTH, ROAD_HALF_WIDTH),
    ),
    Axis("heading_error", "rad", ("heading_error",), -math.pi, math.pi, HEADING_CELLS),
    Axis("x", "units", ("x",), -PLAYFIELD, PLAYFIELD),
    Axis("y", "units", ("y",), -PLAYFIELD, PLAYFIELD),
)  # fmt: skip
