"""Frames of a video file by number, decoded no further than they are needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".gif")
UNTIMED = ("avi", "m4v")
"""Containers that do not hold when a frame is shown. With B-frames their frames are counted from the file's start."""


class VideoFile:
    """The pictures of a file's first video stream in the order they are shown. Opening it decodes none.

    ``times`` are those of its frames: float64 (N,), seconds, increasing, as the file gives them. Raises whatever PyAV
    raises for a file that is none, and ``ValueError`` for one without pictures.
    """

    times: np.ndarray

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sound = False
        """Whether no frame is lost, once they were counted."""
        self._ahead: Iterator[tuple[int, av.VideoFrame]] = iter(())
        self._place: tuple[int, av.VideoFrame] | None = None
        """The counted frame that was read last."""
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError("it has no video stream")
            stream = container.streams.video[0]
            rate, base = stream.average_rate or stream.guessed_rate, stream.time_base
            self._counted = container.format.name in UNTIMED and bool(stream.codec_context.has_b_frames)
            listed = [packet for packet in container.demux(stream) if packet.size or packet.dts is not None]
            packets = [packet for packet in listed if packet.size and not packet.is_discard]
            self._promised = len(packets) + max(0, stream.frames - len(listed))
            stamps = [packet.dts if packet.pts is None or self._counted else packet.pts for packet in packets]
        if not any(stamp is not None for stamp in stamps) or base is None:
            raise ValueError("it has no pictures")
        self._base = base
        self._stamps = sorted({stamp for stamp in stamps if stamp is not None})
        self.times = np.array(self._stamps, np.float64) * float(base)
        self.rate = float(rate) if rate else (len(self._stamps) - 1) / max(float(self.times[-1] - self.times[0]), 1e-9)

    def nearest(self, times: np.ndarray) -> np.ndarray:
        """Numbers of the frames closest to these times, seconds: int64, as many."""
        after = np.clip(np.searchsorted(self.times, times), 1, max(len(self.times) - 1, 1))
        if len(self.times) == 1:
            return np.zeros(len(times), np.int64)
        earlier = times - self.times[after - 1] <= self.times[after] - times
        return np.asarray(after - earlier, np.int64)

    def frames(self, numbers: np.ndarray) -> Iterator[np.ndarray]:
        """The frames with these numbers, which must not decrease: RGB uint8 (H, W, 3).

        Raises ``ValueError`` where the file breaks off before the last, or has lost a frame, and whatever PyAV raises
        for damaged bytes.
        """
        chosen = self._by_number(numbers) if self._counted else self._by_stamp(numbers)
        for frame in chosen:
            yield frame.to_ndarray(format="rgb24")

    def close(self) -> None:
        """Let go of the file; it can still be read from."""
        self._ahead, self._place = iter(()), None

    def _by_stamp(self, numbers: np.ndarray) -> Iterator[av.VideoFrame]:
        wanted = [self._stamps[number] for number in numbers]
        decoded = self._decoded(wanted[0])
        frame = None
        for stamp in wanted:
            while frame is None or frame.pts is None or frame.pts < stamp:
                frame = next(decoded, None)
                if frame is None:
                    seconds = float(stamp * self._base)
                    raise ValueError(f"it breaks off: there is no picture at {seconds:.3f} s, though it lists one")
            if frame.pts != stamp:
                raise ValueError(f"the picture at {float(stamp * self._base):.3f} s is damaged or lost")
            yield frame

    def _by_number(self, numbers: np.ndarray) -> Iterator[av.VideoFrame]:
        """As the decoder gives them, which is the order they are shown in.

        A lost frame would go unnoticed, so all are counted first. The file stays open at the last one asked for, where
        the next call goes on.
        """
        if not self._sound:
            count = sum(1 for _ in self._decoded())
            if not count == self._promised == len(self._stamps):
                raise ValueError(f"some of its {self._promised} pictures are damaged or lost: {count} can be shown")
            self._sound = True
        for number in numbers:
            if self._place is None or self._place[0] > number:
                self._ahead, self._place = enumerate(self._decoded()), None
            while self._place is None or self._place[0] < number:
                self._place = next(self._ahead)
            yield self._place[1]

    def _decoded(self, start: int | None = None) -> Iterator[av.VideoFrame]:
        """All frames, or those from the key frame before the stamp ``start``."""
        with av.open(str(self.path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.options = {"err_detect": "explode"}  # else a decoder paints over what is damaged
            stream.codec_context.thread_count = 1  # what one of several threads meets need not be told
            if start is not None:
                container.seek(start, stream=stream, backward=True)
            yield from container.decode(stream)
