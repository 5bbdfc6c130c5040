"""Where the road is, and which rows are those of a car that drives along it."""

from __future__ import annotations

import numpy as np

from shared.worlds.base import Subset

ROAD_HALF_WIDTH = 40 / 6
"""Half the width of gymnasium's track, units."""


def driving(states: np.ndarray) -> np.ndarray:
    """Lateral offset and heading error (N, 2) to a mask (N,): on the road and facing along it.

    Facing backwards, the offset to the centre line has the other sign than in the picture, and no picture shows
    which way the track runs: such rows (a spun car) would hide what a latent knows about its place on the road.
    """
    mask: np.ndarray = (np.abs(states[:, 0]) < ROAD_HALF_WIDTH) & (np.cos(states[:, 1]) > 0)
    return mask


DRIVING = Subset(
    "driving",
    f"on the road (less than {ROAD_HALF_WIDTH:.2f} units from its centre line) and facing along it",
    ("lateral_offset", "heading_error"),
    driving,
)
