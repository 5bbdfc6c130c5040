"""``factory doctor`` and ``brain doctor``: on a good directory, and on directories that are bad in earnest."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from brain.doctor import bfloat16
from shared.doctor.directory import directory
from shared.doctor.finding import Finding
from shared.doctor.mount import mount_of
from tests import ROOT
from tests.support import disks


def findings(path: Path, writes: bool = True) -> dict[str, Finding]:
    return {finding.check: finding for finding in directory(path, writes)}


def doctor(program: str, *arguments: str, **environment: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, findings by check, stderr."""
    command = [sys.executable, "-m", f"{program}.cli", "doctor", "--json", *arguments]
    environment = {**os.environ, **environment}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    seen = json.loads(done.stdout)["findings"] if done.stdout else []
    return done.returncode, {finding["check"]: finding for finding in seen}, done.stderr


def test_a_device_that_this_torch_has_no_kernels_for_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*shape: int, **given: Any) -> torch.Tensor:
        raise RuntimeError("HIP error: invalid device function\nmore lines")

    monkeypatch.setattr(torch, "randn", refuse)
    found = bfloat16(torch.device("cpu"))
    assert found.verdict == "bad" and found.found == "cpu: HIP error: invalid device function"
    assert "deploy/README.md" in found.advice


def test_a_good_directory_is_fit_and_left_as_it_was(tmp_path: Path) -> None:
    found = findings(tmp_path)
    assert not [finding for finding in found.values() if finding.verdict == "bad"]
    assert {"speed", "fsync", "atomic replace", "exclusive create", "append", "hard links", "clock"} <= found.keys()
    assert not [*tmp_path.iterdir()]


def test_the_commands_say_it_as_json_and_by_exit_code(tmp_path: Path) -> None:
    private = tmp_path / "token"
    private.write_text("x" * 64)
    private.chmod(0o600)
    code, found, _ = doctor("factory", "--store", str(tmp_path), RAY_AUTH_TOKEN_PATH=str(private))
    assert code == 0 and found["Box2D"]["verdict"] == "ok" and found["Ray token"]["verdict"] == "ok"
    code, found, _ = doctor("brain", "--store", str(tmp_path / "absent"))
    assert code == 1 and "does not exist" in found["directory"]["found"] and found["bfloat16"]["verdict"] == "ok"
    code, _, errors = doctor("brain", "--bogus")
    assert code == 2 and errors.count("\n") == 1


def test_a_token_that_others_can_read_and_a_cluster_that_is_not_there(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    open_to_all = tmp_path / "token"
    open_to_all.write_text("x" * 64)
    open_to_all.chmod(0o644)
    code, found, _ = doctor(
        "factory", "--store", str(tmp_path), "--address", f"127.0.0.1:{port}", RAY_AUTH_TOKEN_PATH=str(open_to_all)
    )
    assert code == 1 and f"chmod 600 {open_to_all}" in found["Ray token"]["advice"]
    assert "no Ray cluster answers" in found["Ray cluster"]["found"]


def test_memory_that_is_tiny_or_full(tmp_path: Path) -> None:
    with disks.tmpfs(tmp_path / "tiny", "size=2m") as tiny:
        found = findings(tiny)
        assert found["space"].verdict == found["speed"].verdict == "bad"
        assert "No space left" in found["speed"].found and found["atomic replace"].verdict == "ok"
        (tiny / "all").write_bytes(b"x" * os.statvfs(tiny).f_bavail * 4096)
        found = findings(tiny)
        assert found["space"].verdict == "bad" and found["fsync"].verdict == "bad"
        assert [path.name for path in tiny.iterdir()] == ["all"]


def test_a_read_only_directory_is_bad_for_a_writer_only(tmp_path: Path) -> None:
    with disks.tmpfs(tmp_path / "fixed", "ro,size=64m") as fixed:
        assert findings(fixed)["writing"].verdict == "bad"
        assert "Read-only" in findings(fixed)["writing"].found
        assert not [each for each in findings(fixed, writes=False).values() if each.verdict == "bad"]


def test_disks_without_hard_links_or_atomic_rename(tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    with disks.sshfs(tmp_path / "good", tmp_path / "served") as good:
        found = findings(good)
        assert mount_of(good).kind == "fuse.sshfs" and found["hard links"].verdict == "ok"
        assert not [str(each) for each in found.values() if each.verdict == "bad" and each.check != "space"]
    with disks.sshfs(tmp_path / "poor", tmp_path / "served", "posix-rename", "hardlink") as poor:
        found = findings(poor)
        assert found["atomic replace"].verdict == "bad"
        assert found["hard links"].verdict == "warning" and "copy" in found["hard links"].advice


def test_fat_has_no_hard_links(tmp_path: Path) -> None:
    with disks.image(tmp_path / "fat", "vfat", 80) as fat:
        found = findings(fat)
        assert found["hard links"].verdict == found["file system"].verdict == "warning"
        assert found["atomic replace"].verdict == "ok"


def probed(probe: str, path: Path, **environment: str) -> str:
    """One probe in a process with another environment."""
    code = f"from shared.doctor.directory import PROBES, Path; print(PROBES[{probe!r}](Path({str(path)!r})))"
    command = [sys.executable, "-c", code]
    environment = {**os.environ, **environment}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100).stdout


def test_an_fsync_that_lies_is_caught(tmp_path: Path) -> None:
    preload = next(Path("/usr/lib").glob("*/libeatmydata.so"), None)
    if preload is None:
        pytest.skip("libeatmydata is not installed")
    with disks.image(tmp_path / "disk", "ext4", 160) as disk:
        assert "before the bytes" not in probed("speed", disk)
        (disk / "bulk").unlink()
        found = probed("speed", disk, LD_PRELOAD=str(preload))
        assert found.startswith("bad") and "before the bytes are on the disk" in found


@pytest.mark.parametrize(("shift", "verdict"), [("+10s", "warning"), ("-300s", "bad")])
def test_clocks_that_differ(tmp_path: Path, shift: str, verdict: str) -> None:
    fake = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if fake is None:
        pytest.skip("libfaketime is not installed")
    found = probed("clock", tmp_path, LD_PRELOAD=str(fake), FAKETIME=shift, NO_FAKE_STAT="1")
    assert found.startswith(verdict), found
