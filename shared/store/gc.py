"""Removing leftovers of killed writers: only files that no log mentions and no writer uses."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import stat
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import StoreError
from shared.links import refuse_links
from shared.store import layout, lost
from shared.store.files import PARTIAL
from shared.store.log import STREAM_NAME, CommittedStream
from shared.store.process import this_process
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
    damaged, and shards that only lost log lines can have committed, be the first of these missing or not.

    A writer is over when its log is closed, or when its process is known to be gone (``writer_runs``). Of a writer of
    which that is not known, and of files without a log, only what was not touched for ``older_than`` seconds counts.
    Files of unknown kinds, committed files, the quarantine and anything a living writer may own stay. Raises
    ``StoreError`` where there is no readable store, or a named stream did not lose its log.
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
            if untouched(entry, now) > older_than:
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
            elif untouched(entry, now) > older_than:
                found.append(_leftover(entry, "a stream without a log"))
    for log in sorted((path / layout.LOG).glob("*.jsonl")):
        stream = store.streams.get(log.stem)
        if log.stem in named or (
            stream is not None and not stream.header and log.stem not in store.damaged_logs
            and untouched(log, now) > older_than
        ):  # fmt: skip
            found.append(_leftover(log, "a log without a first line"))
    for folder in (path, path / layout.LOG):
        for file in sorted(folder.glob(f"*{PARTIAL}")):
            if untouched(file, now) > older_than:
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
    shown = lost.shown_rows(store.source, store.spec, stream.name)  # more than the log has where lines are lost
    committed = max(stream.shards, -(-shown // store.spec.shard_rows))
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
    runs = writer_runs(stream.header)
    return not runs if runs is not None else min(now - stream.updated, untouched(directory, now)) > older_than


def writer_runs(header: dict[str, Any]) -> bool | None:
    """Whether the writer that the first line of a log names still runs; None where that cannot be known from here.

    It is known in the writer's own pid namespace, until its machine is started anew. Logs of earlier versions name
    neither: a process of that number on a machine of that name counts as the writer, its absence proves nothing.
    """
    here = this_process()
    if header.get("host") != here["host"]:
        return None
    runs = lives(int(header.get("pid", 0)))
    if not header.get("boot"):
        return runs or None
    same = all(here[name] and header.get(name) == here[name] for name in ("boot", "pid_namespace"))
    return runs if same else None


def _is_continued(path: Path, stream: CommittedStream, now: float, older_than: float) -> bool:
    """Whether a merge may be bringing more of it: it writes the longer log first."""
    logs = (path / layout.LOG).glob(f"{stream.name}.jsonl.*{PARTIAL}")
    return any(untouched(log, now) <= max(older_than, MINUTE) for log in logs)


def lives(pid: int) -> bool:
    """Whether a process of that number runs here; another's counts too, to be on the safe side."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def untouched(path: Path, now: float) -> float:
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
