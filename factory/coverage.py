"""What part of its state space a data set covers, read from the privileged state."""

from __future__ import annotations

import numpy as np

ROAD_HALF_WIDTH = 40 / 6
"""Half the width of gymnasium's CarRacing track (units)."""


def on_road(state_names: tuple[str, ...], state: np.ndarray) -> float | None:
    """Share of rows whose ``lateral_offset`` lies within the road; None for a world without that state.

    ``state``: float32 ``(N, S)``, columns as in ``state_names``.
    """
    if "lateral_offset" not in state_names:
        return None
    offset = state[:, state_names.index("lateral_offset")]
    return float(np.mean(np.abs(offset) <= ROAD_HALF_WIDTH))
