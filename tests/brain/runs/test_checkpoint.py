"""What a checkpoint gives back is what training held, in the same order in memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from brain import recipes
from brain.device import adamw
from brain.models.world_model import WorldModel
from brain.recipes.schema import Recipe
from brain.runs import checkpoint
from shared.store.schema import StoreSpec


def trained(recipe: Recipe, steps: int) -> tuple[WorldModel, torch.optim.AdamW]:
    """A model and its optimiser after steps along made-up gradients."""
    shape = (1, 1, 6) if recipe.observation.mode == "state" else (64, 64, 3)
    spec = StoreSpec(world="made-up", frame_shape=shape, action_dim=2, control_rate=10.0, state_names=("x", "y"))
    model = WorldModel(recipe, spec)
    optimizer = adamw(model.encoder.parameters(), 1e-3, 0.0)
    for _ in range(steps):
        for parameter in model.encoder.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
    return model, optimizer


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_checkpoint_is_for_whom_the_umask_says(mask: int, mode: int, tmp_path: Path) -> None:
    killed = tmp_path / "kept.partial"
    killed.touch(0o600)
    before = os.umask(mask)
    try:
        checkpoint.save(tmp_path / "kept.safetensors", {"x": torch.ones(2)}, {})
    finally:
        os.umask(before)
    assert (tmp_path / "kept.safetensors").stat().st_mode & 0o777 == mode
    assert [path.name for path in tmp_path.iterdir()] == ["kept.safetensors"]


@pytest.mark.parametrize("name", recipes.names())
def test_moments_come_back_in_the_memory_order_of_their_weights(name: str, tmp_path: Path) -> None:
    """AdamW's one kernel on a GPU takes no others."""
    recipe = recipes.load(name)
    model, optimizer = trained(recipe, 2)
    tensors = checkpoint.state(model=model.encoder) | checkpoint.optimizer_state(optimizer)
    checkpoint.save(tmp_path / "kept.safetensors", tensors, {})

    other, following = trained(recipe, 0)
    held, _ = checkpoint.load(tmp_path / "kept.safetensors")
    checkpoint.restore(tmp_path / "kept.safetensors", other.encoder, held, "model")
    checkpoint.restore_optimizer(following, held)
    for was, parameter in zip(model.encoder.parameters(), other.encoder.parameters()):
        assert torch.equal(parameter, was) and parameter.stride() == was.stride()
        for moment in ("exp_avg", "exp_avg_sq"):
            value = following.state[parameter][moment]
            assert torch.equal(value, optimizer.state[was][moment]) and value.stride() == parameter.stride()
    assert all(values["step"] == 2 for values in following.state.values())
