"""What ends cleanly: ``brain live`` with pygame, ``brain plan`` while it records, and a training on a full disk."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from shared.store.reader import Store
from tests import ROOT
from tests.support.disks import tmpfs

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
PATHED = ENVIRONMENT | {"PYTHONPATH": str(ROOT)}
"""For commands that are run elsewhere."""
SMALL = ["--set", "encoder.dim=16", "--set", "encoder.width=8", "--set", "objective.batch=16", "--steps", "2"]


def brain(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "brain.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a world that pygame draws."""
    store, run = tmp_path_factory.mktemp("live") / "store", tmp_path_factory.mktemp("live") / "run"
    collect = [sys.executable, "-m", "factory.cli", "collect", "--world", "MountainCar-v0", "--local", "--quiet"]
    collect += ["--frame-size", "16", "--episodes", "16", "--max-episode-steps", "50", "--store", str(store)]
    assert subprocess.run(collect, cwd=ROOT, env=ENVIRONMENT, capture_output=True).returncode == 0
    for stage in ("encoder", "predictor"):
        done = brain("train", "--store", store, "--run", run, "--stage", stage, "--quiet", *SMALL)
        assert done.returncode == 0, done.stderr
    return run


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_live_ends_while_pygame_draws_and_a_page_is_open(run: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "brain.cli", "live", "--run", str(run), "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as live:
        assert live.stdout is not None
        address = live.stdout.readline().strip()
        try:
            asyncio.run(_watch_and_signal(address, live, number))
        except BaseException:
            live.kill()
            raise
        assert live.returncode == 0


async def _watch_and_signal(address: str, live: subprocess.Popen[str], number: signal.Signals) -> None:
    """Look at two moments, so that the world has been drawn; then send the signal and keep the page open."""
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{address}live") as page:
        moments = 0
        while moments < 2:
            message = await page.receive()
            assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT), message
            moments += message.type == aiohttp.WSMsgType.BINARY
        live.send_signal(number)
        while live.poll() is None:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_planner_that_is_stopped_keeps_the_episodes_it_recorded(number: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "brain.cli", "plan", "--pretrained", "two-room", "--planner", "shooting"]
    command += ["--set", "samples=4", "--set", "horizon=2", "--episodes", "500", "--record", str(tmp_path / "store")]
    with subprocess.Popen(command, cwd=tmp_path, env=PATHED, stderr=subprocess.PIPE, text=True) as plan:
        assert plan.stderr is not None
        for line in plan.stderr:
            if "episode 3 of 500" in line:
                plan.send_signal(number)
                break
        plan.stderr.read()
    assert plan.returncode == 130
    assert len(Store(tmp_path / "store").episodes) >= 3


def test_a_full_disk_while_training_is_one_line_and_the_next_call_goes_on(tmp_path: Path, dots: Path) -> None:
    with tmpfs(tmp_path / "disk", "size=60k") as disk:
        train = ["train", "--store", dots, "--run", disk / "run", "--quiet", "--stage", "encoder", *SMALL]
        done = brain(*train)
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
        assert "cannot write" in done.stderr and "No space left on device" in done.stderr
        assert "encoder" in done.stderr and not list((disk / "run").glob("*.partial"))
        subprocess.run(["mount", "-o", "remount,size=50m", disk], check=True)
        done = brain(*train)
        assert done.returncode == 0, done.stderr
        assert (disk / "run" / "encoder.safetensors").exists()


def test_a_seed_that_torch_cannot_take_is_refused(dots: Path, tmp_path: Path) -> None:
    done = brain("train", "--store", dots, "--run", tmp_path / "run", "--seed", str(2**63), *SMALL)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and str(2**63 - 1) in done.stderr, done.stderr
    assert not (tmp_path / "run").exists()
