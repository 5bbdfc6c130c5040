"""A reader of a growing store as its own process, to be killed: ``python -m tests.support.following STORE FOLDER``.

Draws batches as a trainer does. ``FOLDER/drawn.jsonl`` gets a line per batch: its number, epoch, and the crc32c of
every window. ``FOLDER/state.json`` says where to go on, and is replaced after every fifth batch.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from brain.data.follow import Follower, wait_for_frames
from brain.data.loader import Stream
from brain.data.windows import Batch
from shared.store.codec import crc32c
from shared.store.reader import Store

STACK, STRIDE, STEPS, BATCH = 2, 2, 1, 16


def open_stream(store: Store, follower: Follower | None, memory: int, state: dict | None = None) -> Stream:
    return Stream(
        store, "train", stack=STACK, stride=STRIDE, steps=STEPS, batch=BATCH, seed=3, device=torch.device("cpu"),
        memory=memory, follower=follower, state=state,
    )  # fmt: skip


def prints(batch: Batch) -> list[int]:
    """A checksum of each window: its frames, then its actions."""
    return [
        crc32c(actions.numpy().tobytes(), crc32c(frames.numpy().tobytes()))
        for frames, actions in zip(batch.frames, batch.actions)
    ]


def expected_prints(store: Store) -> Counter[int]:
    """The same of every window of the training episodes, by other means."""
    found: Counter[int] = Counter()
    for ref in store.split("train"):
        data = store.read_episode(ref, "frame", "action")
        for row in range(ref.rows - (STACK + STEPS - 1) * STRIDE):
            frames = np.stack([data["frame"][row + i * STRIDE] for i in range(STACK + STEPS)])
            newest = row + (STACK - 1) * STRIDE
            found[crc32c(data["action"][newest : newest + STRIDE].tobytes(), crc32c(frames.tobytes()))] += 1
    return found


def main(path: Path, folder: Path, memory: int) -> None:
    store, follower = wait_for_frames(path, "train", 300, poll=0.02, idle=20)
    saved = folder / "state.json"
    resume = json.loads(saved.read_text()) if saved.exists() else {"number": 0, "state": None}
    stream = open_stream(store, follower, memory, resume["state"])
    number = resume["number"]
    with (folder / "drawn.jsonl").open("a") as drawn:
        while stream.end is None or number < stream.end:
            state = stream.state(number)
            windows = prints(stream.batch(number))
            behind = stream.behind(number + 1)
            print(json.dumps([number, state["epoch"], behind, windows]), file=drawn, flush=True)
            number += 1
            if number % 5 == 0:
                partial = folder / "state.partial"
                partial.write_text(json.dumps({"number": number, "state": stream.state(number)}))
                partial.replace(saved)
            time.sleep(0.002)
    stream.close()
    follower.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
