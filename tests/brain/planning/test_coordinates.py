"""Planning with a model that sees coordinates, several moments at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from brain import recipes
from brain.data.state_mode import Scale, StateSpec
from brain.models.world_model import WorldModel
from brain.planning.actions import ActionSpace
from brain.planning.agent import Agent
from brain.planning.costs.base import WeightedSum
from brain.planning.dynamics import Counted, Imagined
from shared.worlds import make_world
from tests.support.planning import cost, planner, setting

STACK, STRIDE = 3, 2


@pytest.fixture
def dynamics() -> Imagined:
    world = make_world("double-pendulum")
    names = world.state_names
    given = [
        "observation.mode=state", "encoder.kind=mlp", f"observation.stack={STACK}", f"observation.stride={STRIDE}",
        "encoder.dim=8", "encoder.width=8",
    ]  # fmt: skip
    spec = StateSpec(
        world="made-up", frame_shape=(1, 1, len(names)), action_dim=2, control_rate=10.0, state_names=names,
        picture_shape=(64, 64, 3),
    )  # fmt: skip
    torch.manual_seed(0)
    model = WorldModel(recipes.load("car-racing", given), spec).eval()
    return Imagined(model, Scale(names, tuple(0.5 for _ in names), tuple(2.0 for _ in names)))


def test_a_moment_is_the_states_that_led_to_it(dynamics: Imagined) -> None:
    size = len(dynamics.model.spec.state_names)
    states = np.random.default_rng(0).normal(size=(STACK, size)).astype(np.float32)
    frames = np.zeros((STACK, 8, 8, 3), np.uint8)
    seen = torch.from_numpy((states - 0.5) / 2).float()[None, :, None, None]
    assert torch.allclose(dynamics.observe(frames, states), dynamics.model.encode(seen)[:, 0], atol=1e-6)
    still = dynamics.observe(frames, states[-1])
    assert torch.allclose(still, dynamics.observe(frames, np.stack([states[-1]] * STACK)), atol=1e-6)
    assert not torch.allclose(still, dynamics.observe(frames, states), atol=1e-3)


def test_an_agent_keeps_past_states_beside_past_frames(dynamics: Imagined, tmp_path: Path) -> None:
    shown: list[np.ndarray] = []

    class Kept(Counted):
        def observe(self, frames: np.ndarray, states: np.ndarray) -> torch.Tensor:
            shown.append(states)
            return super().observe(frames, states)

    world = make_world("double-pendulum", torque=True)
    counted, given = Kept(dynamics), setting(dynamics, tmp_path)
    part = planner("shooting", ActionSpace(world.action_space), given, receding=1)
    agent = Agent(world, counted, part, WeightedSum([cost("control", given, weight=1.0)]), None, 0)
    frame, _ = world.reset(seed=0)
    states = [world.state()]
    for _ in range(2 * STACK * STRIDE):
        frame, *_ = world.step(agent.act(frame, states[-1]))
        states.append(world.state())
    assert len(shown) == 2 * STACK
    for decision, found in enumerate(shown):
        row = decision * STRIDE
        assert np.array_equal(found, np.stack([states[max(0, row - k * STRIDE)] for k in (2, 1, 0)]))
