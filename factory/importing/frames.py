"""Images of any size as frames of one size."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from shared.worlds.images import to_frame

SMALLEST_KEPT, LARGEST_KEPT = 8, 128
"""Square frames of up to this side are kept as they are unless another size is asked for, pixels."""
DEFAULT_SIZE = 64
NO_IMAGE = (8, 8, 1)
"""Of the black frames of a source that has states only."""


def as_frame(image: np.ndarray) -> np.ndarray:
    """uint8 (H, W, C), C 1, 2 or 3: see ``shared.worlds.images.to_frame``; two channels stay two."""
    image = np.asarray(image)
    if image.ndim == 3 and image.shape[2] == 2 and image.dtype == np.uint8:
        return np.ascontiguousarray(image)
    return to_frame(image, "the image")


def frame_shape(image: np.ndarray, size: int | None) -> tuple[int, int, int]:
    """Of the frames that images like this one become.

    ``size``: the side, pixels; None keeps square images of 8 to 128 pixels, and makes others 64.
    """
    height, width, channels = as_frame(image).shape
    if size is None:
        size = height if height == width and SMALLEST_KEPT <= height <= LARGEST_KEPT else DEFAULT_SIZE
    return size, size, channels


def fit(images: Iterable[np.ndarray], rows: int, shape: tuple[int, int, int], crop: bool) -> np.ndarray:
    """Exactly ``rows`` images as frames, uint8 (rows, *shape).

    An image of the shape stays as it is, bit for bit; any other is resized by the mean of the pixels that an output
    pixel covers. With ``crop`` its central square is taken first, else it is squeezed. Raises ``ValueError`` for
    another number of images or channels.
    """
    frames = np.empty((rows, *shape), np.uint8)
    count = 0
    for count, image in enumerate(images, 1):
        if count > rows:
            break
        frame = as_frame(image)
        if frame.shape[2] == 1 and shape[2] == 3:
            frame = np.repeat(frame, 3, axis=2)
        if frame.shape[2] != shape[2]:
            raise ValueError(f"image {count - 1} has {frame.shape[2]} channels, those before it {shape[2]}")
        if crop:
            frame = _centre(frame)
        if frame.shape != shape:
            frame = cv2.resize(frame, shape[1::-1], interpolation=cv2.INTER_AREA).reshape(shape)
        frames[count - 1] = frame
    if count != rows:
        raise ValueError(f"it has {'more than ' if count > rows else ''}{min(count, rows)} images for {rows} rows")
    return frames


def _centre(frame: np.ndarray) -> np.ndarray:
    """The largest square in the middle."""
    height, width = frame.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(frame[top : top + side, left : left + side])
