"""A power cut, played on a disk that records every write and flush: what was called safe is there afterwards."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from benchmarks.power_cuts import cut
from benchmarks.recording_disk import FORMAT, lacking, powered_up


@pytest.fixture(scope="module", autouse=True)
def recording_disk() -> None:
    if why := lacking():
        pytest.skip(f"no recording disk on this box: {why}")


def test_a_power_cut_loses_nothing_that_was_called_safe() -> None:
    found = cut(cuts=8, seconds=1.0, seed=1)
    assert found["rows promised"] > 100 and found["runs promised"] > 10 and found["flushes recorded"] > 100
    assert {what: number for what, number in found.items() if what.startswith("LOST") and number} == {}


def test_without_fsync_it_would_lose_nearly_all() -> None:
    found = cut(cuts=2, seconds=1.0, seed=1, careless=True)
    assert found["LOST rows"] > found["rows promised"] / 2 > 0


def test_a_state_is_shown_as_it_is_while_others_hold_the_loop_device_of_the_last(tmp_path: Path) -> None:
    """Any process may have a loop device open when it is detached; the next state must not show the last one's."""
    states, held = [], []
    for names in (["a"], ["a", "b"]):
        content, image = tmp_path / "-".join(names), tmp_path / "made"
        content.mkdir()
        for name in names:
            (content / name).touch()
        with image.open("wb") as empty:
            empty.truncate(16 << 20)
        subprocess.run([*FORMAT["ext4"], "-d", str(content), str(image)], check=True, capture_output=True)
        states.append((bytearray(image.read_bytes()), names))
    try:
        for state, names in [*states, *states]:
            with powered_up(tmp_path, state) as point:
                assert sorted(path.name for path in point.iterdir() if path.is_file()) == names
                device = subprocess.run(["findmnt", "-no", "SOURCE", str(point)], capture_output=True, text=True)
                held.append(os.open(device.stdout.strip(), os.O_RDONLY))
    finally:
        for descriptor in held:
            os.close(descriptor)
