"""A recording disk: every write and flush in order, and the states in which a power cut can leave it.

The disk is one file, ``disk``, in a FUSE file system of our own, with a loop device and a file system of the kernel on
it. A flush of the loop device (what an ``fsync`` above ends in) arrives here as ``fsync`` of that file. Beside it lie
``told-0`` to ``told-9``: what a process writes to the beginning of its own (less than a page) is an acknowledgement,
and stands in the same order. The method is that of the kernel's dm-log-writes and of CrashMonkey (Mohan et al., OSDI
2018), without a kernel module.

``python -m benchmarks.recording_disk MOUNT IMAGE LOG`` is the process that serves it, until it is unmounted.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

WRITE, FLUSH, TOLD = 1, 2, 3
ENTRY = struct.Struct("<BQI")
"""Kind, offset and length of a record; its bytes follow."""
SECTOR = 4096
"""What a disk writes whole: a longer write may be torn between two."""
FORMAT = {"ext4": ("mkfs.ext4", "-q", "-F"), "xfs": ("mkfs.xfs", "-q", "-f"), "btrfs": ("mkfs.btrfs", "-q", "-f")}
MEGABYTES = {"ext4": 64, "xfs": 320, "btrfs": 160}
"""How large a disk is; the last two take no smaller one."""
LAZY = dict.fromkeys(("ext4", "btrfs"), ("-o", "commit=3600"))
"""Mount options: only an ``fsync`` makes anything durable, not the kernel's timer (5 s in ext4)."""
NAMES = ("/disk", *(f"/told-{i}" for i in range(10)))


class Entry(NamedTuple):
    kind: int
    offset: int
    data: bytes


def lacking(kind: str = "ext4") -> str:
    """Why there can be no such disk here, in words, or nothing."""
    if os.geteuid() != 0:
        return "it needs root"
    if missing := [name for name in ("losetup", "blockdev", FORMAT[kind][0], "mount") if shutil.which(name) is None]:
        return f"{' and '.join(missing)} must be installed"
    if not Path("/dev/fuse").exists():
        return "there is no /dev/fuse"
    try:
        import mfusepy  # noqa: F401
    except (ImportError, OSError) as error:  # OSError: no libfuse
        return f"pip install mfusepy, and libfuse3 ({error})"
    try:
        with tempfile.TemporaryDirectory() as folder:
            image = Path(folder) / "tried"
            with image.open("wb") as empty:
                empty.truncate(8 << 20)
            _run(*FORMAT["ext4"], str(image))
            with powered_up(Path(folder), bytearray(image.read_bytes())):
                pass
    except RuntimeError as error:
        return f"no loop devices or no mounts here ({error})"
    return ""


def serve(mount: Path, image: Path, log: Path) -> None:
    """Serve ``disk`` (kept in ``image``) and ``told-*`` at ``mount``, record into ``log``; returns when unmounted."""
    import mfusepy

    size = image.stat().st_size
    # Unbuffered: a server that had to be killed has recorded everything all the same.
    with image.open("r+b", buffering=0) as file, log.open("wb", buffering=0) as record:

        class Disk(mfusepy.Operations):  # type: ignore[misc]  # it has no types
            def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
                if path == "/":
                    return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
                if path not in NAMES:
                    raise mfusepy.FuseOSError(errno.ENOENT)
                return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": size if path == "/disk" else 0}

            def readdir(self, path: str, fh: int) -> list[str]:
                return [".", "..", *(name.removeprefix("/") for name in NAMES)]

            def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
                return os.pread(file.fileno(), size, offset)

            def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
                record.write(ENTRY.pack(WRITE if path == "/disk" else TOLD, offset, len(data)) + data)
                return os.pwrite(file.fileno(), data, offset) if path == "/disk" else len(data)

            def fsync(self, path: str, datasync: int, fh: int) -> int:
                record.write(ENTRY.pack(FLUSH, 0, 0))
                return 0

            def truncate(self, path: str, length: int, fh: int | None = None) -> int:
                return 0

        mfusepy.FUSE(Disk(), str(mount), foreground=True, nothreads=True, raw_fi=False)


