"""Two collections of one run at once: the second is refused, and nothing that was killed stands in the way."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from factory.collecting.collect import collect
from factory.collecting.job import Job
from shared.errors import TinyJEPAError
from shared.store.claim import Claim
from shared.store.dataset import create_store
from shared.store.reader import Store
from shared.store.verify import verify
from tests import ROOT
from tests.support.collecting import small_run


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that collects the small run into ``tmp_path/store``, and has begun."""
    path = tmp_path / "store"
    command = [sys.executable, "-m", "tests.support.collecting", str(path), "10000000", "1"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as driver:
        while not list(path.glob("log/*.jsonl")):
            assert driver.poll() is None, driver.communicate()
            time.sleep(0.01)
        yield driver
        driver.kill()


def test_the_second_is_refused_and_told_who(busy: subprocess.Popen[str], tmp_path: Path) -> None:
    path = tmp_path / "store"
    with pytest.raises(TinyJEPAError) as caught:
        collect(path, small_run(), 1_000_000)
    assert f"process {busy.pid} on" in str(caught.value) and str(path) in str(caught.value)
    assert "\n" not in str(caught.value) and len(Store(path).streams) == 1, "it made no stream"
    spec, run = small_run()
    assert collect(path, Job(spec, replace(run, seed=6)), 50, append=True).new_frames > 0, "another run is free"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_restart_is_not_blocked(busy: subprocess.Popen[str], tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "store"
    busy.send_signal(number)
    busy.wait()
    assert len(list(path.glob("*.lock"))) == (number == signal.SIGKILL), "left behind, and in nobody's way"
    rows = Store(path).rows
    assert collect(path, small_run(), rows + 50).new_frames > 0
    assert not list(path.glob("*.lock")) and verify(path).unknown == []
    assert [ref.index for ref in Store(path).episodes] == list(range(len(Store(path).episodes)))


def test_within_one_process_too_and_a_claim_ends_with_its_block(tmp_path: Path) -> None:
    spec, run = small_run()
    create_store(tmp_path, spec)
    for _ in range(2):
        with Claim(tmp_path, run):
            with pytest.raises(TinyJEPAError, match="another collection makes this run"), Claim(tmp_path, run):
                raise AssertionError("two owners")
            with Claim(tmp_path, replace(run, policy="uniform")):
                assert len(list(tmp_path.glob("collect-*.lock"))) == 2
            assert verify(tmp_path).unknown == []
    assert not list(tmp_path.glob("*.lock"))
    (tmp_path / "collect-00000000.lock").write_text("not ours")
    assert collect(tmp_path, small_run(), 50).new_frames > 0


def test_many_at_the_same_moment_make_each_episode_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.collecting", str(tmp_path / "store"), "600", "1"]
    drivers = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(4)
    ]
    said = [driver.communicate()[0] for driver in drivers]
    good = [driver.returncode == 0 for driver in drivers]
    assert any(good) and all(fine or "another collection makes this run" in words for fine, words in zip(good, said))
    store = Store(tmp_path / "store")
    assert sum(len(stream.episodes) for stream in store.streams.values()) == len(store.episodes)


def test_a_finished_run_needs_no_claim(tmp_path: Path) -> None:
    collect(tmp_path, small_run(), 50)
    with Claim(tmp_path, small_run().run):
        assert collect(tmp_path, small_run(), 50).new_frames == 0
