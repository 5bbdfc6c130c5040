"""The images of all worlds, and of decoded forecasts, in ``docs/worlds.md``.

python -m benchmarks.pictures docs/images/worlds.png
python -m benchmarks.pictures docs/images/dreams.png --videos runs/*/forecast.mp4     # of brain dream
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from factory.collecting.episodes import run_episode
from shared.video import labelled, tile
from shared.worlds import WORLDS, make_world

SHOWN = 8
SPAN = {"car-racing": 200, "bouncing-logo": 40, "double-pendulum": 28, "two-room": 70}
"""Steps between the first and the last frame shown."""
POLICY = {"car-racing": "pursuit", "two-room": "expert"}
SIDE = 130


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--videos", type=Path, nargs="+", help="instead of worlds: moments of these videos")
    options = parser.parse_args()
    picture = np.concatenate([moments(v) for v in options.videos] if options.videos else worlds(options.seed), 0)
    if not cv2.imwrite(str(options.file), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
        raise SystemExit(f"cannot write {options.file}")


def moments(video: Path) -> np.ndarray:
    """The first, two middle and the last frame of a video, each without its lowest third: one episode of three less."""
    reader, frames = cv2.VideoCapture(str(video)), []
    while (read := reader.read())[0]:
        frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
    if not frames:
        raise SystemExit(f"{video} holds no video")
    shown = [frames[k] for k in np.linspace(0, len(frames) - 1, 4).astype(int)]
    row = np.concatenate([frame[: 2 * len(frame) // 3] for frame in shown], 1)
    return cv2.resize(row, (1560, round(len(row) * 1560 / row.shape[1])), interpolation=cv2.INTER_AREA)


def worlds(seed: int) -> list[np.ndarray]:
    """A strip of moments of every world."""
    rows = []
    for name in WORLDS:
        world, span = make_world(name), SPAN.get(name, 60)
        episode = run_episode(world, POLICY.get(name, "mixed"), seed, 1, span + 60)
        start = min(50 if name == "car-racing" else 0, len(episode.frame) - 1 - span)
        shown = [tile(episode.frame[k]) for k in np.linspace(start, start + span, SHOWN).astype(int)]
        strip = [cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for picture in shown]
        rows.append(labelled(np.concatenate(strip, 1), f"{name}, {span / world.control_rate:.1f} s"))
    return rows


if __name__ == "__main__":
    main()
