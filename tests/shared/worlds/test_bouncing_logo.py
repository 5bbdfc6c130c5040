"""The bouncing logo: what its docstring says."""

from __future__ import annotations

import numpy as np
import pytest

from shared.errors import TinyJEPAError
from shared.worlds import make_world


def video(seed: int, steps: int = 63, **options: int) -> tuple[np.ndarray, np.ndarray]:
    world = make_world("bouncing-logo", **options)
    frame, _ = world.reset(seed=seed)
    frames, states = [frame], [world.state()]
    for _ in range(steps):
        frames.append(world.step(world.action_space.sample())[0])
        states.append(world.state())
    return np.array(frames), np.array(states)


def test_it_moves_straight_and_turns_at_the_walls() -> None:
    bounces = 0
    for seed in range(20):
        _, states = video(seed)
        position, velocity = states[:, :2], states[:, 2:]
        assert (np.abs(velocity) == 0.75).all() and (position >= 1).all() and (position <= 14).all()
        turned = velocity[1:] != velocity[:-1]
        assert np.allclose((position[1:] - position[:-1])[~turned], velocity[1:][~turned], atol=1e-5)
        assert np.isin(position[1:][turned], [1.0, 14.0]).all()
        bounces += turned.sum()
    assert bounces > 100


def test_the_frame_shows_the_place_to_a_fraction_of_a_pixel() -> None:
    videos = [video(seed) for seed in range(5)]
    frames, states = np.concatenate([video[0] for video in videos]), np.concatenate([video[1] for video in videos])
    inside = ((states[:, :2] > 4.5) & (states[:, :2] < 10.5)).all(1)
    weight = frames[inside, :, :, 0].astype(float)
    total = weight.sum((1, 2))
    x = (weight.sum(1) * np.arange(16)).sum(1) / total
    y = (weight.sum(2) * np.arange(16)).sum(1) / total
    assert inside.any() and np.abs(np.stack([x, y], 1) - states[inside, :2]).max() < 0.05
    assert frames.max() > 200


def test_a_teleport_happens_once_and_only_when_asked() -> None:
    _, calm = video(5)
    _, states = video(5, teleport_at=24)
    assert np.array_equal(states[:24], calm[:24])
    jumps = np.abs(np.diff(states[:, :2], axis=0)).max(1)
    assert np.flatnonzero(jumps > 0.76).tolist() == [23]
    with pytest.raises(TinyJEPAError, match="teleport_at"):
        make_world("bouncing-logo", teleport_at=-1)


@pytest.mark.parametrize("box", [0.5, 0.8])
def test_a_smaller_box_is_drawn_where_it_stops(box: float) -> None:
    world = make_world("bouncing-logo", factors={"box": box})
    centres, least = [], np.full((16, 16), 255)
    for seed in range(30):
        frame, _ = world.reset(seed=seed)
        for _ in range(60):
            centres.append(world.state()[:2])
            least = np.minimum(least, frame[:, :, 0])
            frame = world.step(np.zeros(0, np.float32))[0]
    low, high = 7.5 - 6.5 * box, 7.5 + 6.5 * box
    assert np.min(centres) == pytest.approx(low, abs=1e-3) and np.max(centres) == pytest.approx(high, abs=1e-3)
    pixels = np.arange(16)
    inside = (pixels >= low - 1) & (pixels <= high + 1)  # a pixel and a half beyond where the centre turns, and edges
    assert (least[np.ix_(inside, inside)] == 0).all() and (least[0] > 0).all() and (least[:, -1] > 0).all()
