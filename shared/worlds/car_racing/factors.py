"""CarRacing's factors of variation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from shared.worlds.factors import Factor, Value

FACTORS = (
    Factor("road_colour", "RGB", (102.0, 102.0, 102.0), (0, 255), (60, 140)),
    Factor("grass_colour", "RGB", (102.0, 204.0, 102.0), (0, 255), (80, 220)),
    Factor("car_colour", "RGB", (204.0, 0.0, 0.0), (0, 255), (0, 210)),
    Factor("camera_zoom", "times gymnasium's", 1.0, (0.5, 1.5), (0.8, 1.2)),
    Factor("road_width", "times gymnasium's", 1.0, (0.5, 1.5), (0.75, 1.25), physical=True),
    Factor("friction", "times gymnasium's", 1.0, (0.1, 2.0), (0.6, 1.2), physical=True),
)

PATCH = np.array([0, 26, 0])
"""How the patches of grass differ from the field around them, RGB."""


def colours(chosen: Sequence[str], values: Mapping[str, Value]) -> dict[str, np.ndarray]:
    """Gymnasium's attributes of the chosen factors' colours, int64 (3,) each, 0 to 255; nothing for the others."""
    found = {}
    if "road_colour" in chosen:
        found["road_color"] = np.rint(values["road_colour"]).astype(np.int64)
    if "grass_colour" in chosen:
        field = np.rint(values["grass_colour"]).astype(np.int64)
        found |= {"bg_color": field, "grass_color": np.minimum(field + PATCH, 255)}
    return found


def car_colour(values: Mapping[str, Value]) -> tuple[int, int, int]:
    """RGB of the hull, 0 to 255."""
    red, green, blue = np.rint(values["car_colour"]).astype(int).tolist()
    return red, green, blue
