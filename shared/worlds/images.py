"""What environments show, as frames: which observation is an image, and how images of any kind become uint8."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from shared.errors import TinyJEPAError

MIN_SIDE = 8
"""Of an observation that is taken for an image without being asked for, pixels."""
SLACK = 1e-6
"""By which floats may miss their bounds, as a share of the upper one: what arithmetic leaves."""
COLOURS = (1, 3, 4)
"""Channels an image can have: grey, RGB, RGBA."""


def is_image(space: gym.Space[Any]) -> bool:
    """Whether an observation is certainly an image: integers up to 255, grey or RGB, 8 pixels or more a side.

    A board of codes (``Box(0, 5, (8, 8), uint8)``) has another bound, and four channels may be a stack of frames.
    """
    found = layout(space.shape or ())
    return may_be_image(space) and np.issubdtype(space.dtype, np.integer) and found is not None and found[1] != 4


def may_be_image(space: gym.Space[Any], least: int = MIN_SIDE) -> bool:
    """Whether an observation can become a frame where nothing better is shown: RGBA, floats and truth values, too.

    Floats lie in [0, 1] or [0, 255], by the bounds of the space. ``least``: the smallest side, pixels.
    """
    found = layout(space.shape or ())
    if not isinstance(space, gym.spaces.Box) or found is None:
        return False
    if min(space.shape[1:] if found[0] else space.shape[:2]) < least:
        return False
    if np.issubdtype(space.dtype, np.integer):
        return _top(space) == 255
    return space.dtype == np.bool_ or (bool(np.all(space.low == 0)) and _top(space) in (1, 255))


def layout(shape: tuple[int, ...]) -> tuple[bool, int] | None:
    """Whether an image of this shape has its channels first, and how many; None where it is no image.

    (4, H, W) is none: a stack of four grey frames looks the same as RGBA.
    """
    if len(shape) == 2:
        return False, 1
    if len(shape) != 3:
        return None
    if shape[2] in COLOURS:
        return False, shape[2]
    return (True, shape[0]) if shape[0] in (1, 3) else None


def channels(space: gym.Space[Any]) -> int:
    """Of the frames that ``to_frame`` makes of an observation: 1 or 3."""
    found = layout(space.shape or ())
    return 1 if found is not None and found[1] == 1 else 3


def scale(space: gym.Space[Any]) -> float:
    """The value that becomes 255: the upper bound of an observation of floats."""
    top = _top(space) if isinstance(space, gym.spaces.Box) else None
    return top if top in (1.0, 255.0) else 1.0


def to_frame(image: Any, what: str, top: float = 1.0) -> np.ndarray:
    """An image as uint8 ``(H, W, 1)`` or ``(H, W, 3)``, contiguous.

    * uint8 stays; other integers must lie in 0 to 255; False is 0 and True 255; floats in [0, ``top``] are scaled to
      0 to 255 and rounded.
    * ``(H, W)`` is grey; channels may come first (3, or 1); RGBA is laid over black, so that what is transparent
      does not show.

    Raises ``TinyJEPAError`` for anything else, with ``what`` it was and its dtype and shape.
    """
    if not isinstance(image, np.ndarray):
        raise TinyJEPAError(f"{what} is {_kind(image)}: a frame is an array of shape (H, W, 3), (H, W, 4) or (H, W)")
    found = layout(image.shape)
    if found is None or not image.size:
        raise _refused(image, what, "no image: (H, W), (H, W, 1), (H, W, 3), (H, W, 4) and (3, H, W) are")
    pixels = _bytes(image, what, top)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    elif found[0]:
        pixels = pixels.transpose(1, 2, 0)
    if pixels.shape[2] == 4:
        colour, alpha = pixels[:, :, :3].astype(np.uint16), pixels[:, :, 3:].astype(np.uint16)
        pixels = ((colour * alpha + 127) // 255).astype(np.uint8)
    return np.ascontiguousarray(pixels)


def _bytes(image: np.ndarray, what: str, top: float) -> np.ndarray:
    if image.dtype == np.uint8:
        return image
    if image.dtype == np.bool_:
        return image.astype(np.uint8) * np.uint8(255)
    low, high = image.min(), image.max()
    if np.issubdtype(image.dtype, np.integer):
        if low < 0 or high > 255:
            raise _refused(image, what, f"with values from {low} to {high}: integers must lie in 0 to 255")
        return image.astype(np.uint8)
    if np.issubdtype(image.dtype, np.floating):
        if not (low >= -SLACK * top and high <= (1 + SLACK) * top):  # nor where one is not a number
            raise _refused(image, what, f"with values from {low:.4g} to {high:.4g}: floats must lie in [0, {top:g}]")
        return np.rint(image * (255.0 / top)).astype(np.uint8)
    raise _refused(image, what, "and no numbers")


def _refused(image: np.ndarray, what: str, why: str) -> TinyJEPAError:
    return TinyJEPAError(f"{what} is {image.dtype} of shape {image.shape}, {why}")


def _kind(thing: Any) -> str:
    if thing is None:
        return "None"
    return f"a {type(thing).__name__}" + (f" of {len(thing)}" if isinstance(thing, list | tuple | dict) else "")


def _top(space: gym.Space[Any]) -> float | None:
    """The one upper bound of all values; None where they differ."""
    assert isinstance(space, gym.spaces.Box)
    high = float(space.high.flat[0])
    return high if np.all(space.high == space.high.flat[0]) else None
