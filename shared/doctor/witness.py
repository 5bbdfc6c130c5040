"""The second process of the directory checks: ``python -m shared.doctor.witness ROLE FOLDER PARENT``.

It watches, or competes, until the file ``stop`` appears in FOLDER, and then prints one JSON object. PARENT is the first
process, without which it ends.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from shared.lifetime import end_with
from shared.store.codec import crc32c

BLOCK = 64 << 10
"""Bytes of a generation of the file that is replaced."""
RACES = 50
LINE = 128
"""Bytes of an appended line, newline included."""
PATIENCE = 60.0
"""Seconds after which a forgotten witness ends by itself."""


def generation(number: int) -> bytes:
    """The whole content number ``number`` of the file that is replaced again and again."""
    body = number.to_bytes(8, "little") * (BLOCK // 8 - 1)
    return body + crc32c(body).to_bytes(8, "little")


def watch_replace(folder: Path) -> dict[str, Any]:
    """Open and read ``replaced`` without pause: how often it was whole, absent, torn, or older than before."""
    seen = dict.fromkeys(("whole", "absent", "torn", "older"), 0)
    newest = 0
    for _ in _until_stop(folder):
        try:
            data = (folder / "replaced").read_bytes()
        except FileNotFoundError:
            seen["absent"] += 1
            continue
        number = int.from_bytes(data[:8], "little")
        if data != generation(number):
            seen["torn"] += 1
        elif number < newest:
            seen["older"] += 1
        else:
            seen["whole"] += 1
            newest = number
    return seen


def race(folder: Path) -> dict[str, Any]:
    """Create ``race.<n>`` exclusively, one after another, when the file ``go.<n>`` appears: the numbers won."""
    won = []
    for n in range(RACES):
        deadline = time.monotonic() + PATIENCE
        while not (folder / f"go.{n}").exists() and time.monotonic() < deadline:
            pass
        if create_exclusively(folder / f"race.{n}"):
            won.append(n)
    return {"won": won}


def create_exclusively(path: Path) -> bool:
    """Whether this call made the file."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except FileExistsError:
        return False
    return True


def watch_append(folder: Path) -> dict[str, Any]:
    """Follow ``appended`` as a reader follows a log: when each line came (Unix time), and bytes that were wrong."""
    came: list[float] = []
    wrong = 0
    for _ in _until_stop(folder):
        try:
            data = (folder / "appended").read_bytes()
        except FileNotFoundError:
            continue
        now = time.time()
        whole = len(data) // LINE
        wrong += data[: whole * LINE] != b"".join(map(line, range(whole)))
        came += [now] * (whole - len(came))
        time.sleep(0.001)
    return {"came": came, "wrong": wrong}


def line(number: int) -> bytes:
    """Appended line ``number``."""
    return f"{number:>{LINE - 1}}\n".encode()


def _until_stop(folder: Path) -> Any:
    deadline = time.monotonic() + PATIENCE
    (folder / "ready").write_bytes(b"")
    while time.monotonic() < deadline:
        stop = (folder / "stop").exists()
        yield
        if stop:
            return


ROLES = {"replace": watch_replace, "race": race, "append": watch_append}

if __name__ == "__main__":
    end_with(int(sys.argv[3]))
    print(json.dumps(ROLES[sys.argv[1]](Path(sys.argv[2]))))
