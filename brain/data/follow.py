"""Following a store that grows while it is read, until it is complete."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from brain.data.blocks import Known, known_episodes
from brain.distributed import agreed, rank
from shared.cli.runlog import LOG
from shared.errors import MissingStoreError, StoreError, UnreachableError
from shared.store.log import CommittedStream
from shared.store.reader import OnCorrupt, Store
from shared.store.schema import Split

IDLE_SECONDS = 300.0
"""A stream that was not closed counts as abandoned when it has committed nothing for this long."""
POLL_SECONDS = 2.0
PAUSE_SECONDS = 30.0
"""A collection may have no stream open for this long, or for ``PAUSE_POLLS`` polls if that is less, and go on: between
the process that simulates while Ray starts and the workers, and when a service restarts."""
PAUSE_POLLS = 15
OUTAGE_SECONDS = 300.0
"""A disk or network that does not answer for this long, at every poll, is an error."""
VISIBLE_SECONDS = 120.0
"""After which every process sees what one has seen; a network's file systems are at most a minute late."""


class Follower:
    """Refreshes a store every ``poll`` seconds, in a thread of its own, until the collection has finished.

    It has finished when there are streams and none is alive, twice in a row, and none was closed a moment ago: each is
    closed, or damaged, or has committed nothing for ``idle`` seconds. An outage shorter than ``OUTAGE_SECONDS`` is
    waited for. Whatever else a refresh raises ends the thread, and ``check`` raises it.
    """

    def __init__(self, store: Store, *, poll: float = POLL_SECONDS, idle: float = IDLE_SECONDS) -> None:
        self.store = store
        self.finished = False
        """Nothing more will come. Set after the refresh that found it."""
        self._poll, self._idle, self._pause = poll, idle, min(PAUSE_SECONDS, PAUSE_POLLS * poll, idle)
        self._error: Exception | None = None
        self._moved: dict[str, tuple[float, float]] = {}
        self._quiet = 0
        self._look()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follow", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise what a refresh ended with, most often a ``StoreError``."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Stop the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        reached = time.monotonic()
        away = False
        while not self.finished and not self._stop.wait(self._poll):
            try:
                self.store.refresh()
                self._look()
            except Exception as error:  # of any kind: without this thread the training would never end
                if not isinstance(error, UnreachableError) or time.monotonic() - reached > OUTAGE_SECONDS:
                    self._error = error
                    return
                if not away:
                    LOG.warning("%s: tried again for up to %.0f s", error, OUTAGE_SECONDS)
                away = True
                continue
            if away:
                LOG.info("%s is back after %.0f s", self.store.path, time.monotonic() - reached)
            reached, away = time.monotonic(), False

    def _look(self) -> None:
        streams = list(self.store.streams.values())
        alive = [stream for stream in streams if self._alive(stream)]
        self._quiet = self._quiet + 1 if streams and not alive else 0
        self.finished = self._quiet >= 2

    def _alive(self, stream: CommittedStream) -> bool:
        if stream.name in self.store.damaged_logs:
            return False
        return self._since(stream) < (self._pause if stream.closed else self._idle)

    def _since(self, stream: CommittedStream) -> float:
        """Seconds since it has committed or closed, by our own clock; of what was there when we came, by its log."""
        now = time.monotonic()
        seen, moved = self._moved.get(stream.name, (None, now))
        if seen is None and stream.updated:
            moved = now - max(0.0, time.time() - stream.updated)
        elif seen != stream.updated:
            moved = now
        self._moved[stream.name] = (stream.updated, moved)
        return now - moved


def look(
    store: Store, follower: Follower | None, name: str, given_up: Callable[[], bool] = lambda: False
) -> tuple[Known, bool]:
    """What is committed, and whether nothing more will come: as the first of several processes sees it.

    The others wait until they see as much, or have ``given_up``; ``name`` tells apart who looks. Raises ``StoreError``
    where one does not, and what a refresh ended with.
    """

    def here() -> tuple[Known, bool]:
        if follower is None:
            return known_episodes(store), False
        follower.check()
        finished = follower.finished  # before the episodes are counted: then none can be missing
        return known_episodes(store), finished

    known, finished = agreed(name, here, given_up)
    deadline = time.monotonic() + VISIBLE_SECONDS
    while any(name not in store.streams or len(store.streams[name].episodes) < n for name, n in known.items()):
        if time.monotonic() > deadline:
            raise StoreError(
                f"{store.path}: rank {rank()} does not see what rank 0 has seen: give every process the same store"
            )
        if follower is None:
            store.refresh()
        else:
            follower.check()
        time.sleep(0.05)
    return known, finished


def wait_for_frames(
    path: Path | str,
    split: Split,
    least: int,
    *,
    reader: type[Store] = Store,
    on_corrupt: OnCorrupt = "raise",
    poll: float = POLL_SECONDS,
    idle: float = IDLE_SECONDS,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[Store, Follower]:
    """Wait until the store is there and a split of it has ``least`` frames, or until its collection has finished.

    ``reader`` opens it. ``say`` gets a line on what is there, at first and whenever that changes, at most every 10
    seconds.
    """
    store: Store | None = None
    follower: Follower | None = None
    shown, last = "", 0.0
    try:
        while True:
            try:
                store = store or reader(path, on_corrupt)
                follower = follower or Follower(store, poll=poll, idle=idle)
                follower.check()
                frames = sum(ref.rows for ref in store.split(split))
                if frames >= least or follower.finished:
                    return store, follower
                line = f"waiting for {least:,} {split} frames in {path}: {frames:,} are committed"
            except MissingStoreError:
                line = f"waiting for a store at {path}"
            if line != shown and time.monotonic() - last >= 10:
                say(line)
                shown, last = line, time.monotonic()
            time.sleep(min(poll, 0.5))
    except BaseException:
        if follower is not None:
            follower.close()
        raise
