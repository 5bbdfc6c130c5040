"""``brain train --tensorboard``: event files as TensorBoard reads them, beside the curves in ``metrics.jsonl``."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import google_crc32c
import pytest

from brain.cli import cli
from brain.runs.tensorboard import EventLog
from shared.cli.console import run


def records(path: Path) -> list[bytes]:
    """The records of an event file, both checksums of each checked."""
    content, found = path.read_bytes(), []

    def check(data: bytes, at: int) -> None:
        (masked,) = struct.unpack_from("<I", content, at)
        turned = (masked - 0xA282EAD8) & 0xFFFFFFFF
        assert (turned >> 17 | turned << 15) & 0xFFFFFFFF == google_crc32c.value(data)

    at = 0
    while at < len(content):
        (length,) = struct.unpack_from("<Q", content, at)
        check(content[at : at + 8], at + 8)
        data = content[at + 12 : at + 12 + length]
        check(data, at + 12 + length)
        found.append(data)
        at += 16 + length
    return found


def test_the_bytes_are_those_of_the_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1.5)
    log = EventLog(tmp_path / "events")
    assert not (tmp_path / "events").exists(), "nothing before the first scalar"
    log.write(300, {"a/b": 0.25, "c": -1.0})
    log.close()
    (path,) = (tmp_path / "events").iterdir()
    wall = b"\x09" + struct.pack("<d", 1.5)
    values = b"\x0a\x0a\x0a\x03a/b\x15" + struct.pack("<f", 0.25) + b"\x0a\x08\x0a\x01c\x15" + struct.pack("<f", -1.0)
    assert records(path) == [wall + b"\x1a\x0dbrain.Event:2", wall + b"\x10\xac\x02" + b"\x2a\x16" + values]


def test_training_writes_them(dots: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    small = ["--set", "encoder.dim=16", "--set", "encoder.width=8", "--set", "objective.batch=16", "--steps", "20"]
    command = ["train", "--store", str(dots), "--run", str(folder), *small, "--stage", "encoder", "--quiet"]
    assert run(cli, "brain", [*command, "--tensorboard"]) == 0
    (path,) = (folder / "tensorboard").iterdir()
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    events = records(path)[1:]
    assert len(events) == len(lines) and all(b"encoder/loss" in event for event in events)
    pytest.importorskip("tensorboard", reason="only TensorBoard itself can say that it reads them")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder / "tensorboard"))
    read.Reload()
    shown = [(scalar.step, scalar.value) for scalar in read.Scalars("encoder/loss")]
    assert shown == [(line["step"], pytest.approx(line["loss"], rel=1e-4)) for line in lines]