@contextlib.contextmanager
def recorded(folder: Path, kind: str) -> Iterator[tuple[Path, Path]]:
    """A file system of ``kind`` on such a disk: (its mount point, the folder of ``told-*``).

    Afterwards ``folder/log`` holds the record.

    Raises ``RuntimeError`` with the reason where it cannot be made.
    """
    served, image, log, point = folder / "served", folder / "image", folder / "log", folder / "mounted"
    for path in (served, point):
        path.mkdir()
    with image.open("wb") as empty:
        empty.truncate(MEGABYTES[kind] << 20)
    command = [sys.executable, "-m", "benchmarks.recording_disk", str(served), str(image), str(log)]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        until = time.monotonic() + 120
        while not (served / "disk").exists():
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"no FUSE here: {(server.stderr.read() if server.stderr else '').strip()[-200:]}")
            time.sleep(0.05)
        with _loop_device(served / "disk") as device:
            _run(*FORMAT[kind], device)
            _run("mount", *LAZY.get(kind, ()), device, str(point))
            try:
                yield point, served
            finally:
                _run("umount", str(point))
    finally:
        # The loop device lets go of its file a moment after it was detached; until then the file system is busy.
        until = time.monotonic() + 30
        while subprocess.run(["umount", str(served)], capture_output=True).returncode and time.monotonic() < until:
            if server.poll() is not None:
                break
            time.sleep(0.1)
        try:
            server.wait(10)  # unmounted, it ends
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        subprocess.run(["umount", "--lazy", str(served)], capture_output=True)  # a mount that lost its server


def read_log(log: Path) -> list[Entry]:
    """The whole record. Raises ``RuntimeError`` where it is cut short."""
    data, entries, at = log.read_bytes(), [], 0
    while at + ENTRY.size <= len(data):
        kind, offset, length = ENTRY.unpack_from(data, at)
        at += ENTRY.size
        if at + length > len(data):
            raise RuntimeError(f"{log} ends within a record")
        entries.append(Entry(kind, offset, data[at : at + length]))
        at += length
    return entries


def crash_states(
    entries: list[Entry], kind: str, cuts: list[int], rng: random.Random
) -> Iterator[tuple[bytearray, list[bytes]]]:
    """For every cut (a number of entries, ascending): the disk after it, and the acknowledgements before it.

    All before the last flush is on the disk. Of each later write every 4,096 bytes are there or not: none of them, all,
    or, in half of the states, each by a throw of a coin.
    """
    durable = bytearray(MEGABYTES[kind] << 20)
    applied, told = 0, []
    for cut in cuts:
        flushed = max((i + 1 for i in range(applied, cut) if entries[i].kind == FLUSH), default=applied)
        for entry in entries[applied:flushed]:
            if entry.kind == WRITE:
                durable[entry.offset : entry.offset + len(entry.data)] = entry.data
            elif entry.kind == TOLD:
                told.append(entry.data)
        applied = flushed
        state, share = bytearray(durable), rng.choice((0.0, 0.5, 0.5, 1.0))
        late = entries[flushed:cut]
        for entry in late:
            for at in range(0, len(entry.data), SECTOR) if entry.kind == WRITE else ():
                if rng.random() < share:
                    piece = entry.data[at : at + SECTOR]
                    state[entry.offset + at : entry.offset + at + len(piece)] = piece
        yield state, told + [entry.data for entry in late if entry.kind == TOLD]


@contextlib.contextmanager
def powered_up(folder: Path, state: bytearray) -> Iterator[Path]:
    """The disk mounted again after the cut, its journal replayed.

    Every state has an image and a loop device of its own. ``mount -o loop`` on an image of the same name would not do:
    while any other process has the last state's loop device open, it is still attached after ``umount``, is used again,
    and shows the last state's metadata, cached, under the new state's promises.

    Raises ``RuntimeError`` where it cannot be mounted, or where the device does not hold ``state``.
    """
    point = folder / "again"
    point.mkdir(exist_ok=True)
    handle, name = tempfile.mkstemp(prefix="crashed-", dir=folder)
    with os.fdopen(handle, "wb") as image:
        image.write(state)
    try:
        with _loop_device(Path(name)) as device:
            if Path(device).read_bytes() != state:
                raise RuntimeError(f"{device} does not show the disk it was given: a fault of this harness")
            _run("mount", device, str(point))
            try:
                yield point
            finally:
                _run("umount", str(point))
    finally:
        Path(name).unlink()


@contextlib.contextmanager
def _loop_device(file: Path) -> Iterator[str]:
    """A loop device on ``file``, with nothing in its cache; afterwards it is detached."""
    device = _run("losetup", "--find", "--show", str(file)).strip()
    try:
        _run("blockdev", "--flushbufs", device)
        yield device
    finally:
        _run("losetup", "--detach", device)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    serve(*(Path(argument) for argument in sys.argv[1:4]))
