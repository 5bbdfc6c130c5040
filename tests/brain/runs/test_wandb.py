"""``brain train --wandb``, offline: a real run of W&B's own library, read back from the file that it leaves."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from brain.cli import cli
from shared.cli.console import run
from tests import ROOT

SECRET = "f00d" * 10
"""An API key, which nothing may write down."""
SMALL = ["--set", "encoder.dim=16", "--set", "encoder.width=8", "--set", "objective.batch=16"]


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="pip install 'tinyjepa[wandb]'")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_API_KEY", SECRET)


def records(path: Path) -> list[Any]:
    """What a ``.wandb`` file holds: blocks of 32 KiB, records of checksum, length and type, messages of protobuf."""
    from wandb.proto import wandb_internal_pb2

    content, at, part, found = path.read_bytes(), 7, b"", []
    assert content[:4] == b":W&B"
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        part += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last of its parts
            record = wandb_internal_pb2.Record()
            record.ParseFromString(part)
            found.append(record)
            part = b""
    return found


def rows(folder: Path) -> list[dict[str, float]]:
    """The curves of every W&B file of a run folder, in the order of time."""
    found = []
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for record in records(path):
            if record.WhichOneof("record_type") == "history":
                items = record.history.item
                found.append({item.key or item.nested_key[0]: json.loads(item.value_json) for item in items})
    return found


def test_training_writes_a_run_that_reads_back(dots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offline(monkeypatch)
    folder = tmp_path / "run"
    train = ["train", "--store", str(dots), "--run", str(folder), *SMALL, "--steps", "20", "--quiet", "--wandb"]
    for stage in ("encoder", "predictor"):
        assert run(cli, "brain", [*train, "--stage", stage]) == 0
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    found = rows(folder)
    for stage in ("encoder", "predictor"):
        told = [(row[f"{stage}/step"], row[f"{stage}/loss"]) for row in found if f"{stage}/loss" in row]
        logged = [(line["step"], line["loss"]) for line in lines if line["stage"] == stage]
        assert logged and told == [(step, pytest.approx(loss, rel=1e-4)) for step, loss in logged]
    paths = sorted(folder.glob("wandb/offline-run-*/*.wandb"))
    assert len({path.name for path in paths}) == 1, "both stages are one run of W&B"
    begun = next(record.run for record in records(paths[0]) if record.WhichOneof("record_type") == "run")
    config = {update.key: json.loads(update.value_json) for update in begun.config.update}
    assert begun.display_name == "run" and config["recipe"]["encoder"]["dim"] == 16 and config["world"] == "dots"
    for path in (path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        assert SECRET.encode() not in content, f"{path} holds the API key"
        ours = path.name in ("run.json", "train.log")  # W&B is not given these
        assert ours or str(dots).encode() not in content, f"{path} holds the store's address"


def test_who_is_not_logged_in_hears_it_in_one_line(
    dots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb", reason="pip install 'tinyjepa[wandb]'")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_API_KEY", "WANDB_MODE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    train = ["train", "--store", str(dots), "--run", str(tmp_path / "run"), *SMALL, "--steps", "2", "--wandb"]
    assert run(cli, "brain", [*train, "--stage", "encoder", "--quiet"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "not logged in" in error and "WANDB_MODE=offline" in error


def test_without_the_library_one_line_says_so(tmp_path: Path) -> None:
    """In a process of its own, where no ``wandb`` can be found."""
    code = (
        "import importlib.util as util, sys\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'wandb' else find(name, *rest)\n"
        "from brain.runs.wandb_log import need_wandb\n"
        "from shared.errors import TinyJEPAError\n"
        "try:\n    need_wandb()\nexcept TinyJEPAError as error:\n    print(error)\n"
        "sys.exit('wandb' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "pip install 'tinyjepa[wandb]'" in done.stdout and done.stdout.count("\n") == 1
