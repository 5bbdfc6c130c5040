"""The training loop: budget, learning-rate schedule, crash-safe checkpoints, progress, Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Literal, NamedTuple

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from brain import distributed
from brain.device import set_rate
from brain.runs import checkpoint
from brain.runs.folder import Run, write_whole
from shared.cli.runlog import LOG, Minutes
from shared.errors import TinyJEPAError

Clock = Literal["wall", "cpu"]


class Elapsed(NamedTuple):
    """Seconds spent on a stage so far, over all interruptions."""

    wall: float = 0.0
    cpu: float = 0.0
    """of all threads of the process"""

    @classmethod
    def now(cls) -> Elapsed:
        return cls(time.monotonic(), time.process_time())

    def since(self, start: Elapsed, before: Elapsed) -> Elapsed:
        """From ``start`` to here, after ``before``."""
        return Elapsed(before.wall + self.wall - start.wall, before.cpu + self.cpu - start.cpu)


@dataclass
class Budget:
    """How long a stage trains: a number of steps (exactly repeatable) or of seconds (ends on time anywhere)."""

    steps: int | None = None
    seconds: float | None = None
    clock: Clock = "wall"
    """What ``seconds`` counts: time, or the CPU seconds of all threads of this process."""

    def fraction(self, step: int, elapsed: Elapsed) -> float:
        """The share of the budget that is spent, from 0 to 1."""
        if self.seconds is not None:
            return min(1.0, (elapsed.cpu if self.clock == "cpu" else elapsed.wall) / self.seconds)
        assert self.steps is not None
        return min(1.0, step / self.steps)

    def rate(self, step: int, elapsed: Elapsed) -> float:
        """The learning rate as a share of its peak."""
        return one_cycle(self.fraction(step, elapsed))

    def facts(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {}


@dataclass
class OpenBudget(Budget):
    """Steps for data that still come: at least ``steps``, and until ``end`` (None: not known yet).

    The learning rate warms up and stays; once the end is known it falls to zero along a cosine (warm-up, stable,
    decay: Hu et al. 2024, MiniCPM).
    """

    end: Callable[[], int | None] = field(default=lambda: None)
    known_at: int | None = None
    """The step at which the end came to be known."""

    def fraction(self, step: int, elapsed: Elapsed) -> float:
        """The share of the steps that are spent; of twice those so far, while the end is not known."""
        assert self.steps is not None
        end = self.end()
        if end is None:
            return step / max(2 * step, self.steps)
        if self.known_at is None:
            self.known_at = step
        return min(1.0, step / max(end, self.steps))

    def rate(self, step: int, elapsed: Elapsed) -> float:
        assert self.steps is not None
        warm = max(1.0, WARM_UP * self.steps)
        if step < warm:
            return max(step / warm, 0.01)
        end = self.end()
        if end is None or self.known_at is None:
            return 1.0
        falling = (step - self.known_at) / max(1, max(end, self.steps) - self.known_at)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, falling)))

    def facts(self) -> dict[str, Any]:
        return {OPEN_END: self.known_at}


OPEN_END = "end_known_at"
"""The fact of a checkpoint that an ``OpenBudget`` trained."""
RATES = {"encoder": "objective.learning_rate", "predictor": "prediction.learning_rate"}
"""The key of a stage's learning rate in the recipe."""
STALL_SECONDS = 20.0
"""A step that takes longer is worth a line in the log."""
WARM_UP = 0.1
"""Share of the steps in which the learning rate rises."""


def one_cycle(fraction: float) -> float:
    """The learning rate as a share of its peak: linear warm-up, then a cosine to zero (Smith and Topin 2019)."""
    if fraction < WARM_UP:
        return max(fraction / WARM_UP, 0.01)
    return 0.5 * (1 + math.cos(math.pi * (fraction - WARM_UP) / (1 - WARM_UP)))


def progress(run: Run, stage: str) -> dict[str, Any]:
    """The facts of the stage's checkpoint; empty when it has not begun."""
    path = run.checkpoint(stage)
    return checkpoint.load(path)[1] if path.exists() else {}


