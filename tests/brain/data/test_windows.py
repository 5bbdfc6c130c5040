"""Stack and stride: the offline, the training and the online window agree, and samples are evenly spread."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brain.data.sampling import choose, evenly, spread
from brain.data.windows import OnlineWindow, Timing, Window
from shared.store.schema import EpisodeRef
from tests.support.dots import RUN

TIMINGS = [Timing(1, 1), Timing(2, 4), Timing(3, 2), Timing(4, 1)]


@pytest.mark.parametrize("timing", TIMINGS, ids=str)
def test_a_running_world_gives_the_observations_of_the_stored_one(timing: Timing) -> None:
    frames = np.arange(30, dtype=np.uint8).reshape(30, 1, 1, 1)
    actions = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
    window = OnlineWindow(timing)
    for episode in range(2):
        window.clear()
        for row in range(30):
            window.add(frames[row], actions[row - 1] if row else None)
            seen, taken = window.observation(), window.chunk()
            assert (seen is None) == (row < timing.history), episode
            shown = frames[np.maximum(timing.window(np.array([row]))[0], 0)]
            assert np.array_equal(window.padded(), shown)
            if seen is not None:
                assert np.array_equal(seen, frames[timing.window(np.array([row]))[0]])
            assert (taken is None) == (row < timing.stride)
            if taken is not None:
                before = np.array([row - timing.stride])
                assert np.array_equal(taken, timing.chunks(actions, before)[0, 0])


@pytest.mark.parametrize("timing", TIMINGS, ids=str)
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_training_window_is_an_observation_and_the_steps_after_it(timing: Timing, steps: int) -> None:
    window = Window(timing.stack, timing.stride, steps)
    newest = np.array([window.history])
    assert window.frames[0] == 0 and window.frames[-1] == window.span - 1 == timing.rows(steps) - 1
    assert window.frames.tolist() == timing.window(newest, steps)[0].tolist()
    assert window.actions.tolist() == [window.history + i for i in range(steps * timing.stride)]
    assert window.span == len(range(0, window.frames[-1] + 1))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 500), st.integers(0, 60))
def test_places_are_evenly_spread(total: int, count: int) -> None:
    places = spread(total, count)
    assert len(places) == min(total, count) == len(set(places.tolist()))
    if len(places) > 1:
        gaps = np.diff(places)
        assert places[0] == 0 and places[-1] == total - 1 and gaps.max() - gaps.min() <= 1
    assert evenly(list(range(total)), count) == places.tolist()


def test_episodes_are_chosen_up_to_a_number_of_observations() -> None:
    timing = Timing(2, 4)
    refs = [
        EpisodeRef(RUN, i, i, "none", "0", 0, rows, False, True, "train")
        for i, rows in enumerate([5, 9, 104, 104, 8, 104, 104])
    ]
    assert [ref.rows for ref in choose(refs, timing, None)] == [9, 104, 104, 104, 104]
    assert [ref.rows for ref in choose(refs, timing, None, steps=0)] == [5, 9, 104, 104, 8, 104, 104]
    assert len(choose(refs, timing, 10**6)) == 5
    assert len(choose(refs, timing, 250)) == 3 and len(choose(refs, timing, 1)) == 2, "two at least"
    assert len(choose(refs, timing, 120, every=4)) == 5
