"""The file system under a directory, as the operating system reports it, and the clock of its server."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shared.doctor.finding import Finding

MEMORY = ("tmpfs", "ramfs")
NETWORK = ("nfs", "nfs4", "fuse.sshfs", "cifs", "smb3", "9p", "ceph", "fuse.glusterfs")


@dataclass(frozen=True)
class Mount:
    """One line of ``/proc/self/mountinfo``."""

    kind: str
    point: str
    source: str
    options: frozenset[str]


def mount_of(path: Path) -> Mount:
    """The mount that ``path`` lies in."""
    here = str(path.resolve())
    best = Mount("unknown", "/", "", frozenset())
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        left, _, right = line.partition(" - ")
        point = _plain(left.split()[4])
        inside = here == point or here.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best.point):
            kind, source, options = [*right.split(), "", ""][:3]
            own = left.split()[5].split(",")
            best = Mount(kind, point, _plain(source), frozenset([*own, *options.split(",")]))
    return best


def file_system(path: Path) -> Iterator[Finding]:
    """Its type and the mount options that matter to a store."""
    mount = mount_of(path)
    found = f"{mount.kind} {mount.source} at {mount.point}"
    if mount.kind in MEMORY:
        advice = "a store here is gone after a restart: use a disk"
        yield Finding("file system", "warning", found, advice)
    elif mount.kind.startswith("nfs") and "soft" in mount.options:
        advice = "mount with 'hard': 'soft' turns a short outage into an I/O error in the middle of a write"
        yield Finding("file system", "bad", found + ", soft", advice)
    elif mount.kind.startswith("nfs") and any(re.fullmatch("(nocto|actimeo=[3-9].+)", o) for o in mount.options):
        advice = "mount without 'nocto' and with actimeo of at most 30: readers would not see new log lines"
        yield Finding("file system", "warning", found, advice)
    elif mount.kind in ("vfat", "exfat", "msdos"):
        yield Finding("file system", "warning", found, "use ext4, XFS or Btrfs: FAT has neither journal nor hard links")
    else:
        yield Finding("file system", "ok", found)


def clock(probe: Path) -> Finding:
    """Compare the clock that sets the times of new files with ours. ``probe`` is the name of a new file."""
    skews = []
    for n in range(5):
        file = probe.with_name(f"{probe.name}.{n}")
        before = time.time()
        file.write_bytes(b"x")
        after = time.time()
        skews.append(file.stat().st_mtime - (before + after) / 2)
        file.unlink()
    skew = min(skews, key=abs)
    found = f"files get times {abs(skew):.2f} s {'ahead of' if skew > 0 else 'behind'} this box's clock"
    advice = "run NTP (chrony or systemd-timesyncd) on both boxes"
    if abs(skew) < 2:
        return Finding("clock", "ok", found)
    if abs(skew) < 60:
        return Finding("clock", "warning", found, advice)
    advice += ": the trainer uses timestamps to decide whether a collection has finished"
    return Finding("clock", "bad", found, advice)


def sectors_written(path: Path) -> int | None:
    """Sectors of 512 bytes that the block device under ``path`` has written; None where there is none to ask."""
    device = path.stat().st_dev
    stat = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
    try:
        return int(stat.read_text(encoding="ascii").split()[6])
    except (OSError, IndexError, ValueError):
        return None


def _plain(text: str) -> str:
    """A mountinfo field with its octal escapes undone."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