class Loop:
    """Iterates over the steps of a stage that are still to do.

    Resumes from the stage's checkpoint, sets the learning rate, writes a checkpoint every ``checkpoint_seconds`` and
    on Ctrl-C or SIGTERM (after the step under way), and shows progress. ``due`` says when to log. ``extra`` gives
    facts for the checkpoint, ``note`` words for the progress line, ``behind`` the frames not shown yet, all for the
    next step. ``progress.json`` holds the progress for ``brain status``. Raises ``TinyJEPAError`` where training
    diverges: for a loss that is logged, and for weights that would be written, and are not finite.

    Of several processes the first decides (rate, end, when to log) and writes; Ctrl-C or SIGTERM in any ends all, after
    the same step.
    """

    LOG_SECONDS = 1.0

    def __init__(
        self,
        run: Run,
        stage: str,
        budget: Budget,
        modules: dict[str, nn.Module],
        optimizer: torch.optim.Optimizer,
        *,
        peak: float,
        checkpoint_seconds: float = 15.0,
        quiet: bool = False,
        extra: Callable[[int], dict[str, Any]] = lambda step: {},
        note: Callable[[int], str] = lambda step: "",
        behind: Callable[[int], int | None] = lambda step: None,
    ) -> None:
        self.run, self.stage, self.budget = run, stage, budget
        self.modules, self.optimizer, self.peak = modules, optimizer, peak
        self.checkpoint_seconds = checkpoint_seconds
        self.quiet = quiet or not distributed.first()
        self._extra, self._more, self._behind = extra, note, behind
        self.step = 0
        self.elapsed = Elapsed()
        self.due = False
        self.fraction = 0.0
        """The share of the stage that was done before this step, 0 to 1."""
        self.last_loss: float | None = None
        self._interrupted = False
        path = run.checkpoint(stage)
        if path.exists():
            tensors, facts = checkpoint.load(path)
            for name, module in modules.items():
                checkpoint.restore(path, module, tensors, name)
            checkpoint.restore_optimizer(optimizer, tensors)
            self.step = facts.get("step", 0)
            if type(budget) is Budget and budget.seconds is None and self.step > (budget.steps or 0):
                raise TinyJEPAError(
                    f"{path} has {self.step} steps already, more than {budget.steps}: ask for as many or more, give "
                    f"the budget that it was begun with, or another --run"
                )
            self.elapsed = Elapsed(facts.get("elapsed", 0.0), facts.get("cpu_seconds", 0.0))
            self._say(f"{stage}: resumes at step {self.step}")
        LOG.info("%s: %s at step %s, budget %s", stage, "resumes" if path.exists() else "begins", self.step, budget)
        if distributed.first():
            run.rewind_log(stage, self.step)

    def __iter__(self) -> Iterator[int]:
        console = Console(stderr=True)
        bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeRemainingColumn(),
            console=console, transient=True, disable=self.quiet or not console.is_terminal,
        )  # fmt: skip
        with bar, self._graceful():
            task = bar.add_task(self.stage, total=1.0, note="")
            started, before, minutes = Elapsed.now(), self.elapsed, Minutes()
            now = saved = logged = printed = started.wall
            while True:
                fraction, last = (self.budget.fraction(self.step + ahead, self.elapsed) for ahead in (0, 1))
                due = self.step == 0 or last >= 1 or now - logged >= self.LOG_SECONDS
                wanted = [fraction, self.budget.rate(self.step, self.elapsed), due]
                (fraction, rate, log), stop = distributed.decided(wanted, self._interrupted)
                self.fraction, self.due = fraction, bool(log)
                if stop:
                    self.save()
                    raise KeyboardInterrupt
                if fraction >= 1:
                    break
                set_rate(self.optimizer, self.peak * rate)
                if self.due:
                    logged = now
                    self._tell(fraction)
                yield self.step
                self.step += 1
                then, here = now, Elapsed.now()
                now, self.elapsed = here.wall, here.since(started, before)
                if now - then >= STALL_SECONDS:
                    LOG.warning(
                        "%s: step %s took %.0f s: data or disk kept it waiting", self.stage, self.step, now - then
                    )
                bar.update(task, completed=fraction, note=self._note())
                if not self.quiet and not console.is_terminal and now - printed >= 10:
                    printed = now
                    self._say(f"{self.stage}: {100 * fraction:.0f} %, {self._note()}")
                if minutes.due():
                    LOG.info("%s: %.1f %%, %s", self.stage, 100 * fraction, self._note())
                if now - saved >= self.checkpoint_seconds:
                    self.save()
                    saved = time.monotonic()
            self._check_weights()
            self._tell(1.0)

    def log(self, **terms: float | Tensor) -> None:
        """Write scalar terms of this step to ``metrics.jsonl``: their means over processes. Raises ``TinyJEPAError``
        for a loss that is not finite."""
        scalars = torch.stack([torch.as_tensor(value).detach().float().cpu() for value in terms.values()])
        values = dict(zip(terms, distributed.mean(scalars).tolist()))
        self.last_loss = values["loss"]
        if not math.isfinite(self.last_loss):
            raise self._diverged(f"loss became {self.last_loss}")
        if not distributed.first():
            return
        lr = float(self.optimizer.param_groups[0]["lr"])
        self.run.log(self.stage, self.step, seconds=self.elapsed.wall, lr=lr, **values)

    def save(self) -> None:
        """Write the stage's checkpoint. Raises ``TinyJEPAError``, and keeps the one before, for weights that are not
        finite."""
        if not distributed.first():
            return
        self._check_weights()
        tensors = checkpoint.state(**self.modules) | checkpoint.optimizer_state(self.optimizer)
        checkpoint.save(self.run.checkpoint(self.stage), tensors, self.facts())

    def facts(self) -> dict[str, Any]:
        """Where the stage stands."""
        spent = {"elapsed": self.elapsed.wall, "cpu_seconds": self.elapsed.cpu}
        return {"stage": self.stage, "step": self.step} | spent | self.budget.facts() | self._extra(self.step)

    def _check_weights(self) -> None:
        parameters = (p for module in self.modules.values() for p in module.parameters())
        if not all(bool(p.isfinite().all()) for p in parameters):
            raise self._diverged("weights are no longer finite")

    def _diverged(self, what: str) -> TinyJEPAError:
        cure = "give another --decoder"
        if self.stage in RATES:
            cure = f"give another --run and a lower {RATES[self.stage]} than {self.peak:g}"
        return TinyJEPAError(f"the {self.stage}'s {what} at step {self.step}: {cure}")

    def _tell(self, fraction: float) -> None:
        """Write ``progress.json``."""
        if not distributed.first():
            return
        wall = self.elapsed.wall
        rate = self.step / wall if wall else None
        open_end = isinstance(self.budget, OpenBudget) and self.budget.known_at is None
        left = None if open_end or not fraction else wall * (1 - fraction) / fraction
        facts = {"fraction": None if open_end else fraction, "seconds_left": left, "steps_per_second": rate}
        facts["frames_behind"] = self._behind(self.step)
        write_whole(self.run.path / "progress.json", json.dumps(facts), sync=False)

    def _note(self) -> str:
        rate = self.step / self.elapsed.wall if self.elapsed.wall else 0.0
        loss = "" if self.last_loss is None else f", loss {self.last_loss:.3f}"
        return f"step {self.step}, {rate:.1f} steps/s{loss}{self._more(self.step)}"

    def _say(self, line: str) -> None:
        if not self.quiet:
            print(line, file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def _graceful(self) -> Iterator[None]:
        """The first SIGINT or SIGTERM ends the loop after its step; the second ends it at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        def caught(number: int, frame: FrameType | None) -> None:
            self._interrupted = True
            restore()

        for number in before:
            signal.signal(number, caught)
        try:
            yield
        finally:
            restore()
