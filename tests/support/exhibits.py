"""Small runs to export: one that was trained, with a decoder, and one with fresh weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from brain import recipes
from brain.cli import cli
from brain.models.world_model import WorldModel
from brain.runs import checkpoint
from brain.runs.folder import Run
from brain.training.decoder import train_decoder
from factory.cli import cli as factory
from shared.cli.console import run
from shared.store.reader import Store
from shared.store.schema import StoreSpec

ROOMS = StoreSpec(
    world="two-room", frame_shape=(65, 65, 2), action_dim=2, control_rate=10, state_names=("x", "y", "wall_x", "door_y")
)


def logo_run(folder: Path) -> Path:
    """A small but trained run of the bouncing logo, with a decoder."""
    store, path = str(folder / "store"), folder / "logo"
    collect = ["collect", "--world", "bouncing-logo", "--episodes", "50", "--local", "--store", store]
    assert run(factory, "factory", collect) == 0
    small = ["--recipe", "bouncing-logo", "--set", "objective.rollout=4", "--set", "prediction.rollout=4", "--quiet"]
    for stage, steps in (("encoder", "200"), ("predictor", "80")):
        command = ["train", "--store", store, "--run", str(path), *small, "--stage", stage, "--steps", steps]
        assert run(cli, "brain", [*command, "--device", "cpu"]) == 0
    opened = Store(store)
    model = WorldModel.load(path, opened.spec, torch.device("cpu"))
    episodes = [opened.read_episode(ref, "frame")["frame"] for ref in opened.split("train")[:8]]
    z = model.encode(torch.from_numpy(np.stack(episodes)))
    energies = model.energy(z[:, :-1].flatten(0, 1), z[:, :-1, :0].flatten(0, 1), z[:, 1:].flatten(0, 1))
    judge(path, opened.spec, "scaled", float(energies.quantile(0.99)))
    train_decoder(Run(path), model, opened, 60, 0, quiet=True)
    return path


def rooms_run(folder: Path) -> Path:
    """A run of the two rooms with fresh weights, no decoder and a made-up threshold."""
    torch.manual_seed(0)
    recipe = recipes.load("two-room", ["encoder.width=8"])
    model, made = WorldModel(recipe, ROOMS), Run(folder / "rooms")
    made.begin(recipe, ROOMS, "gone", 0)
    checkpoint.save(made.encoder, checkpoint.state(model=model.encoder), {})
    checkpoint.save(made.predictor, checkpoint.state(model=model.dynamics), {})
    judge(made.path, ROOMS, "plain", 0.5)
    return made.path


def judge(path: Path, spec: StoreSpec, form: str, threshold: float) -> None:
    """What an export reads of ``judge.json``, without judging."""
    energy = {
        "form": form,
        "kinds": {},
        "false_alarm_target": 0.01,
        "validation": {form: {"thresholds": {"1": threshold}}},
    }
    Run(path).judgement.write_text(json.dumps({"energy": energy, "store": spec.model_dump(mode="json")}))
