"""What must end ends: a collection whose environment hangs, after a second Ctrl-C; and all children after kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.store.reader import Store
from shared.store.verify import verify
from tests import ROOT
from tests.support.collecting import small_run
from tests.support.misbehaving import ID


def collecting(path: Path, told: Path, how: str, workers: int) -> list[str]:
    told.mkdir()
    return [
        sys.executable, "-m", "factory.cli", "collect", "--world", ID, "--option", f"how={how}",
        "--option", f"told={told}", "--frame-size", "16", "--frames", "4000", "--workers", str(workers),
        "--store", str(path),
    ]  # fmt: skip


def started(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def descendants(pid: int) -> set[int]:
    """All processes below ``pid`` that run now."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (fields := state(int(folder.name))):
            parents[int(folder.name)] = int(fields[1])
    found, more = set[int](), {pid}
    while more:
        more = {child for child, parent in parents.items() if parent in more}
        found |= more
    return found


def state(pid: int) -> list[str]:
    """The fields of ``/proc/PID/stat`` after the name: state, parent, ...; none for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def runs(pid: int) -> bool:
    return bool(fields := state(pid)) and fields[0] not in "ZX"


def await_hanging(told: Path, count: int, driver: subprocess.Popen[str]) -> None:
    while len(list(told.iterdir())) < count:
        assert driver.poll() is None, driver.communicate()
        time.sleep(0.02)


@pytest.fixture
def killed() -> Iterator[list[subprocess.Popen[str]]]:
    """Drivers that shall not outlive a test that failed."""
    drivers: list[subprocess.Popen[str]] = []
    yield drivers
    for driver in drivers:
        driver.kill()
        driver.communicate()


@pytest.mark.parametrize(
    ("how", "workers", "hanging"), [("hang", 1, 1), ("hang-c", 1, 1), ("hang-on", 1, 1), ("hang", 2, 3)]
)
def test_a_second_ctrl_c_ends_an_environment_that_hangs(
    tmp_path: Path, killed: list[subprocess.Popen[str]], how: str, workers: int, hanging: int
) -> None:
    """On Ray, two actors and the head start hang. The first signal asks, the second one is obeyed."""
    driver = started(collecting(tmp_path / "store", tmp_path / "told", how, workers))
    killed.append(driver)
    await_hanging(tmp_path / "told", hanging, driver)
    children = descendants(driver.pid)
    driver.send_signal(signal.SIGINT)
    time.sleep(1)
    assert driver.poll() is None, "the first one waits for the episodes in hand"
    driver.send_signal(signal.SIGINT)
    _, errors = driver.communicate()
    assert driver.returncode == 130 and "Traceback" not in errors, errors
    assert errors.splitlines()[-1].startswith(("factory: interrupted", "factory: stopped where it was")), errors
    while any(map(runs, children)):
        time.sleep(0.05)


def test_nothing_outlives_a_driver_killed_with_9(tmp_path: Path, killed: list[subprocess.Popen[str]]) -> None:
    """The head start and two actors hang; they, and all of Ray, end with the driver."""
    driver = started(collecting(tmp_path / "store", tmp_path / "told", "hang", 2))
    killed.append(driver)
    await_hanging(tmp_path / "told", 3, driver)
    children = descendants(driver.pid)
    assert len(children) >= 3 and {int(file.name) for file in (tmp_path / "told").iterdir()} <= children
    driver.kill()
    while any(map(runs, children)):
        time.sleep(0.05)


def test_the_head_start_ends_with_its_driver_and_what_it_committed_stays(
    tmp_path: Path, killed: list[subprocess.Popen[str]]
) -> None:
    path = tmp_path / "store"
    driver = started([sys.executable, "-m", "tests.support.collecting", str(path), "100000", "2"])
    killed.append(driver)
    while not (path / "log").exists() or not any(log.read_text().count("\n") > 1 for log in path.glob("log/*.jsonl")):
        assert driver.poll() is None, driver.communicate()
        time.sleep(0.01)
    children = descendants(driver.pid)
    os.kill(driver.pid, signal.SIGKILL)
    while any(map(runs, children)):
        time.sleep(0.05)
    assert Store(path).spec == small_run().spec and Store(path).rows > 0
    assert not verify(path).faults
