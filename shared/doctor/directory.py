"""Checks of the shared directory: the properties that the store's commit protocol relies on (``docs/store.md``)."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from shared.doctor import witness
from shared.doctor.finding import Finding, tried
from shared.doctor.mount import MEMORY, clock, file_system, mount_of, sectors_written

LEAST_FREE = 500 << 20
LITTLE_FREE = 10 << 30
"""Free bytes below which a long run will fail, or deserves a warning."""
BULK = 16 << 20
"""Bytes written to measure speed."""
REPLACEMENTS = 150
APPENDS = 40
SLOW_COMMIT = 0.2
"""Seconds per append with fsync above which commits (about 12 of them) become noticeable."""
SLOW_BULK = 10e6
"""Bytes per second: a factory of 32 workers writes about 5 MB/s of CarRacing."""
NEEDS = "use a local disk, NFS (hard) or sshfs with an OpenSSH server: see deploy/README.md"


def directory(path: Path, writes: bool) -> Iterator[Finding]:
    """Findings on ``path``. A box that only reads (``writes`` False) may have it read-only.

    Makes a hidden folder in it and removes it; takes a few seconds and 16 MiB.
    """
    if not path.is_dir():
        found = f"{path} is a file" if path.exists() else f"{path} does not exist"
        yield Finding("directory", "bad", found, "mount the shared directory, or make it with mkdir -p")
        return
    yield from file_system(path)
    yield _space(path, writes)
    folder = path / f".doctor-{secrets.token_hex(4)}"
    try:
        folder.mkdir()
    except OSError as error:
        found = f"cannot write there: {error.strerror}"
        if writes:
            yield Finding("writing", "bad", found, "mount it rw and give this user the right to write")
        else:
            advice = "enough to read a store; give brain train a --run folder elsewhere"
            yield Finding("writing", "warning", found, advice)
        return
    try:
        for name, probe in PROBES.items():
            room = folder / name.replace(" ", "-")
            yield tried(name, lambda room=room, probe=probe: _in(room, probe), NEEDS)  # type: ignore[misc]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _in(room: Path, probe: Callable[[Path], Finding]) -> Finding:
    room.mkdir()
    try:
        return probe(room)
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _space(path: Path, writes: bool) -> Finding:
    of = os.statvfs(path)
    free = of.f_bavail * of.f_frsize
    found = f"{free / 1e9:,.1f} of {of.f_blocks * of.f_frsize / 1e9:,.1f} GB free"
    if of.f_files and of.f_favail < 10_000:
        return Finding(
            "space", "bad", f"{found}, {of.f_favail:,} files", "free inodes: a million frames are 1,500 files"
        )
    if free < LEAST_FREE and writes:
        return Finding("space", "bad", found, "free some, or use another disk: a million CarRacing frames are 1.25 GB")
    if free < LITTLE_FREE:
        return Finding("space", "warning", found, "factory collect --dry-run says what a run needs")
    return Finding("space", "ok", found)


def _speed(room: Path) -> Finding:
    """Write, sync and read back; and, where a block device can be asked, whether fsync reached it."""
    data = os.urandom(BULK)
    file = room / "bulk"
    before = sectors_written(room)
    started = time.perf_counter()
    _write(file, data)
    written = time.perf_counter() - started
    after = sectors_written(room)
    started = time.perf_counter()
    same = file.read_bytes() == data
    read = time.perf_counter() - started
    found = f"writes {BULK / 1e6 / written:,.0f} MB/s with fsync, reads {BULK / 1e6 / read:,.0f} MB/s (may be cached)"
    if not same:
        return Finding("speed", "bad", "what is read is not what was written", "do not use this disk: " + NEEDS)
    if before is not None and after is not None and 512 * (after - before) < BULK // 2:
        return Finding("speed", "bad", f"{found}; fsync returns before the bytes are on the disk", _LYING)
    if BULK / written < SLOW_BULK:
        return Finding("speed", "warning", found, "enough for a few workers: a faster disk or network helps")
    return Finding("speed", "ok", found)


_LYING = "remove what disables fsync (eatmydata, LD_PRELOAD, a disk cache): a power cut would lose commits"


def _fsync(room: Path) -> Finding:
    """Append a line and fsync it, as a commit does; and fsync the directory."""
    seconds = []
    fd = os.open(room / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL)
    try:
        for n in range(20):
            started = time.perf_counter()
            os.write(fd, witness.line(n))
            os.fsync(fd)
            seconds.append(time.perf_counter() - started)
    finally:
        os.close(fd)
    median = statistics.median(seconds)
    found = f"append and fsync take {1e3 * median:.1f} ms (slowest {1e3 * max(seconds):.1f})"
    kind = mount_of(room).kind
    try:
        _sync_folder(room)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        advice = "a power cut of the server may lose the newest names; verify and collect repair that"
        return Finding("fsync", "warning", f"{found}; folders cannot be synced", advice)
    if kind in MEMORY:
        return Finding("fsync", "warning", f"{found}; means nothing on {kind}", "nothing here survives a restart")
    if median > SLOW_COMMIT:
        return Finding("fsync", "warning", found, "commits wait for it: longer shards, or a disk with less latency")
    return Finding("fsync", "ok", found)


def _replace(room: Path) -> Finding:
    """Replace a file by rename while another process reads it continuously; rename a folder once."""
    _write(room / "replaced", witness.generation(0))
    with _second("replace", room) as answer:
        started = time.perf_counter()
        for n in range(1, REPLACEMENTS + 1):
            _write(room / "new", witness.generation(n), sync=False)
            (room / "new").rename(room / "replaced")
        each = (time.perf_counter() - started) / REPLACEMENTS
    seen = answer()
    (room / "staging").mkdir()
    _write(room / "staging" / "zarr.json", b"{}")
    (room / "staging").rename(room / "stream")
    if not (room / "stream" / "zarr.json").exists():
        return Finding("atomic replace", "bad", "a renamed folder lost its file", NEEDS)
    wrong = {name: seen[name] for name in ("absent", "torn", "older") if seen[name]}
    if wrong:
        counts = ", ".join(f"{name} {count} times" for name, count in wrong.items())
        found = f"while it was replaced, another process found the file {counts}"
        return Finding("atomic replace", "bad", found, NEEDS)
    return Finding(
        "atomic replace", "ok", f"{REPLACEMENTS} times, {1e3 * each:.1f} ms each, {seen['whole']} whole reads"
    )


def _exclusive(room: Path) -> Finding:
    """Two processes race to create the same names: for each name exactly one may succeed."""
    ours = []
    with _second("race", room, ready=False) as answer:
        for n in range(witness.RACES):
            (room / f"go.{n}").touch()
            if witness.create_exclusively(room / f"race.{n}"):
                ours.append(n)
    theirs = answer()["won"]
    if sorted(ours + theirs) != list(range(witness.RACES)):
        found = f"{len(ours)} and {len(theirs)} of {witness.RACES} creations were said to be the first"
        return Finding("exclusive create", "bad", found, NEEDS)
    return Finding("exclusive create", "ok", f"{witness.RACES} races of two processes, one winner each")


def _append(room: Path) -> Finding:
    """Whether and when another process sees lines that are appended and synced."""
    appended = []
    fd = os.open(room / "appended", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL)
    try:
        with _second("append", room) as answer:
            for n in range(APPENDS):
                os.write(fd, witness.line(n))
                os.fsync(fd)
                appended.append(time.time())
                time.sleep(0.005)
            time.sleep(0.1)
    finally:
        os.close(fd)
    seen = answer()
    came = seen["came"]
    if seen["wrong"]:
        return Finding("append", "bad", f"another process read wrong bytes {seen['wrong']} times", NEEDS)
    if len(came) < APPENDS:
        return Finding("append", "bad", f"another process saw {len(came)} of {APPENDS} lines", NEEDS)
    late = max(0.0, max(there - here for here, there in zip(appended, came)))
    found = f"another process on this box sees each line within {1e3 * late:.0f} ms"
    if late > 3:
        return Finding("append", "warning", found, "shorter attribute caches let the trainer follow closely")
    return Finding("append", "ok", found)


def _links(room: Path) -> Finding:
    _write(room / "one", b"x")
    try:
        os.link(room / "one", room / "two")
    except OSError as error:
        advice = "factory merge will copy; let one process create a store before others join"
        return Finding("hard links", "warning", f"there are none: {error.strerror}", advice)
    same = (room / "one").stat().st_nlink == 2 or (room / "two").read_bytes() == b"x"
    return Finding("hard links", "ok" if same else "bad", "work" if same else "a link has other content")


def _clock(room: Path) -> Finding:
    return clock(room / "time")


PROBES: dict[str, Callable[[Path], Finding]] = {
    "speed": _speed,
    "fsync": _fsync,
    "atomic replace": _replace,
    "exclusive create": _exclusive,
    "append": _append,
    "hard links": _links,
    "clock": _clock,
}


def _write(file: Path, data: bytes, sync: bool = True) -> None:
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def _sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def _second(role: str, room: Path, ready: bool = True) -> Iterator[Callable[[], dict[str, Any]]]:
    """Run a witness during the block, then stop it; the yielded function returns its answer."""
    command = [sys.executable, "-m", "shared.doctor.witness", role, str(room.absolute()), str(os.getpid())]
    root = Path(__file__).parent.parent.parent
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said: list[str] = []

    def answer() -> dict[str, Any]:
        result: dict[str, Any] = json.loads(said[0])
        return result

    try:
        while ready and not (room / "ready").exists() and process.poll() is None:
            time.sleep(0.01)
        yield answer
        (room / "stop").touch()
        out, err = process.communicate(timeout=2 * witness.PATIENCE)
        if process.returncode:
            raise OSError(errno.EIO, f"the second process failed: {(err.strip().splitlines() or ['?'])[-1]}")
        said.append(out)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
