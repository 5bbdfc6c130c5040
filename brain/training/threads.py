"""The number of CPU threads of a training step: fixed, or the fastest as measured while training."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator

import torch

from shared.cli.runlog import LOG

TRIAL_STEPS = 4
"""Steps that measure a candidate; the first one, in which threads start, is not counted."""
RECHECK_SECONDS = 20.0
"""Minimum time between two measurements."""
TRIAL_SHARE = 0.04
"""Maximum share of the training time spent on measuring; measured steps train like all others."""
SLOWER = 1.3
"""How much slower than when it was chosen the present number may become before it is measured again."""


def choices(most: int) -> list[int]:
    """1, 2, 4, ... and ``most``, ascending."""
    return sorted({most, *(2**power for power in range(most.bit_length()) if 2**power <= most)})


class Threads:
    """The threads of one training loop.

    ``count`` fixes their number, which makes the weights of the same steps exactly repeatable: the number of threads
    changes the order of floating-point sums. ``None`` measures 1, 2, 4, ... up to torch's number, with real steps, at
    the start, every ``RECHECK_SECONDS`` and when steps become slower: beside other work, two threads that wait for each
    other can be four times slower than one. ``clock`` gives seconds.
    """

    def __init__(self, count: int | None, clock: Callable[[], float] = time.perf_counter) -> None:
        self.measured = count is None
        self.clock = clock
        self.before = torch.get_num_threads()
        self.candidates = choices(self.before) if count is None else [count]
        self.count = self.candidates[0]
        """Threads of the next step."""
        self._trial: dict[int, list[float]] = {}
        self._recent: list[float] = []
        self._expected = float("inf")
        self._next_check = 0.0
        if len(self.candidates) > 1:
            self._begin_trial()

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """Around one training step: sets torch's threads, and measures where there is a choice."""
        torch.set_num_threads(self.count)
        started = self.clock()
        yield
        if len(self.candidates) > 1:
            now = self.clock()
            self._took(now - started, now)

    def restore(self) -> None:
        """Give torch back the number of threads that it had."""
        torch.set_num_threads(self.before)

    def __str__(self) -> str:
        return f"{self.count} thread" + ("s" if self.count > 1 else "")

    def _begin_trial(self) -> None:
        # The present choice is measured last, so that it is not set anew when it stays.
        order = sorted(self.candidates, key=lambda n: (n == self.count, n))
        self._trial = {candidate: [] for candidate in order}
        self.count = order[0]

    def _took(self, seconds: float, now: float) -> None:
        if self._trial:
            times = self._trial[self.count]
            times.append(seconds)
            if len(times) < TRIAL_STEPS:
                return
            waiting = [candidate for candidate, taken in self._trial.items() if not taken]
            if waiting:
                self.count = waiting[0]
            else:
                self._choose(now)
            return
        self._recent = [*self._recent[-9:], seconds]
        slower = len(self._recent) == 10 and statistics.median(self._recent) > SLOWER * self._expected
        if now >= self._next_check or (slower and now >= self._next_check - 0.9 * self._pause):
            self._begin_trial()

    def _choose(self, now: float) -> None:
        typical = {candidate: statistics.median(times[1:]) for candidate, times in self._trial.items()}
        best = min(typical, key=lambda candidate: (typical[candidate], candidate))
        cost = sum(sum(times) for times in self._trial.values())
        self._pause = max(RECHECK_SECONDS, cost / TRIAL_SHARE)
        self._next_check = now + self._pause
        self._expected, self._trial, self._recent = typical[best], {}, []
        self.count = best
        typical_ms = ", ".join(f"{n}: {1000 * t:.1f} ms" for n, t in sorted(typical.items()))
        LOG.info("threads: %s a step (%s)", best, typical_ms)
