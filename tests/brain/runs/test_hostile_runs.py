"""Checkpoints, run folders and recipes from strangers: refused in one line, and nothing is run or written."""

from __future__ import annotations

import json
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from brain import recipes
from brain.cli import cli as brain_cli
from brain.runs import checkpoint
from brain.runs.folder import Run
from shared.cli.console import run as run_command
from shared.errors import TinyJEPAError

DEEP = "[" * 100_000 + "]" * 100_000


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/tinyjepa-was-here",)


def checkpoints() -> dict[str, bytes]:
    def header(text: bytes, length: int | None = None) -> bytes:
        return struct.pack("<Q", len(text) if length is None else length) + text

    def facts(text: str) -> bytes:
        return header(json.dumps({"__metadata__": {"tinyjepa": text}}).encode())

    return {
        "a pickle": pickle.dumps(Evil()),
        "nothing": b"",
        "a header longer than the file": header(b"{}", 1 << 40),
        "a header of 2^64 bytes": header(b"{}", (1 << 64) - 1),
        "a header that is deep": header(DEEP.encode()),
        "a tensor outside": header(b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36000]}}'),
        "a tensor of 2^60": header(b'{"a":{"dtype":"F32","shape":[1152921504606846976],"data_offsets":[0,4]}}')
        + b"0000",
        "facts that are deep": facts(DEEP),
        "facts that are a list": facts("[]"),
        "a step that is text": facts('{"step": "9", "elapsed": 1}'),
        "a step below zero": facts('{"step": -9, "elapsed": 1}'),
        "time without end": facts('{"step": 9, "elapsed": Infinity}'),
        "no facts": header(b"{}"),
    }


@pytest.mark.parametrize("name", checkpoints())
def test_checkpoints_that_are_none(tmp_path: Path, name: str) -> None:
    path = tmp_path / "encoder.safetensors"
    path.write_bytes(checkpoints()[name])
    with pytest.raises(TinyJEPAError) as caught:
        checkpoint.load(path)
    assert "\n" not in str(caught.value) and not Path("/tmp/tinyjepa-was-here").exists()


def test_a_torch_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    torch.save({"model": Evil()}, path)
    with pytest.raises(TinyJEPAError):
        checkpoint.load(path)
    assert not Path("/tmp/tinyjepa-was-here").exists()


def test_optimiser_tensors_that_fit_nothing() -> None:
    optimizer = torch.optim.AdamW(torch.nn.Linear(2, 2).parameters())
    for key in ("optimizer.99.exp_avg", "optimizer.0.exp_avg"):
        with pytest.raises(TinyJEPAError, match="fits no parameter"):
            checkpoint.restore_optimizer(optimizer, {key: torch.zeros(77)})


def test_a_run_folder_from_a_stranger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, precious = tmp_path / "run", tmp_path / "precious"
    run.mkdir()
    precious.write_text("years")
    (run / "recipe.toml").write_text(recipes.dump(recipes.load("bouncing-logo")))
    for text in (DEEP, "[]", "{}", '{"store": 5}', "{"):
        (run / "run.json").write_text(text)
        assert run_command(brain_cli, "brain", ["judge", "--run", str(run)]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    (run / "judge.json.partial").symlink_to(precious)
    with pytest.raises(TinyJEPAError, match="symbolic link"):
        Run(run)
    assert precious.read_text() == "years"


@pytest.mark.parametrize(
    "line",
    ["encoder = " + "[" * 5000, 'name = "x"\nencoder.dim = 1e99', "encoder.dim = 99999999", "__class__ = 1", "\0"],
)
def test_recipes_with_hostile_values(tmp_path: Path, line: str) -> None:
    (tmp_path / "evil.toml").write_text(line)
    with pytest.raises(TinyJEPAError) as caught:
        recipes.load(str(tmp_path / "evil.toml"))
    assert "\n" not in str(caught.value)
