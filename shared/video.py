"""Frames as people look at them: enlarged, labelled, side by side, as a picture or a video."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

TILE_PIXELS = 128
"""Frames are enlarged to at least this side."""
LABEL_PIXELS = 18
GAP = 2
BACKGROUND, INK = 24, (235, 235, 235)


def as_rgb(frame: np.ndarray) -> np.ndarray:
    """uint8 ``(H, W, C)`` to ``(H, W, 3)``.

    One channel is grey; of two, the first is green and the second grey; of more than three, the first three count.
    """
    channels = frame.shape[2]
    if channels == 1:
        return np.repeat(frame, 3, axis=2)
    if channels == 2:
        grey = frame[:, :, 1] // 2
        return np.stack([grey, np.maximum(grey, frame[:, :, 0]), grey], 2)
    return frame[:, :, :3]


def tile(frame: np.ndarray) -> np.ndarray:
    """uint8 ``(H, W, C)`` as RGB, enlarged by a whole factor (sharp pixels), with a gap at the right and the bottom."""
    factor = max(1, -(-TILE_PIXELS // frame.shape[0]))
    large = as_rgb(frame).repeat(factor, axis=0).repeat(factor, axis=1)
    return np.pad(large, ((0, GAP), (0, GAP), (0, 0)), constant_values=BACKGROUND)


def labelled(picture: np.ndarray, text: str) -> np.ndarray:
    """The picture under a line of text; sides are made even, as yuv420p asks."""
    height, width = picture.shape[:2]
    label = np.full((LABEL_PIXELS + (height % 2), width, 3), BACKGROUND, np.uint8)
    cv2.putText(label, text, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, INK, 1, cv2.LINE_AA)
    both = np.concatenate([label, picture], axis=0)
    return np.pad(both, ((0, 0), (0, width % 2), (0, 0)), constant_values=BACKGROUND)


def heads(texts: Sequence[str], width: int) -> np.ndarray:
    """A line with a text above each column of ``width`` pixels, as wide as a ``labelled`` row of them."""
    total = width * len(texts)
    line = np.full((LABEL_PIXELS, total + total % 2, 3), BACKGROUND, np.uint8)
    for column, text in enumerate(texts):
        cv2.putText(line, text, (column * width + 4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, INK, 1, cv2.LINE_AA)
    return line


def grid(tiles: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Tiles of one size, row by row."""
    missing = [np.full_like(tiles[0], BACKGROUND)] * (-len(tiles) % columns)
    every = [*tiles, *missing]
    rows = [np.concatenate(every[i : i + columns], axis=1) for i in range(0, len(every), columns)]
    return np.concatenate(rows, axis=0)


def write_video(file: Path, pictures: Iterable[np.ndarray], rate: float) -> None:
    """An H.264 MP4 of RGB pictures, uint8, all of one even size, at ``rate`` per second. Raises ``OSError``."""
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1000))
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "20", "preset": "veryfast"}
        for number, picture in enumerate(pictures):
            if number == 0:
                stream.height, stream.width = picture.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
