"""A small run with fresh weights, to export beside a trained one."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from brain import recipes
from brain.models.world_model import WorldModel
from brain.runs import checkpoint
from brain.runs.folder import Run
from shared.store.schema import StoreSpec

ROOMS = StoreSpec(
    world="two-room", frame_shape=(65, 65, 2), action_dim=2, control_rate=10, state_names=("x", "y", "wall_x", "door_y")
)


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
