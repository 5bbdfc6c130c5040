"""The page of ``brain plan``."""

from __future__ import annotations

import numpy as np

from brain.reports.plan import parted


def test_lines_have_a_gap_where_an_angle_turns_over() -> None:
    path = np.array([[3.0, 0.0], [-3.0, 9.0], [-2.9, 0.0]])
    assert np.isnan(parted(path, [True, False])[1]).all() and len(parted(path, [True, False])) == 4
    assert np.array_equal(parted(path, [False, False]), path)
