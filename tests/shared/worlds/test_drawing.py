"""Violations drawn by processes of their own: the same pairs as here, whatever becomes of the processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from shared.errors import TinyJEPAError
from shared.worlds.drawing import Drawing, Order
from shared.worlds.violations import Pairs

ORDERS = [
    Order("two-room", 33, {}, list(range(40)), 2, 4, 3, 1),
    Order("two-room", 33, {"walls": "random"}, list(range(40, 80)), 2, 4, 3, 1),
    Order("bouncing-logo", 16, {}, list(range(40)), 2, 4, 3, 1),
]
LONG = Order("car-racing", 64, {}, list(range(10_000)), 500, 8, 3, 4)
"""Takes minutes: whoever answers within a test has not drawn it."""


def drawers(parent: int) -> list[int]:
    """Processes of ``parent`` that draw."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            of, words = (entry / "stat").read_text(), (entry / "cmdline").read_text()
        except OSError:  # ended meanwhile
            continue
        if int(of.rpartition(")")[2].split()[1]) == parent and "drawing.main" in words:
            found.append(int(entry.name))
    return found


def wait_for(happens: Callable[[], object]) -> None:
    ends = time.monotonic() + 60
    while not happens():
        assert time.monotonic() < ends, "it does not happen"
        time.sleep(0.02)


def same(ours: Sequence[Pairs], theirs: Sequence[Pairs]) -> bool:
    return len(ours) > 0 and all(
        one.violation == other.violation
        and np.array_equal(one.at, other.at)
        and np.array_equal(one.impossible, other.impossible)
        and np.array_equal(one.impossible_state, other.impossible_state)
        and all(np.array_equal(column, vars(other.moments)[name]) for name, column in vars(one.moments).items())
        for one, other in zip(ours, theirs, strict=True)
    )


def refuse(order: Order) -> list[Pairs]:
    raise AssertionError("drawn by the caller")


@pytest.mark.parametrize("cores", [1, 2, 3, 9])
def test_pairs_do_not_depend_on_who_draws_them(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [order.draw() for order in ORDERS]
    with Drawing(ORDERS, cores) as drawing:
        assert len(drawers(os.getpid())) == min(cores - 1, len(ORDERS)) == cores - drawing.cores_left
        if cores > 1:
            monkeypatch.setattr(Order, "draw", refuse)
        assert all(same(drawing.pairs(number), expected[number]) for number in (2, 0, 1))
    assert not drawers(os.getpid())


def test_what_a_killed_process_leaves_is_drawn_here(caplog: pytest.LogCaptureFixture) -> None:
    with Drawing([ORDERS[0], LONG], 2) as drawing:
        (process,) = drawers(os.getpid())
        os.kill(process, signal.SIGKILL)
        assert same(drawing.pairs(0), ORDERS[0].draw())
    assert "ended with code -9" in caplog.text


def test_where_no_process_can_start_the_caller_draws(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with Drawing(ORDERS[:1], 2) as drawing:
        assert drawing.cores_left == 2
        assert same(drawing.pairs(0), ORDERS[0].draw())
    assert "/nowhere/python" in caplog.text


@pytest.mark.parametrize("words", ["hello", "3", "{}", '{"tables": 1, "pairs": []}', ""])
def test_what_is_printed_before_the_answer_costs_the_answer_alone(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"print({words!r})")
    monkeypatch.syspath_prepend(tmp_path)
    with Drawing(ORDERS[:1], 2) as drawing:
        assert same(drawing.pairs(0), ORDERS[0].draw())
    assert "said something else" in caplog.text


def test_processes_end_with_the_block_whatever_they_are_at() -> None:
    with pytest.raises(KeyboardInterrupt), Drawing([LONG], 2):
        assert len(drawers(os.getpid())) == 1
        raise KeyboardInterrupt
    assert not drawers(os.getpid())


def test_an_answer_that_was_interrupted_can_be_cleared_away() -> None:
    drawing = Drawing([LONG], 2)
    for _ in range(2):  # the second time its pipe is closed, as after a Ctrl-C while its process ends
        drawing.__exit__()
    assert not drawers(os.getpid())


def test_processes_end_with_a_caller_that_is_killed() -> None:
    code = f"from shared.worlds.drawing import *; import time; d = Drawing([{LONG!r}], 2); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code]) as caller:
        wait_for(lambda: drawers(caller.pid))
        (process,) = drawers(caller.pid)
        wait_for(lambda: "numpy" in Path(f"/proc/{process}/maps").read_text())
        caller.kill()
        caller.wait()
        wait_for(lambda: not Path(f"/proc/{process}").exists())


def test_a_world_that_cannot_be_made_is_told_where_its_pairs_are_asked_for() -> None:
    unknown = Order("two-room", 33, {"wals": 1}, list(range(9)), 2, 4, 3, 1)
    with Drawing([unknown], 2) as drawing, pytest.raises(TinyJEPAError, match="wals"):
        drawing.pairs(0)


def test_the_package_that_a_process_imports_is_the_callers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = ORDERS[0].draw()
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "__init__.py").write_text("raise SystemExit('not this one')")
    monkeypatch.setattr("shared.worlds.drawing.called_from", lambda: tmp_path)
    with Drawing([ORDERS[0]], 2) as drawing:
        monkeypatch.setattr(Order, "draw", refuse)
        assert same(drawing.pairs(0), expected)


@pytest.mark.parametrize(("chosen", "threads"), [({}, 1), ({"OPENCV_FOR_THREADS_NUM": "2"}, 2)])
def test_simulators_draw_with_one_thread_of_opencv_unless_told(chosen: dict[str, str], threads: int) -> None:
    free = {name: value for name, value in os.environ.items() if name != "OPENCV_FOR_THREADS_NUM"}
    code = "import shared.worlds, cv2; print(cv2.getNumThreads())"
    told = subprocess.run([sys.executable, "-c", code], env=free | chosen, capture_output=True, text=True, check=True)
    assert told.stdout.split() == [str(threads)]
