"""``factory status --watch``: progress of a collection, from its store, on any machine that sees the directory."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from factory.inspection.status import ACTIVE_SECONDS
from shared.cli.watch import Facts, duration
from shared.store.reader import Store

NOW_SECONDS = 60.0
"""Span of the throughput "now"."""


class Collection:
    """Polls a store; each poll reads only what was added since the last.

    ``goal`` is the number of frames wanted, for the time left; None where it is not known. Raises ``StoreError`` where
    there is no readable store.
    """

    def __init__(self, path: Path, goal: int | None) -> None:
        self._path, self._goal = path, goal
        self._store = Store(path, on_corrupt="skip")
        self._seen: deque[tuple[float, int]] = deque()

    def look(self) -> Facts:
        """Frames, rates (per second), bytes, seconds; None if not known yet."""
        self._store.refresh()
        store, now = self._store, time.time()
        rows = store.rows
        self._seen.append((time.monotonic(), rows))
        while self._seen[-1][0] - self._seen[0][0] > NOW_SECONDS:
            self._seen.popleft()
        streams = [stream for stream in store.streams.values() if stream.header]
        alive = [stream for stream in streams if not stream.closed and now - stream.updated < ACTIVE_SECONDS]
        newest = max((stream.updated for stream in streams), default=now)
        begun = min((float(stream.header["time"]) for stream in streams), default=now)
        span = self._seen[-1][0] - self._seen[0][0]
        rate = (rows - self._seen[0][1]) / span if span else None
        average = rows / max(newest - begun, 1e-9) if rows else None
        left = None
        if self._goal is not None and (rate or average):
            left = max(0, self._goal - rows) / (rate or average or 1.0)
        of = os.statvfs(self._path)
        return {
            "frames": rows,
            "episodes": len(store.episodes),
            "frames_per_second": rate,
            "frames_per_second_of_run": average,
            "writers_alive": len(alive),
            "writers_closed": sum(stream.closed for stream in streams),
            "writers_lost": len(streams) - len(alive) - sum(stream.closed for stream in streams),
            "bytes": store.bytes_on_disk,
            "free_bytes": of.f_bavail * of.f_frsize,
            "damaged_logs": len(store.damaged_logs),
            "seconds_since_commit": max(0.0, now - newest) if streams else None,
            "seconds_left": left,
        }

    def lines(self, facts: Facts) -> Iterator[str]:
        """The metrics as text."""
        rate, average = facts["frames_per_second"], facts["frames_per_second_of_run"]
        yield f"{self._path}: {self._store.spec.world}, {time.strftime('%H:%M:%S')}"
        yield f"  frames      {facts['frames']:,} in {facts['episodes']:,} episodes"
        now, whole = (f"{value:,.0f}" if value is not None else "–" for value in (rate, average))
        yield f"  per second  {now} now, {whole} over the run"
        lost = f", {facts['writers_lost']} ended without closing" if facts["writers_lost"] else ""
        yield f"  writers     {facts['writers_alive']} alive, {facts['writers_closed']} closed{lost}"
        yield f"  last commit {duration(facts['seconds_since_commit'])} ago"
        yield f"  bytes       {facts['bytes'] / 1e6:,.1f} MB, {facts['free_bytes'] / 1e9:,.1f} GB free"
        if self._goal is not None:
            yield f"  time left   {duration(facts['seconds_left'])} to {self._goal:,} frames"
        if facts["damaged_logs"]:
            yield f"  DAMAGED     {facts['damaged_logs']} logs: factory verify {self._path}"
