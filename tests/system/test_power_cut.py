"""A power cut, played on a disk that records every write and flush: what was called safe is there afterwards."""

from __future__ import annotations

import pytest

from benchmarks.power_cuts import cut
from benchmarks.recording_disk import lacking

pytestmark = pytest.mark.skipif(bool(why := lacking()), reason=f"no recording disk on this box: {why}")


def test_a_power_cut_loses_nothing_that_was_called_safe() -> None:
    found = cut(cuts=8, seconds=1.0, seed=1)
    assert found["rows promised"] > 100 and found["runs promised"] > 10 and found["flushes recorded"] > 100
    assert {what: number for what, number in found.items() if what.startswith("LOST") and number} == {}


def test_without_fsync_it_would_lose_nearly_all() -> None:
    found = cut(cuts=2, seconds=1.0, seed=1, careless=True)
    assert found["LOST rows"] > found["rows promised"] / 2 > 0
