"""Every recipe on a stand-in for a GPU: nothing is left on the host, and no training step waits for the device."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from brain import recipes
from brain.data.windows import Batch, Timing
from brain.models.latents import LatentTable
from brain.models.layers.video import SIZES, VideoEncoder
from brain.models.predictors.masked import MaskedPredictor
from brain.models.world_model import WorldModel
from brain.objectives.base import make_objective
from brain.parts import DECODERS, PLANNERS
from brain.planning.actions import ActionSpace
from brain.planning.costs.base import Goal, WeightedSum
from brain.planning.dynamics import Imagined
from brain.planning.planners.base import Problem
from brain.recipes.schema import Recipe
from brain.training.encoder import Criterion, backward
from brain.training.predictor import DynamicsStep
from shared.store.schema import EpisodeRef, StoreSpec
from tests.support.dots import RUN
from tests.support.planning import cost, planner, setting
from tests.support.stand_in import DEVICE, CopiedFromHost, LeftOnHost, ReadFromDevice, on_device, stand_in

WINDOWS, SIDE = 8, 64
NAMES = recipes.names()
SEARCHES = [kind for kind in PLANNERS if kind not in ("inverse", "guided", "policy", "prior")]
"""Planners that need no network of their own."""


def small(name: str) -> Recipe:
    return recipes.load(name, [f"objective.batch={WINDOWS}", f"prediction.batch={WINDOWS}"])


def world(recipe: Recipe) -> StoreSpec:
    shape = (1, 1, 6) if recipe.observation.mode == "state" else (SIDE, SIDE, 3)
    return StoreSpec(world="made-up", frame_shape=shape, action_dim=2, control_rate=10.0, state_names=("x", "y"))


def frames_on_device(recipe: Recipe, count: int) -> torch.Tensor:
    kind = torch.float32 if recipe.observation.mode == "state" else torch.uint8
    return on_device((WINDOWS, count, *world(recipe).frame_shape), kind)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_of_the_encoder_stays_on_the_device(name: str) -> None:
    recipe = small(name)
    with stand_in():
        model = WorldModel(recipe, world(recipe)).to(DEVICE)
        objective = make_objective(recipe, model.encoder, model.action_dim).to(DEVICE)
        objective.begin(model.encoder)
        batch = Batch(
            frames_on_device(recipe, recipe.observation.stack + objective.steps),
            on_device((WINDOWS, objective.steps, model.action_dim)),
        )
        parameters = [p for p in [*model.encoder.parameters(), *objective.parameters()] if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, 1e-3)
        for step in range(3):
            optimizer.zero_grad(set_to_none=True)
            generator = torch.Generator().manual_seed(step)
            terms = backward(Criterion(model.encoder, objective), batch, generator)
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            objective.after_step(model.encoder, 0.4 * step)
        assert {t.device for t in (terms.loss, terms.latents, *terms.parts.values())} == {DEVICE}
        assert all(p.grad is not None and p.grad.device == DEVICE for p in parameters)
        with pytest.raises(ReadFromDevice):
            float(terms.loss)  # the stand-in notices what it is for


@pytest.mark.parametrize("name", NAMES)
def test_a_step_of_the_predictor_stays_on_the_device(name: str) -> None:
    recipe = small(name)
    spec, timing = world(recipe), Timing.of(recipe.observation)
    rows = 40 + timing.rows(recipe.prediction.span)
    ref = EpisodeRef(RUN, 0, 0, "none", "s", 0, rows, False, True, "train")
    table = LatentTable(spec, [ref], timing, [np.arange(timing.history, rows)])
    with stand_in():
        model = WorldModel(recipe, spec).to(DEVICE)
        latents = np.zeros((len(table.sampled[0]), *model.latent_shape), np.float32)
        windows = table.windows(latents, DEVICE)
        step_of = DynamicsStep(model.dynamics, windows, recipe.prediction, 0)
        for step in range(2):
            losses = step_of(step)
        assert {loss.device for loss in losses.values()} == {DEVICE}


@pytest.mark.parametrize("name", NAMES)
def test_embedding_energies_rollouts_and_decoders_stay_on_the_device(name: str) -> None:
    recipe = small(name)
    with stand_in():
        model = WorldModel(recipe, world(recipe)).to(DEVICE).eval()
        z = model.encode(frames_on_device(recipe, recipe.observation.stack + 1))
        action = on_device((WINDOWS, model.action_dim))
        future = model.rollout(z[:, 0], on_device((WINDOWS, 5, model.action_dim)))
        found = [z, future, model.energy(z[:, 0], action, z[:, 1]), model.energy(z[:, 0], action, z[:, 1], "plain")]
        if recipe.observation.mode != "state":
            for kind in DECODERS:
                if (kind == "grid") == (model.space.grid is not None):
                    found.append(DECODERS.get(kind)(model.space, (SIDE, SIDE, 3)).to(DEVICE)(z[:, 0]))
        assert {tensor.device for tensor in found} == {DEVICE}


@pytest.mark.parametrize("name", NAMES)
def test_encoding_and_rollouts_copy_nothing_to_the_device(name: str) -> None:
    """A copy of plain memory waits for the GPU, and ends the recording of a CUDA graph."""
    recipe = small(name)
    with stand_in():
        model = WorldModel(recipe, world(recipe)).to(DEVICE)
    with stand_in(copies=False):
        z = model.encode(frames_on_device(recipe, recipe.observation.stack + 1))
        model.dynamics.unroll(model.dynamics.standardise(z[:, 0]), on_device((WINDOWS, 2, model.action_dim)))


@pytest.mark.parametrize("size", ["tiny", "vit-ti"])
def test_a_video_transformer_copies_nothing_to_the_device(size: str) -> None:
    with stand_in():
        encoder = VideoEncoder(3, SIZES[size]).to(DEVICE)
        predictor = MaskedPredictor(SIZES[size].width, 64, 1).to(DEVICE)
    side = -(-SIDE // SIZES[size].side)
    with stand_in(copies=False):
        tokens = encoder(on_device((2, 4, 3, SIDE, SIDE)))
        times = on_device((2, 1), torch.int64)
        assert predictor(tokens[:, :1], times, times, (side, side)).device == DEVICE


@pytest.mark.parametrize("kind", SEARCHES)
@pytest.mark.parametrize("name", ["two-room", "two-room-grid"])
def test_planning_stays_on_the_device(name: str, kind: str, tmp_path: Path) -> None:
    """A planner may read what it found, not compute on the host."""
    recipe = small(name)
    with stand_in(reads=True):
        dynamics = Imagined(WorldModel(recipe, world(recipe)).to(DEVICE).eval())
        given = setting(dynamics, tmp_path)
        total = WeightedSum([cost("goal-distance", given, when="last"), cost("control", given, weight=0.1)])
        goal = Goal(on_device((1, *dynamics.model.latent_shape)), np.zeros(2), np.zeros((1, 1, 1), np.uint8))
        problem = Problem(dynamics, total, on_device((1, *dynamics.model.latent_shape)), goal)
        for box in (gym.spaces.Box(-1, 1, (2,), np.float32), gym.spaces.Discrete(2)):
            space = ActionSpace(box, dynamics.typical if box.shape else None, DEVICE)
            part = planner(kind, space, given, horizon=3, block=1)
            plan = part.plan(problem, torch.Generator().manual_seed(0))
            assert plan.latents.device == DEVICE and plan.latents.shape[1:] == dynamics.model.latent_shape


def test_the_stand_in_refuses_a_tensor_left_on_the_host() -> None:
    with stand_in(), pytest.raises(LeftOnHost):
        on_device((3, 4)) + torch.zeros(3, 4)
    with stand_in(copies=False), pytest.raises(CopiedFromHost):
        torch.zeros(3, 4).to(DEVICE)
