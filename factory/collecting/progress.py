"""What a collection shows while it runs: a live bar, a plain line a minute, or JSON lines for scripts."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, Protocol, TextIO

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from factory.collecting.simulator import Record
from shared.cli.runlog import LOG, Minutes

FIRST_PLAIN_SECONDS = 10.0
PLAIN_SECONDS = 60.0
"""Time to the first plain line, and between two of them."""
JSON_SECONDS = 5.0
"""Time between two progress objects."""


Unit = Literal["frames", "episodes"]
"""What a goal counts."""


class Tally:
    """Frames, episodes, bytes and where in the state space they were, since the collection started."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._first = self._started
        self.frames = 0
        self.episodes = 0
        self.deaths = 0
        """Simulators that died; what they had not committed is made again."""
        self.difference: str | None = None
        """Where two makings of the first episode parted."""
        self._within: dict[str, float] = {}
        self._bytes: dict[int, int] = {}
        self._busy: dict[int, tuple[int, float]] = {}

    def add(self, worker: int, record: Record) -> None:
        """Count an episode; ``worker`` tells the simulators apart."""
        if not self.frames:
            self._first = time.perf_counter() - record.seconds
        self.frames += record.rows
        self.episodes += 1
        self._bytes[worker] = record.bytes_committed
        rows, seconds = self._busy.get(worker, (0, 0.0))
        self._busy[worker] = rows + record.rows, seconds + record.seconds
        for name, share in record.within.items():
            self._within[name] = self._within.get(name, 0.0) + share * record.rows
        if record.difference is not None:
            self.difference = record.difference
            LOG.warning(not_deterministic(record.difference))

    @property
    def seconds(self) -> float:
        """Since the start, that of Ray included."""
        return time.perf_counter() - self._started

    @property
    def frames_per_second(self) -> float:
        """Since the first episode began."""
        return self.frames / max(time.perf_counter() - self._first, 1e-9)

    @property
    def per_worker(self) -> dict[int, float]:
        """Frames per second of each simulator while it is at work; a head start (below 0) is none of them."""
        busy = sorted((worker, made) for worker, made in self._busy.items() if worker >= 0)
        return {worker: rows / max(seconds, 1e-9) for worker, (rows, seconds) in busy}

    @property
    def bytes_committed(self) -> int:
        return sum(self._bytes.values())

    @property
    def within(self) -> dict[str, float]:
        """Share of the frames within each band of the world's axes, 0 to 1, by the band's name."""
        return {name: frames / self.frames for name, frames in self._within.items()}

    def seconds_left(self, progress: int, goal: int, unit: Unit) -> float | None:
        """At the pace so far, or None while there is none."""
        made = self.frames if unit == "frames" else self.episodes
        if not made or progress >= goal:
            return None
        return (goal - progress) / made * self.frames / self.frames_per_second

    def line(self) -> str:
        """E.g. ``12,012 frames/s (3 workers at 3,950 to 4,100), 24 episodes, 85% on road, 28.1 MB committed``."""
        rates = [*self.per_worker.values()]
        spread = f" ({len(rates)} workers at {min(rates):,.0f} to {max(rates):,.0f})" if len(rates) > 1 else ""
        parts = [f"{self.frames_per_second:,.0f} frames/s{spread}", f"{self.episodes:,} episodes"]
        parts += [f"{share:.0%} {name}" for name, share in self.within.items()]
        parts.append(f"{decimal(self.bytes_committed)} committed")
        if self.deaths:
            parts.append(f"{self.deaths} simulators died and were replaced")
        return ", ".join(parts)

    def facts(self) -> dict[str, Any]:
        """The same for programs: frames, episodes, rates, bytes, seconds."""
        return {
            "frames": self.frames,
            "episodes": self.episodes,
            "seconds": round(self.seconds, 3),
            "frames_per_second": round(self.frames_per_second, 1),
            "workers": {str(worker): round(rate, 1) for worker, rate in self.per_worker.items()},
            **{name.replace(" ", "_"): share for name, share in self.within.items()},
            "bytes_committed": self.bytes_committed,
            "deaths": self.deaths,
        }


