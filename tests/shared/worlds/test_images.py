"""What environments show becomes the frame it is, or is refused by name of dtype and shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from shared.errors import TinyJEPAError
from shared.worlds import make_world
from shared.worlds.images import is_image, may_be_image, to_frame
from tests.support.odd import HEIGHT, world_of

PICTURE = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
GREY = PICTURE[:, :, :1]


@pytest.mark.parametrize(
    ("image", "top", "frame"),
    [
        (PICTURE, 1, PICTURE),
        (PICTURE.astype(np.int64), 1, PICTURE),
        (PICTURE.astype(np.uint16), 1, PICTURE),
        (PICTURE / 255, 1, PICTURE),
        ((PICTURE / 255).astype(np.float32), 1, PICTURE),
        ((PICTURE / 255).astype(np.float16), 1, PICTURE),
        (PICTURE.astype(np.float32), 255, PICTURE),
        (PICTURE.transpose(2, 0, 1), 1, PICTURE),
        (PICTURE > 127, 1, (PICTURE > 127) * np.uint8(255)),
        (GREY, 1, GREY),
        (GREY[:, :, 0], 1, GREY),
        (GREY.transpose(2, 0, 1), 1, GREY),
        (np.full((9, 9), 1 + 1e-7), 1, np.full((9, 9, 1), 255)),
        (np.dstack([PICTURE, np.full((12, 16), 255, np.uint8)]), 1, PICTURE),
        (np.dstack([PICTURE, np.zeros((12, 16), np.uint8)]), 1, np.zeros_like(PICTURE)),
        (np.full((9, 9, 4), 0.5), 1, np.full((9, 9, 3), 64)),
    ],
)  # fmt: skip
def test_images_become_the_frame_they_are(image: np.ndarray, top: float, frame: np.ndarray) -> None:
    made = to_frame(image, "it", top)
    assert made.dtype == np.uint8 and made.flags.c_contiguous and np.array_equal(made, frame)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (None, ["None"]),
        ([PICTURE], ["a list of 1"]),
        ("picture", ["a str"]),
        (PICTURE.astype(np.float32), ["float32", "(12, 16, 3)", "to 25", "[0, 1]"]),
        (-(PICTURE / 255), ["float64", "(12, 16, 3)", "[0, 1]"]),
        (np.full((9, 9), np.nan), ["float64", "(9, 9)", "nan"]),
        (PICTURE.astype(np.int16) + 1, ["int16", "256", "0 to 255"]),
        (-PICTURE.astype(np.int64), ["int64", "0 to 255"]),
        (PICTURE[:, :, :2], ["uint8", "(12, 16, 2)"]),
        (np.zeros((4, 84, 84), np.uint8), ["(4, 84, 84)"]),
        (np.zeros((2, 12, 16, 3), np.uint8), ["(2, 12, 16, 3)"]),
        (np.zeros((0, 16, 3), np.uint8), ["(0, 16, 3)"]),
        (np.zeros((9, 9), np.complex64), ["complex64"]),
        (np.zeros((9, 9), object), ["object"]),
    ],
)
def test_the_rest_is_refused_in_one_line(image: Any, words: list[str]) -> None:
    with pytest.raises(TinyJEPAError) as caught:
        to_frame(image, "what render() gave")
    message = str(caught.value)
    assert "\n" not in message and message.startswith("what render() gave is ")
    for word in words:
        assert word in message


@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.int8, np.int64, np.bool_, np.float16, np.float32, np.float64]),
        st.one_of(
            arrays.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=9),
            st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 4])),
        ),
    )
)
def test_any_array_is_a_frame_or_refused(image: np.ndarray) -> None:
    try:
        frame = to_frame(image, "it")
    except TinyJEPAError as error:
        assert str(image.dtype) in str(error) and str(image.shape) in str(error)
        return
    assert frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] in (1, 3)
    if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        assert np.array_equal(frame, image)


@pytest.mark.parametrize(
    ("space", "certain", "possible"),
    [
        (spaces.Box(0, 255, (84, 84, 3), np.uint8), True, True),
        (spaces.Box(0, 255, (84, 84), np.uint8), True, True),
        (spaces.Box(0, 255, (3, 84, 84), np.uint8), True, True),
        (spaces.Box(0, 255, (84, 84, 3), np.int32), True, True),
        (spaces.Box(0, 255, (84, 84, 4), np.uint8), False, True),
        (spaces.Box(0, 1, (84, 84, 3), np.float32), False, True),
        (spaces.Box(0, 255, (84, 84, 3), np.float32), False, True),
        (spaces.Box(0, 5, (8, 8), np.uint8), False, False),
        (spaces.Box(0, 1, (19, 19, 3), np.uint8), False, False),
        (spaces.Box(0, 255, (7, 7, 3), np.uint8), False, False),
        (spaces.Box(0, 255, (128,), np.uint8), False, False),
        (spaces.Box(-1, 1, (84, 84, 3), np.float32), False, False),
        (spaces.Box(0, 255, (4, 84, 84), np.uint8), False, False),
        (spaces.Discrete(256), False, False),
        (spaces.Dict({"image": spaces.Box(0, 255, (84, 84, 3), np.uint8)}), False, False),
    ],
)
def test_which_observations_are_images(space: spaces.Space[Any], certain: bool, possible: bool) -> None:
    assert (is_image(space), may_be_image(space)) == (certain, possible)


def frames_of(kind: str, **options: Any) -> np.ndarray:
    """The first four frames, at a size where nothing is reduced across: 24 pixels of 24 by 32."""
    world = make_world(world_of(kind), HEIGHT, **options)
    frames = [world.reset(seed=5)[0]]
    world.action_space.seed(0)
    frames += [world.step(world.action_space.sample())[0] for _ in range(3)]
    assert all(world.observation_space.contains(frame) for frame in frames)
    world.close()
    return np.array(frames)


@pytest.mark.parametrize(
    "kind",
    [
        "Reuser", "FloatPicture", "LongPicture", "Board", "Go", "Blind", "FloatImage", "ChannelsFirst",
        "FloatChannelsFirst", "ClearImage", "Camera",
    ],
)  # fmt: skip
def test_the_same_picture_shown_in_another_way_gives_the_same_frames(kind: str) -> None:
    plain = frames_of("Square")
    assert len(np.unique(plain.reshape(4, -1), axis=0)) == 4, "every step shows"
    assert np.array_equal(frames_of(kind), plain)


def test_grey_truth_and_transparency_show() -> None:
    plain = frames_of("Square")
    assert np.array_equal(frames_of("GreyPicture"), np.repeat(plain[..., :1], 3, axis=3))
    assert set(np.unique(frames_of("BoolPicture")[:, :, :3])) >= {0, 255}
    clear = frames_of("ClearPicture")
    middle = HEIGHT // 2
    assert np.array_equal(clear[:, :, : middle - 1], plain[:, :, : middle - 1]) and not clear[:, :, middle + 1 :].any()


def test_the_observation_can_be_chosen() -> None:
    image, wrist = (frames_of("Cameras", observation=name) for name in ("image", "wrist"))
    assert np.array_equal(image, frames_of("Square")) and np.array_equal(wrist, image[:, ::-1])
    assert np.array_equal(frames_of("Reuser", observation="render"), frames_of("Reuser"))
    for kind, observation, words in (
        ("Cameras", None, "--observation image, or wrist"),
        ("Cameras", "head", "no observation 'head' to show. Choices: image, wrist"),
        ("Camera", "joints", "'joints' is no image"),
        ("Camera", "render", "Choices: image"),
        ("Square", "image", "Choices: render"),
        ("Blind", "image", "leave it out"),
    ):
        with pytest.raises(TinyJEPAError, match=words):
            make_world(world_of(kind), 16, **({"observation": observation} if observation else {}))


def test_a_frame_is_the_callers_own() -> None:
    world = make_world(world_of("Reuser"), HEIGHT)
    first, _ = world.reset(seed=5)
    kept = first.copy()
    world.step(np.zeros(2, np.float32))
    assert np.array_equal(first, kept)
