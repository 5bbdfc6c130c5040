"""A preview of a store: a contact sheet (PNG), a video (H.264 MP4) of a few episodes, and coverage plots (PNG)."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from factory.inspection.plots import draw_coverage
from shared.errors import StoreError
from shared.links import refuse_links
from shared.store.reader import Store
from shared.store.schema import EpisodeRef
from shared.video import BACKGROUND, grid, labelled, tile, write_video

SHEET_EPISODES, SHEET_TIMES = 12, 10
VIDEO_COLUMNS, VIDEO_ROWS = 4, 2
VIDEO_SECONDS, VIDEO_FRAMES = 20.0, 10
"""The video's length, and the frames that it has at least: below 0.5 Hz it is longer for them."""


def preview(path: Path, out: Path) -> tuple[Path, Path, Path]:
    """Write ``contact-sheet.png``, ``episodes.mp4`` and ``coverage.png`` of the store at ``path`` into ``out``.

    Returns their paths in this order.

    Episodes are spread evenly over the store. The sheet has an episode per row and evenly spaced times from its
    first to its last frame as columns; the video plays eight episodes side by side at the world's control rate; the
    third shows the policies' shares and what of the state space is covered.
    Raises ``StoreError`` for a store that is missing, empty or damaged.
    """
    store = Store(path)
    if not store.episodes:
        raise StoreError(f"the store {path} is empty: collect episodes first")
    if out.is_relative_to(path):
        refuse_links(path)
    out.mkdir(parents=True, exist_ok=True)
    refuse_links(out)
    sheet, video, plots = out / "contact-sheet.png", out / "episodes.mp4", out / "coverage.png"
    _write_sheet(store, _spread(store.episodes, SHEET_EPISODES), sheet)
    _write_video(store, _spread(store.episodes, VIDEO_COLUMNS * VIDEO_ROWS), video)
    draw_coverage(store, plots)
    return sheet, video, plots


def _spread(episodes: list[EpisodeRef], count: int) -> list[EpisodeRef]:
    picks = np.linspace(0, len(episodes) - 1, min(count, len(episodes)))
    return [episodes[round(pick)] for pick in picks]


def _write_sheet(store: Store, episodes: list[EpisodeRef], file: Path) -> None:
    bands = []
    for ref in episodes:
        times = np.linspace(0, ref.rows - 1, min(SHEET_TIMES, ref.rows)).round().astype(int)
        frames = [tile(store.read(ref.stream, ref.first + t, ref.first + t + 1, "frame")[0]) for t in times]
        frames += [np.full_like(frames[0], BACKGROUND)] * (SHEET_TIMES - len(frames))
        seconds = (ref.rows - 1) / store.spec.control_rate
        ended = ", terminated" if ref.terminated else ""
        label = f"episode {ref.index}: {ref.policy}, {ref.rows - 1} steps = {seconds:.1f} s{ended} ({ref.split})"
        bands.append(labelled(np.concatenate(frames, axis=1), label))
    image = np.concatenate(bands, axis=0)
    if not cv2.imwrite(str(file), cv2.cvtColor(image, cv2.COLOR_RGB2BGR)):
        raise StoreError(f"cannot write {file}: check the path, its rights and free space")


def _write_video(store: Store, episodes: list[EpisodeRef], file: Path) -> None:
    rate = store.spec.control_rate
    steps = min(max(ref.rows for ref in episodes), max(VIDEO_FRAMES, round(VIDEO_SECONDS * rate)))
    clips = [store.read(ref.stream, ref.first, ref.first + min(ref.rows, steps), "frame") for ref in episodes]
    names = [f"{ref.index} {ref.policy}" for ref in episodes]
    write_video(file, (_grid(clips, names, t) for t in range(steps)), rate)


def _grid(clips: list[np.ndarray], names: list[str], t: int) -> np.ndarray:
    """All clips at step ``t``, side by side; a clip that has ended shows its last frame."""
    tiles = [labelled(tile(clip[min(t, len(clip) - 1)]), name) for clip, name in zip(clips, names)]
    return grid(tiles, min(VIDEO_COLUMNS, len(tiles)))