class Display(Protocol):
    """How a collection reports; a context manager around it."""

    def __enter__(self) -> Display: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, progress: int, tally: Tally, note: str = "") -> None:
        """``progress`` of the goal is made; called often. ``note`` says what is waited for, if anything is."""


class Quiet:
    """Shows nothing."""

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, progress: int, tally: Tally, note: str = "") -> None:
        pass


class Plain(Quiet):
    """A line on stderr after ten seconds, then one a minute."""

    def __init__(self, goal: int, unit: Unit) -> None:
        self._goal, self._unit = goal, unit
        self._due = time.perf_counter() + FIRST_PLAIN_SECONDS

    def show(self, progress: int, tally: Tally, note: str = "") -> None:
        if time.perf_counter() < self._due:
            return
        self._due = time.perf_counter() + PLAIN_SECONDS
        print(plain_line(progress, self._goal, self._unit, tally, note), file=sys.stderr, flush=True)


class JsonLines(Quiet):
    """An object on ``out`` every five seconds: ``{"event": "progress", "progress", "goal", "unit", ...}``."""

    def __init__(self, goal: int, unit: Unit, out: TextIO) -> None:
        self._goal, self._unit = goal, unit
        self._out = out
        self._due = time.perf_counter()

    def show(self, progress: int, tally: Tally, note: str = "") -> None:
        if time.perf_counter() < self._due:
            return
        self._due = time.perf_counter() + JSON_SECONDS
        event = {
            "event": "progress",
            "progress": progress,
            "goal": self._goal,
            "unit": self._unit,
            "seconds_left": tally.seconds_left(progress, self._goal, self._unit),
            "note": note,
            **tally.facts(),
        }
        print(json.dumps(event), file=self._out, flush=True)


class Live:
    """A bar on the terminal."""

    def __init__(self, goal: int, unit: Unit, console: Console) -> None:
        self._goal = goal
        self._progress = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=30),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} " + unit),
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

    def show(self, progress: int, tally: Tally, note: str = "") -> None:
        line = f"{tally.line()} ({note})" if note else tally.line()
        self._progress.update(self._task, completed=min(progress, self._goal), line=line)


class Logged:
    """Another display, and a line a minute in the run's log. ``begin`` is called when the store is ready."""

    def __init__(self, screen: Display, goal: int, unit: Unit, begin: Callable[[], None]) -> None:
        self._screen, self._goal, self._unit, self._begin = screen, goal, unit, begin
        self._minutes = Minutes()
        self._note = ""

    def __enter__(self) -> Display:
        self._begin()
        self._screen.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._screen.__exit__(kind, error, trace)

    def show(self, progress: int, tally: Tally, note: str = "") -> None:
        self._screen.show(progress, tally, note)
        if self._minutes.due():
            LOG.info(plain_line(progress, self._goal, self._unit, tally, note))
        elif note != self._note and note:
            LOG.info("%s", note)
        self._note = note


def plain_line(progress: int, goal: int, unit: Unit, tally: Tally, note: str) -> str:
    """Progress, rates and time left in a line of text."""
    seconds = tally.seconds_left(progress, goal, unit)
    left = "" if seconds is None else f", {minutes(seconds)} left"
    note = f" ({note})" if note else ""
    return f"{progress:,} of {goal:,} {unit}, {tally.line()}{left}{note}"


def not_deterministic(difference: str) -> str:
    """What a collection says of a world whose first episode, made twice, parted."""
    return (
        f"the environment is not deterministic: episode 0, made twice from one seed, is not the same ({difference}). "
        "What is stored is what happened, but the same command gives other episodes"
    )


def display(goal: int, unit: Unit, quiet: bool = False, as_json: bool = False, out: TextIO | None = None) -> Display:
    """The display for this process: JSON lines to ``out``, or none, when asked for; live on a terminal, else plain."""
    console = Console(stderr=True)
    if as_json:
        return JsonLines(goal, unit, out or sys.stdout)
    if quiet:
        return Quiet()
    return Live(goal, unit, console) if console.is_terminal else Plain(goal, unit)


def minutes(seconds: float) -> str:
    """E.g. ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
