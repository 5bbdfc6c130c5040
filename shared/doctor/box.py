"""Checks of the machine: cores, memory, Python and libraries, Box2D."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from shared.cores import usable_cores
from shared.doctor.finding import Finding

WORKER_BYTES = 110 << 20
"""Memory of a simulator with Python and its libraries (``docs/collecting.md``)."""
COMMON = ("numpy", "zarr", "numcodecs", "gymnasium", "opencv-python-headless", "pydantic")


def box(libraries: Sequence[str]) -> Iterator[Finding]:
    """Cores, memory, Python, and the versions of what is installed; ``libraries`` beside the common ones."""
    yield _cores()
    yield _memory()
    yield _python()
    yield from _versions((*COMMON, *libraries))


def box2d() -> Finding:
    """Whether Box2D can be imported and steps; in a process of its own, since a bad build may crash."""
    code = (
        "import Box2D; w = Box2D.b2World(gravity=(0, -10)); b = w.CreateDynamicBody(position=(0, 4));"
        "b.CreatePolygonFixture(box=(1, 1), density=1.0);"
        "[w.Step(1 / 60, 6, 2) for _ in range(10)]; assert b.position.y < 4; print(Box2D.__version__)"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=60)
    if done.returncode == 0:
        return Finding("Box2D", "ok", f"version {done.stdout.strip()}, a body falls")
    last = (done.stderr.strip().splitlines() or [f"it ended by signal {-done.returncode}"])[-1]
    advice = "pip install --force-reinstall --no-cache-dir 'gymnasium[box2d]' (car-racing and other physics need it)"
    return Finding("Box2D", "bad", last, advice)


def _cores() -> Finding:
    cores = usable_cores()
    load = os.getloadavg()[0]
    found = f"{cores} usable of {os.cpu_count()}, load {load:.1f}"
    if load > 1.5 * cores:
        return Finding("cores", "warning", found, "other processes use them: end those, or expect less speed")
    return Finding("cores", "ok", found)


def memory_bytes() -> tuple[int, int]:
    """(total, available) bytes, of the box or of the control group that limits this process."""
    text = Path("/proc/meminfo").read_text(encoding="ascii")
    kilobytes = {match[1]: int(match[2]) for match in re.finditer(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
    total, available = kilobytes["MemTotal"] << 10, kilobytes["MemAvailable"] << 10
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and used.exists() and (most := limit.read_text().strip()).isdigit():
        total = min(total, int(most))
        available = min(available, int(most) - int(used.read_text()))
    return total, available


def _memory() -> Finding:
    total, available = memory_bytes()
    cores = usable_cores()
    need = (cores + 2) * WORKER_BYTES
    found = f"{available / 1e9:,.1f} of {total / 1e9:,.1f} GB free"
    if available < need:
        workers = max(1, available // WORKER_BYTES - 2)
        return Finding("memory", "warning", found, f"enough for about --workers {workers}: free some, or use fewer")
    return Finding("memory", "ok", found)


def _python() -> Finding:
    found = f"{platform.python_version()} on {platform.system()} {platform.release()}, {platform.machine()}"
    if (3, 11) <= sys.version_info < (3, 14):
        return Finding("Python", "ok", found)
    return Finding("Python", "bad", found, "make the virtual environment with Python 3.11, 3.12 or 3.13")


def _versions(names: Sequence[str]) -> Iterator[Finding]:
    there, missing = [], []
    for name in names:
        try:
            there.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    yield Finding("libraries", "ok", ", ".join(there) or "none")
    if missing:
        yield Finding("libraries", "bad", f"{', '.join(missing)} missing", "pip install -c constraints.txt '.[all]'")
