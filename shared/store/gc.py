"""Removing leftovers of killed writers: only files that no log mentions and no writer uses."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import socket
import stat
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from shared.errors import StoreError
from shared.links import refuse_links
from shared.store import layout, lost
from shared.store.files import PARTIAL
from shared.store.log import STREAM_NAME, CommittedStream
from shared.store.reader import Store

CHUNK = re.compile(r"c\.(\d+)(?:\.0)*")
MINUTE, DAY = 60.0, 86_400.0


@dataclass(frozen=True)
class Leftover:
    """A file or folder that is no longer needed."""

    path: Path
    bytes: int
    why: str


def leftovers(path: Path, older_than: float = DAY, named: Collection[str] = ()) -> list[Leftover]:
    """What can go, in the store at ``path``.

    Streams that have complete shards and lost their log stay, unless they are ``named``. So do a stream whose log is
    damaged, and shards that only lost log lines can have committed.

    A writer is over when its log is closed, or when it ran on this machine and its process is gone. Of a writer on
    another machine, and of files without a log, only what was not touched for ``older_than`` seconds counts. Files of
    unknown kinds, committed files, the quarantine and anything a living writer may own stay. Raises ``StoreError``
    where there is no readable store, or a named stream did not lose its log.
    """
    refuse_links(path)
    store = Store(path, on_corrupt="skip")
    for name in named:
        if name not in store.lost_logs:
            those = f"those that did: {', '.join(store.lost_logs)}" if store.lost_logs else "no stream did"
            raise StoreError(f"{path}: stream '{name}' did not lose its log and cannot be removed ({those})")
    found: list[Leftover] = []
    now = time.time()
    for entry in sorted((path / layout.DATA).iterdir()):
        name = entry.name
        if entry.is_symlink() or not entry.is_dir():
            continue
        if name.startswith(".") and name.endswith(PARTIAL):
            if _untouched(entry, now) > older_than:
                found.append(_leftover(entry, "a stream that was never opened"))
        elif STREAM_NAME.fullmatch(name):
            stream = store.streams.get(name)
            if name in named:
                found.append(_leftover(entry, "a stream that lost its log, named to go"))
            elif name in store.damaged_logs:
                continue
            elif stream is not None and stream.header:
                if _is_over(stream, entry, now, older_than) and not _is_continued(path, stream, now, older_than):
                    found += _uncommitted(entry, store, stream)
            elif _untouched(entry, now) > older_than:
                found.append(_leftover(entry, "a stream without a log"))
    for log in sorted((path / layout.LOG).glob("*.jsonl")):
        stream = store.streams.get(log.stem)
        if log.stem in named or (
            stream is not None and not stream.header and log.stem not in store.damaged_logs
            and _untouched(log, now) > older_than
        ):  # fmt: skip
            found.append(_leftover(log, "a log without a first line"))
    for folder in (path, path / layout.LOG):
        for file in sorted(folder.glob(f"*{PARTIAL}")):
            if _untouched(file, now) > older_than:
                found.append(_leftover(file, "a file that was never finished"))
    return found


def remove(found: list[Leftover]) -> int:
    """Delete; returns the bytes freed. Raises ``OSError`` with the file's name."""
    freed = 0
    for leftover in found:
        if leftover.path.is_dir():
            shutil.rmtree(leftover.path)
        else:
            leftover.path.unlink(missing_ok=True)
        freed += leftover.bytes
    return freed


def _uncommitted(directory: Path, store: Store, stream: CommittedStream) -> Iterator[Leftover]:
    """Files of a finished stream beyond its committed shards, and its unfinished ones."""
    committed = stream.shards
    if lost.lost_lines(store.source, store.spec, stream.name, stream.shards, stream.rows):
        committed = -(-lost.shown_rows(store.source, store.spec, stream.name) // store.spec.shard_rows)
    for name in layout.fields(store.spec):
        if (directory / name).is_symlink():
            continue
        for file in sorted((directory / name).iterdir()):
            match = CHUNK.fullmatch(file.name)
            if match and int(match[1]) >= committed:
                yield _leftover(file, "a shard that was never committed")
            elif file.name.endswith(PARTIAL):
                yield _leftover(file, "a file that was never finished")


def _is_over(stream: CommittedStream, directory: Path, now: float, older_than: float) -> bool:
    if stream.closed:
        return True
    if stream.header.get("host") == socket.gethostname():
        return not lives(int(stream.header["pid"]))
    return min(now - stream.updated, _untouched(directory, now)) > older_than


def _is_continued(path: Path, stream: CommittedStream, now: float, older_than: float) -> bool:
    """Whether a merge may be bringing more of it: it writes the longer log first."""
    logs = (path / layout.LOG).glob(f"{stream.name}.jsonl.*{PARTIAL}")
    return any(_untouched(log, now) <= max(older_than, MINUTE) for log in logs)


def lives(pid: int) -> bool:
    """Whether a process of that number runs here; another's counts too, to be on the safe side."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _untouched(path: Path, now: float) -> float:
    """Seconds since the last change of a file or folder."""
    return now - max((found.st_mtime for found in _stats(path)), default=now)


def _leftover(path: Path, why: str) -> Leftover:
    return Leftover(path, sum(found.st_size for found in _stats(path) if stat.S_ISREG(found.st_mode)), why)


def _stats(path: Path) -> Iterator[os.stat_result]:
    """Of a file, or of a folder and all in it; without what a writer has renamed meanwhile."""
    inside = (Path(folder, name) for folder, folders, files in os.walk(path) for name in (*folders, *files))
    for file in itertools.chain([path], inside):
        with contextlib.suppress(OSError):
            yield file.lstat()
