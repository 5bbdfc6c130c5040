"""A container's user: a number without a name, without a home directory, who may write to one folder and /tmp only."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory.cluster.session import LONGEST_TEMPORARY, _temporary, check_listening
from shared.errors import TinyJEPAError
from shared.store.reader import Store
from tests import ROOT
from tests.support import misbehaving
from tests.support.dots import make_dot_store

NUMBER = "4242"


def as_nobody(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user without a name, with no environment but ``environment``; it may read everything."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv")
    user = ["setpriv", "--reuid", NUMBER, "--regid", NUMBER, "--clear-groups"]
    user += ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    given = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", **environment}
    words = [*user, sys.executable, "-m", *map(str, command)]
    return subprocess.run(words, cwd=ROOT, env=given, capture_output=True, text=True)


@pytest.fixture
def room() -> Iterator[Path]:
    """A folder that everybody may write to; pytest's own are for their owner alone."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o777)
        yield Path(name)


@pytest.mark.parametrize("home", [{}, {"HOME": "/"}, {"HOME": "/nowhere/at/all"}])
def test_collecting_works(room: Path, home: dict[str, str]) -> None:
    arguments = ["--world", misbehaving.ID, "--frame-size", "16", "--quiet", "--store", room / "store"]
    done = as_nobody("factory.cli", "collect", "--local", "--frames", "100", *arguments, **home)
    assert done.returncode == 0, done.stderr
    assert Store(room / "store").rows >= 100


@pytest.mark.parametrize("home", [{}, {"HOME": "/"}])
def test_collecting_on_ray_works(room: Path, home: dict[str, str]) -> None:
    arguments = ["--world", misbehaving.ID, "--frame-size", "16", "--quiet", "--store", room / "store"]
    done = as_nobody("factory.cli", "collect", "--workers", "2", "--frames", "2000", *arguments, **home)
    assert done.returncode == 0, done.stderr
    assert Store(room / "store").rows >= 2000


@pytest.mark.parametrize("home", [{}, {"HOME": "/"}])
def test_training_reporting_and_doctors_work(room: Path, home: dict[str, str]) -> None:
    store, run = make_dot_store(room / "dots"), room / "run"
    small = ["--set", "encoder.dim=16", "--set", "encoder.width=8", "--set", "objective.batch=16", "--steps", "2"]
    for command in (
        ["brain.cli", "train", "--store", store, "--run", run, "--quiet", *small],
        ["brain.cli", "report", "--run", run],
        ["factory.cli", "doctor", "--store", room],
    ):
        done = as_nobody(*command, **home)
        assert done.returncode == 0 and "Traceback" not in done.stderr, done.stdout + done.stderr
    assert (run / "report.html").exists()


def test_a_long_temporary_folder_does_not_stop_ray(tmp_path: Path) -> None:
    """A Unix socket's path has 107 letters at most."""
    long = tmp_path / ("x" * 90)
    long.mkdir()
    command = [sys.executable, "-m", "factory.cli", "collect", "--workers", "2", "--frames", "2000"]
    command += ["--world", misbehaving.ID, "--frame-size", "16", "--quiet", "--store", str(tmp_path / "store")]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "TMPDIR": str(long)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Store(tmp_path / "store").rows >= 2000


def test_rays_folder_is_short_and_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    for named in (str(tmp_path / ("y" * 60)), "/proc/1", "/tmp"):
        monkeypatch.setenv("TMPDIR", named)
        found = _temporary()
        assert len(found) <= LONGEST_TEMPORARY and os.access(found, os.W_OK) and not found.startswith("/proc")
    assert _temporary() == "/tmp/ray"


def test_ipv6_addresses_are_reached_and_need_brackets() -> None:
    with pytest.raises(TinyJEPAError, match=r"in brackets, as in \[::1\]:6379"):
        check_listening("::1:6379")
    try:
        listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    port = listening.getsockname()[1]
    with listening:
        check_listening(f"[::1]:{port}")
        check_listening(f"ray://[::1]:{port}")
    with pytest.raises(TinyJEPAError, match=rf"no Ray cluster answers at \[::1\]:{port}"):
        check_listening(f"[::1]:{port}")
