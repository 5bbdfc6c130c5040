"""The choice of CPU threads, by a clock that says how long a step takes with each number."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from brain.training.threads import RECHECK_SECONDS, TRIAL_STEPS, Threads, choices


class Box:
    """A machine on which a step takes ``cost[threads]`` seconds."""

    def __init__(self, cost: dict[int, float]) -> None:
        self.cost, self.now = cost, 0.0

    def run(self, threads: Threads, steps: int) -> list[int]:
        used = []
        for _ in range(steps):
            with threads.step():
                used.append(torch.get_num_threads())
                self.now += self.cost[used[-1]]
        return used


@pytest.fixture
def four() -> Iterator[None]:
    """torch has four threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def made(box: Box, count: int | None = None) -> Threads:
    return Threads(count, clock=lambda: box.now)


def test_choices() -> None:
    assert [choices(n) for n in (1, 2, 3, 4, 6, 16)] == [
        [1], [1, 2], [1, 2, 3], [1, 2, 4], [1, 2, 4, 6], [1, 2, 4, 8, 16],
    ]  # fmt: skip


def test_a_fixed_number_is_used_and_given_back(four: None) -> None:
    box = Box({3: 1.0})
    threads = made(box, 3)
    assert box.run(threads, 50) == [3] * 50
    threads.restore()
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize("fastest", [1, 2, 4])
def test_the_fastest_is_found(four: None, fastest: int) -> None:
    box = Box({n: 0.1 if n == fastest else 0.2 for n in (1, 2, 4)})
    used = box.run(threads := made(box), 60)
    assert used[3 * TRIAL_STEPS :] == [fastest] * (60 - 3 * TRIAL_STEPS) and threads.count == fastest
    assert set(used[: 3 * TRIAL_STEPS]) == {1, 2, 4}


def test_a_box_that_becomes_busy_is_noticed(four: None) -> None:
    box = Box({1: 0.10, 2: 0.06, 4: 0.08})
    threads = made(box)
    assert box.run(threads, 300)[-1] == 2
    box.cost = {1: 0.12, 2: 0.40, 4: 0.50}
    began = box.now
    while threads.count != 1:
        box.run(threads, 1)
    assert box.now - began < RECHECK_SECONDS
    box.cost = {1: 0.10, 2: 0.06, 4: 0.08}
    used = box.run(threads, 3000)
    assert used[-1] == 2, "and when it is quiet again"
    wasted = sum(n != 2 for n in used[1000:])
    assert wasted < 0.1 * 2000, "measuring is a small part of the work"
