"""A disk that is full, in earnest: ``factory collect`` on a small file system of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory.collecting.collect import collect
from shared.store.reader import Store
from shared.store.verify import verify
from tests.factory.test_collect import ROOT, assert_same_episodes
from tests.support.collecting import small_run

FRAMES = 2_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 300 kB."""
    path = tmp_path / "disk"
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "none", path], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system of our own here: {done.stderr.strip() or 'mount is not allowed'}")
    yield path
    subprocess.run(["umount", path], check=True)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_full_disk_stops_with_one_line_and_goes_on_when_there_is_room(small_disk: Path, workers: str) -> None:
    store = small_disk / "store"
    command = [sys.executable, "-m", "tests.support.collecting", str(store), str(FRAMES), workers]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0 and f"cannot write to {store}: No space left on device" in done.stderr
    kept = Store(store)
    assert kept.rows > 0
    for ref in kept.episodes:
        kept.read_episode(ref)
    assert not verify(store).faults
    subprocess.run(["mount", "-o", "remount,size=50m", small_disk], check=True)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    collect(small_disk / "undisturbed", small_run(), FRAMES)
    assert_same_episodes(store, small_disk / "undisturbed")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting needs root")
def test_the_command_says_it_in_one_line(small_disk: Path) -> None:
    command = [sys.executable, "-m", "factory.cli", "collect", "--local", "--quiet", "--store", str(small_disk / "s")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "No space left on device" in done.stderr and "rerun the command to resume" in done.stderr
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "Read-only file system" in done.stderr, done.stderr
