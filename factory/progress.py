"""What a collection shows while it runs: a live bar on a terminal, else a plain line now and then."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from factory.simulator import Record

PLAIN_SECONDS = 10.0
"""Time between two plain lines."""


class Tally:
    """Frames, episodes, bytes and time on the road since the collection started."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._first = self._started
        self.frames = 0
        self.episodes = 0
        self.deaths = 0
        """Simulators that died; what they had not committed is made again."""
        self._road_frames = 0
        self._road = 0.0
        self._bytes: dict[int, int] = {}

    def add(self, worker: int, record: Record) -> None:
        """Count an episode; ``worker`` tells apart the streams whose committed bytes are summed."""
        if not self.frames:
            self._first = time.perf_counter() - record.seconds
        self.frames += record.rows
        self.episodes += 1
        self._bytes[worker] = record.bytes_committed
        if record.on_road is not None:
            self._road_frames += record.rows
            self._road += record.rows * record.on_road

    @property
    def seconds(self) -> float:
        """Since the start, that of Ray included."""
        return time.perf_counter() - self._started

    @property
    def frames_per_second(self) -> float:
        """Since the first episode began."""
        return self.frames / max(time.perf_counter() - self._first, 1e-9)

    def line(self) -> str:
        """E.g. ``12,012 frames/s, 24 episodes, 85 % on road, 28.1 MB committed``."""
        parts = [f"{self.frames_per_second:,.0f} frames/s", f"{self.episodes:,} episodes"]
        if self._road_frames:
            parts.append(f"{self._road / self._road_frames:.0%} on road")
        parts.append(f"{decimal(sum(self._bytes.values()))} committed")
        if self.deaths:
            parts.append(f"{self.deaths} simulators died and were replaced")
        return ", ".join(parts)


class Display(Protocol):
    """How a collection reports; a context manager around it."""

    def __enter__(self) -> Display: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, rows: int, tally: Tally, note: str = "") -> None:
        """``rows`` of the goal are made; called often. ``note`` says what is waited for, if anything is."""


class Quiet:
    """Shows nothing."""

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, rows: int, tally: Tally, note: str = "") -> None:
        pass


class Plain(Quiet):
    """A line on stderr every 10 seconds."""

    def __init__(self, goal: int) -> None:
        self._goal = goal
        self._due = time.perf_counter() + PLAIN_SECONDS

    def show(self, rows: int, tally: Tally, note: str = "") -> None:
        if time.perf_counter() < self._due:
            return
        self._due = time.perf_counter() + PLAIN_SECONDS
        left = ""
        if tally.frames and rows < self._goal:
            seconds = (self._goal - rows) / tally.frames_per_second
            left = f", {seconds / 60:.0f} min left" if seconds >= 90 else f", {seconds:.0f} s left"
        note = f" ({note})" if note else ""
        print(f"{rows:,} of {self._goal:,} frames, {tally.line()}{left}{note}", file=sys.stderr, flush=True)


class Live:
    """A bar on the terminal."""

    def __init__(self, goal: int, console: Console) -> None:
        self._goal = goal
        self._progress = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=30),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} frames"),
            TextColumn("{task.fields[line]}"),
            TimeRemainingColumn(),
            console=console,
            speed_estimate_period=60.0,
        )
        self._task = self._progress.add_task("collect", total=goal, line="starting")

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, rows: int, tally: Tally, note: str = "") -> None:
        line = f"{tally.line()} ({note})" if note else tally.line()
        self._progress.update(self._task, completed=min(rows, self._goal), line=line)


def display(goal: int, quiet: bool) -> Display:
    """The display for this stderr: live on a terminal, plain elsewhere, none when ``quiet``."""
    console = Console(stderr=True)
    if quiet:
        return Quiet()
    return Live(goal, console) if console.is_terminal else Plain(goal)
