"""File systems of our own for tests: each is mounted for real, or the test is skipped with the reason."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

SFTP_SERVER = Path("/usr/lib/openssh/sftp-server")


def need(*programs: str) -> None:
    """Skip without root or one of the programs."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


@contextlib.contextmanager
def mounted(point: Path, *command: str) -> Iterator[Path]:
    """``command point`` mounts; it is unmounted afterwards."""
    point.mkdir()
    done = subprocess.run([*command, str(point)], capture_output=True, text=True, timeout=30)
    if done.returncode:
        pytest.skip(f"no such file system here: {done.stderr.strip() or 'mount is not allowed'}")
    try:
        yield point
    finally:
        subprocess.run(["umount", "-l", point], check=True)


@contextlib.contextmanager
def tmpfs(point: Path, options: str) -> Iterator[Path]:
    need()
    with mounted(point, "mount", "-t", "tmpfs", "-o", options, "none") as path:
        yield path


@contextlib.contextmanager
def image(point: Path, kind: str, megabytes: int) -> Iterator[Path]:
    """A file system of ``kind`` (vfat, ext4) in a file."""
    need(f"mkfs.{kind}", "losetup")
    file = point.with_suffix(".img")
    with file.open("wb") as empty:
        empty.truncate(megabytes << 20)
    subprocess.run([f"mkfs.{kind}", str(file)], check=True, capture_output=True)
    with mounted(point, "mount", "-o", "loop", str(file)) as path:
        yield path


@contextlib.contextmanager
def sshfs(point: Path, folder: Path, *without: str) -> Iterator[Path]:
    """``folder`` by sshfs, served by OpenSSH's sftp-server ``without`` some of its requests; no network."""
    need("sshfs")
    if not SFTP_SERVER.exists():
        pytest.skip("OpenSSH's sftp-server is not installed")
    server = point.with_suffix(".sh")
    denied = f"-P {','.join(without)}" if without else ""
    server.write_text(f"#!/bin/sh\nexec {SFTP_SERVER} {denied}\n")
    server.chmod(0o755)
    with mounted(point, "sshfs", "-o", f"ssh_command={server}", f"localhost:{folder}") as path:
        yield path
