"""Pictures of decoded forecasts: a video, a sheet of frames, and the pixel error over time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from brain.data.sampling import spread
from brain.evaluation.dream import Dream, mean_errors
from brain.runs.folder import Run
from shared.errors import TinyJEPAError
from shared.video import grid, heads, labelled, tile, write_video

SHEET_STEPS = 8
"""Columns of the sheet at most."""


def draw_dreams(run: Run, found: list[Dream], step_seconds: float, shown: int) -> list[Path]:
    """Write ``forecast.mp4``, ``reconstruction.png`` and ``dream.png`` of the first ``shown``."""
    files = [run.path / name for name in ("forecast.mp4", "reconstruction.png", "dream.png")]
    write_video(files[0], _pictures(found[:shown], step_seconds), min(1 / step_seconds, 25.0) / 2)
    sheet = _sheet(found[:shown], step_seconds)
    if not cv2.imwrite(str(files[1]), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)):
        raise TinyJEPAError(f"cannot write {files[1]}: check the path, its rights and free space")
    _curve(mean_errors(found), step_seconds, files[2])
    return files


def _pictures(found: list[Dream], step_seconds: float) -> Iterator[np.ndarray]:
    """The video's pictures: a row per episode, truth, forecast and reconstruction, with the error so far."""
    curves = [one.errors() for one in found]
    for k in range(len(found[0].truth)):
        tiles = []
        for one, error in zip(found, curves):
            names = [f"truth, {k * step_seconds:.1f} s"]
            for name in ("forecast", "reconstruction"):
                names.append(f"{name}, {error[name][k - 1]:.4f}" if k else name)
            clips = (one.truth, one.forecast, one.reconstruction)
            tiles += [labelled(tile(clip[k]), name) for clip, name in zip(clips, names)]
        yield grid(tiles, 3)


def _sheet(found: list[Dream], step_seconds: float) -> np.ndarray:
    """Truth, reconstruction and forecast, evenly spread over each clip; the head numbers the model steps."""
    rows: list[np.ndarray] = []
    for one in found:
        times = spread(len(one.truth), SHEET_STEPS)
        if not rows:
            texts = [f"step {k}: {k * step_seconds:.2g} s" if k else "step 0: now" for k in times.tolist()]
            rows.append(heads(texts, tile(one.truth[0]).shape[1]))
        for clip, name in ((one.truth, "truth"), (one.reconstruction, "reconstruction"), (one.forecast, "forecast")):
            strip = np.concatenate([tile(clip[k]) for k in times], 1)
            rows.append(labelled(strip, f"{name}, episode {one.episode.index}"))
    return np.concatenate(rows, 0)


def _curve(errors: dict[str, np.ndarray], step_seconds: float, file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axes = figure.add_subplot()
    styles = {
        "forecast": ("#c2410c", "forecast"),
        "reconstruction": ("#15803d", "reconstruction"),
        "persistence": ("#737373", "persistence (the present kept)"),
    }
    for name, values in errors.items():
        colour, label = styles[name]
        axes.plot(np.arange(1, len(values) + 1) * step_seconds, values, color=colour, label=label)
    axes.set(xlabel="seconds after the last frame seen", ylabel="mean squared pixel error", yscale="log")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(file, dpi=130)
