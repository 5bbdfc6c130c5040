"""The picture of all worlds in ``docs/worlds.md``.

python -m benchmarks.pictures docs/images/worlds.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from factory.episodes import run_episode
from shared.film import labelled, tile
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
    options = parser.parse_args()
    rows = []
    for name in WORLDS:
        world, span = make_world(name), SPAN.get(name, 60)
        episode = run_episode(world, POLICY.get(name, "mixed"), options.seed, 1, span + 60)
        start = min(50 if name == "car-racing" else 0, len(episode.frame) - 1 - span)
        shown = [tile(episode.frame[k]) for k in np.linspace(start, start + span, SHOWN).astype(int)]
        strip = [cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for picture in shown]
        rows.append(labelled(np.concatenate(strip, 1), f"{name}, {span / world.control_rate:.1f} s"))
    picture = cv2.cvtColor(np.concatenate(rows, 0), cv2.COLOR_RGB2BGR)
    if not cv2.imwrite(str(options.file), picture):
        raise SystemExit(f"cannot write {options.file}")


if __name__ == "__main__":
    main()
