"""What data cover: axes that worlds name, figures along them, and the picture of ``factory preview``."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from factory.collecting.episodes import run_episode
from factory.collecting.progress import Tally
from factory.collecting.simulator import Record
from factory.inspection.coverage import axes_of, coverage, maps_of, sampled_states
from factory.inspection.plots import draw_coverage
from factory.inspection.preview import preview
from factory.inspection.status import status_lines
from shared.store.dataset import create_store
from shared.store.reader import Store
from shared.store.writer import StreamWriter
from shared.worlds import WORLDS, make_world, world_class
from shared.worlds.axes import Axis, Band, even
from tests.support.dots import RUN, dot_episode, dot_spec


def test_cells_spreads_and_bands() -> None:
    axes = (even("x", "m", 0, 4, 4), Axis("speed", "m/s", ("vx", "vy"), 0, 10, (1.0,), Band("slow", 0, 1)))
    state = np.array([[0.5, 0, 0], [0.5, 3, 4], [3.5, 3, 4], [9, 0, 1]], np.float32)
    found = coverage(axes, ("x", "vx", "vy"), state, 2)
    assert (found.hit, found.cells) == (3, 8), "what lies beyond an end counts to its last cell"
    assert found.perplexity == pytest.approx(np.exp(-(0.5 * np.log(0.5) + 0.5 * np.log(0.25))))
    assert found.spreads["speed"].within == 0.5 and found.spreads["speed"].mean == pytest.approx(2.75)
    assert "50% slow" in found.line(2) and "3 of 8 cells" in found.line(2) and "from 2 of" in found.line(9)


@pytest.mark.parametrize("name", [name for name in WORLDS if world_class(name).axes(64)])
def test_a_world_says_what_its_data_should_cover(name: str) -> None:
    """Axes of states it has, in the range where its own policy drives, and maps of these axes."""
    world = make_world(name)
    size = world.observation_space.shape[0] if world.observation_space.shape else 0
    axes = world.axes(size)
    assert axes and world.maps and {part for pair in world.maps for part in pair} <= {axis.name for axis in axes}
    states = np.concatenate([run_episode(world, world.default_policy, 3, k, 40).state for k in range(4)])
    found = coverage(axes, world.state_names, states, 4)
    assert 1 < found.hit <= found.cells and 1 <= found.perplexity <= found.hit + 1e-9
    for axis in axes:
        values = axis.values(world.state_names, states)
        assert ((values >= axis.low) & (values <= axis.high)).mean() > 0.9, axis.name
        assert list(axis.edges) == sorted(set(axis.edges))


def test_a_world_that_names_no_axes(dots: Path, tmp_path: Path) -> None:
    store = Store(dots)
    axes = axes_of(dot_spec())
    assert [axis.name for axis in axes] == ["x", "y", "vx", "vy"]
    assert maps_of(dot_spec(), axes) == [(axes[0], axes[1])]
    states, episodes = sampled_states(store)
    assert episodes == len(store.episodes) and states.shape == (store.rows, 4)
    assert "coverage   x " in "\n".join(status_lines(dots))
    draw_coverage(store, tmp_path / "coverage.png")
    picture = cv2.imread(str(tmp_path / "coverage.png"))
    assert picture is not None and picture.shape[1] == 3 * 420


def test_the_video_of_a_slow_world_has_frames(tmp_path: Path) -> None:
    """20 seconds at 0.02 Hz are less than one."""
    spec = create_store(tmp_path / "slow", dot_spec().model_copy(update={"control_rate": 0.02}))
    with StreamWriter(tmp_path / "slow", spec, RUN, 0) as writer:
        writer.append(dot_episode(0, 30))
    video = preview(tmp_path / "slow", tmp_path)[1]
    with av.open(str(video)) as container:
        assert len(list(container.decode(video=0))) == 10


def test_one_state_alone_has_a_histogram_and_no_map() -> None:
    spec = dot_spec().model_copy(update={"state_names": ("x",)})
    assert maps_of(spec, axes_of(spec)) == []
    assert maps_of(spec.model_copy(update={"state_names": ()}), ()) == []


def test_progress_weighs_the_shares_of_bands_by_rows() -> None:
    tally = Tally()
    for index, (rows, share) in enumerate(((10, 1.0), (30, 0.5))):
        tally.add(0, Record(index, rows, "pursuit", 1.0, 0.0, {"on road": share}, 1000, None))
    assert tally.within == {"on road": 0.625} and tally.facts()["on_road"] == 0.625
    assert ", 2 episodes, 62% on road, " in tally.line()
