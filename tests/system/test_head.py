"""Ray's head killed with -9 under a collection: one line, exit code 2, nothing lost, and the same command goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared.store.reader import Store
from shared.store.verify import verify
from shared.store.writer import host_name
from tests.factory.test_collect import ROOT, await_commits


@pytest.mark.parametrize("hangs", [False, True], ids=["answers", "hangs"])
def test_a_port_that_closes_ends_the_process(hangs: bool) -> None:
    """Whether its main thread gets to hear of it, or hangs in a call into Ray."""
    code = (
        "import socket, sys, time; from factory.cluster.head import Head; from shared.errors import TinyJEPAError\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "head = Head('127.0.0.1:%d' % server.getsockname()[1])\n"
        "time.sleep(1.5); head.check(); server.close()\n"
        "while True:\n"
        "    time.sleep(0.1)\n"
        f"    if not {hangs}:\n"
        "        try: head.check()\n"
        "        except TinyJEPAError as error: print(error, file=sys.stderr); head.close(); sys.exit(2)\n"
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stderr.count("is gone") == 1, done.stderr
    assert time.monotonic() - started < 40


@pytest.mark.skipif("TINYJEPA_HEAD_TEST" not in os.environ, reason="starts and kills a Ray: set TINYJEPA_HEAD_TEST=1")
def test_a_killed_head_ends_the_collection_with_one_line(tmp_path: Path) -> None:
    store = tmp_path / "store"
    command = [sys.executable, "-m", "factory.cli", "collect", "--frame-size", "16", "--max-episode-steps", "40"]
    command += ["--store", str(store), "--quiet", "--frames"]
    log = store / f"collect-{host_name()}.log"
    with subprocess.Popen(
        [*command, "4000000", "--workers", "2"], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as driver:
        while not log.exists() or "is at work" not in log.read_text():
            assert driver.poll() is None, driver.communicate()
            time.sleep(0.1)
        await_commits(store, 2, driver)
        os.kill(_head_of(driver.pid), signal.SIGKILL)
        killed = time.monotonic()
        _, errors = driver.communicate(timeout=60)
        seconds = time.monotonic() - killed
    print(f"ended {seconds:.1f} s after the kill: {errors}")
    assert driver.returncode == 2 and seconds < 30, errors
    said = [line for line in errors.splitlines() if line.startswith("factory: error: ")]
    assert len(said) == 1 and re.search(r"the Ray head at \S+:\d+ is gone .*what is committed stays", said[0]), errors
    assert "ERROR    ended after" in log.read_text() or "the Ray head at" in log.read_text()
    kept = Store(store)
    assert kept.rows > 0 and not verify(store).faults
    done = subprocess.run([*command, str(kept.rows + 200), "--local"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and Store(store).rows >= kept.rows + 200, done.stderr


def _head_of(driver: int) -> int:
    """The process of Ray's head (its control store) that a driver has started."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
                status = (entry / "status").read_text()
            except OSError:
                continue
            if b"gcs_server" in line.split(b"\0")[0] and f"PPid:\t{driver}\n" in status:
                return int(entry.name)
    raise AssertionError("no head")
