"""What part of its state space a data set covers, read from the privileged state."""

from __future__ import annotations

import numpy as np

ROAD_HALF_WIDTH = 40 / 6
"""Half the width of gymnasium's CarRacing track (units)."""

OFFSET_BINS = np.array([-24, -12, -6.7, -3, -1, 1, 3, 6.7, 12, 24], np.float32)
HEADING_BINS = np.array([-2.1, -1.05, -0.5, -0.2, -0.07, 0.07, 0.2, 0.5, 1.05, 2.1], np.float32)
SPEED_BINS = np.array([2, 6, 12, 18, 25, 32, 40, 48, 56, 65], np.float32)


def on_road(state_names: tuple[str, ...], state: np.ndarray) -> float | None:
    """Share of rows whose ``lateral_offset`` lies within the road; None for a world without that state.

    ``state``: float32 ``(N, S)``, columns as in ``state_names``.
    """
    if "lateral_offset" not in state_names:
        return None
    offset = state[:, state_names.index("lateral_offset")]
    return float(np.mean(np.abs(offset) <= ROAD_HALF_WIDTH))


def coverage(state_names: tuple[str, ...], state: np.ndarray) -> dict[str, float]:
    """Figures that tell whether driving data are worth training on; empty for a world that is no track.

    ``state``: float32 ``(N, S)``. ``on_road``: share of rows in [0, 1]. ``speed_mean``, ``speed_p95``: units/s.
    ``lateral_std`` (units), ``heading_std`` (rad): spread about the centre line. ``bins``: how many of the
    1,331 cells of offset x heading error x speed are hit, ``perplexity``: exp of the entropy over them.
    """
    if not {"lateral_offset", "heading_error", "forward_speed", "lateral_speed"} <= set(state_names):
        return {}
    columns = {name: state[:, state_names.index(name)] for name in state_names}
    speed = np.hypot(columns["forward_speed"], columns["lateral_speed"])
    offset, heading = columns["lateral_offset"], columns["heading_error"]
    cell = np.digitize(offset, OFFSET_BINS) * 121 + np.digitize(heading, HEADING_BINS) * 11
    _, counts = np.unique(cell + np.digitize(speed, SPEED_BINS), return_counts=True)
    share = counts / counts.sum()
    return {
        "on_road": float(np.mean(np.abs(offset) <= ROAD_HALF_WIDTH)),
        "speed_mean": float(np.mean(speed)),
        "speed_p95": float(np.percentile(speed, 95)),
        "lateral_std": float(np.std(offset)),
        "heading_std": float(np.std(heading)),
        "bins": float(len(counts)),
        "perplexity": float(np.exp(-np.sum(share * np.log(share)))),
    }
