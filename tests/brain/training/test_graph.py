"""Training steps replayed as CUDA graphs compute what plain steps do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from brain import recipes
from brain.data.windows import Batch, Timing
from brain.device import adamw, pick_precision, set_rate
from brain.models.latents import LatentTable
from brain.models.world_model import WorldModel
from brain.objectives.base import make_objective
from brain.runs import checkpoint
from brain.runs.folder import Compute
from brain.training.encoder import EncoderStep
from brain.training.graph import WARM_STEPS, StepGraph
from brain.training.predictor import DynamicsStep, fit_scale
from shared.store.schema import EpisodeRef, StoreSpec
from tests.support.dots import RUN

WINDOWS, SIDE, STEPS = 16, 64, 12
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def spec(recipe: recipes.Recipe) -> StoreSpec:
    shape = (1, 1, 6) if recipe.observation.mode == "state" else (SIDE, SIDE, 3)
    return StoreSpec(world="made-up", frame_shape=shape, action_dim=2, control_rate=10.0, state_names=("x", "y"))


def encoder_trained(name: str, graphs: bool) -> tuple[dict[str, Tensor], list[float], bool]:
    """Weights and losses of some steps of stage 1, whose rate and phase change on the way."""
    recipe, device = recipes.load(name, [f"objective.batch={WINDOWS}"]), torch.device("cuda")
    torch.manual_seed(0)
    model = WorldModel(recipe, spec(recipe)).to(device)
    objective = make_objective(recipe, model.encoder, model.action_dim).to(device)
    objective.begin(model.encoder)
    compute = Compute(pick_precision("auto", device))
    step_of = EncoderStep(model.encoder.train(), objective.train(), compute, device, graphs=graphs)
    losses = []
    for step in range(STEPS):
        rng = np.random.default_rng(step)
        count = recipe.observation.stack + objective.steps
        frames = rng.integers(0, 256, (WINDOWS, count, *model.spec.frame_shape))
        kind = np.float32 if recipe.observation.mode == "state" else np.uint8
        actions = rng.standard_normal((WINDOWS, objective.steps, model.action_dim), np.float32)
        batch = Batch(torch.from_numpy(frames.astype(kind)).to(device), torch.from_numpy(actions).to(device))
        objective.before_step(step / STEPS)
        set_rate(step_of.optimizer, 1e-3 * (step + 1) / STEPS)
        losses.append(float(step_of(batch, step).loss))
        objective.after_step(model.encoder, (step + 1) / STEPS)
    weights = {name: value.clone() for name, value in (model.state_dict() | objective.state_dict()).items()}
    return weights, losses, step_of.graph.recorded


@gpu
@pytest.mark.parametrize("name", recipes.names())
def test_the_encoder_is_trained_as_by_plain_steps(name: str) -> None:
    plain, plain_losses, recorded = encoder_trained(name, graphs=False)
    assert not recorded
    weights, losses, recorded = encoder_trained(name, graphs=True)
    assert recorded == (recipes.load(name).objective.part().replayable)
    assert losses == pytest.approx(plain_losses, rel=1e-3)
    for key, value in plain.items():
        torch.testing.assert_close(weights[key], value, rtol=1e-2, atol=2e-3, msg=lambda m, key=key: f"{key}: {m}")


@gpu
@pytest.mark.parametrize("name", ["car-racing", "car-racing-grid-vector", "two-room-grid"])
def test_the_predictor_is_trained_as_by_plain_steps(name: str) -> None:
    recipe, device = recipes.load(name, [f"prediction.batch={WINDOWS}"]), torch.device("cuda")
    found = []
    for graphs in (False, True):
        torch.manual_seed(0)
        model = WorldModel(recipe, spec(recipe)).to(device)
        timing = Timing.of(recipe.observation)
        rows = 40 + timing.rows(recipe.prediction.span)
        ref = EpisodeRef(RUN, 0, 0, "none", "s", 0, rows, False, True, "train")
        table = LatentTable(model.spec, [ref], timing, [np.arange(timing.history, rows)])
        rng = np.random.default_rng(0)
        table.action[:] = rng.standard_normal(table.action.shape)
        latents = rng.standard_normal((len(table.sampled[0]), *model.latent_shape)).astype(np.float32)
        windows = table.windows(latents, device)
        fit_scale(model.dynamics, windows)
        step_of = DynamicsStep(model.dynamics, windows, recipe.prediction, 0, graphs=graphs)
        losses = [float(step_of(step)["loss"]) for step in range(STEPS)]
        assert step_of.graph.recorded == graphs
        found.append(losses)
    assert found[1] == pytest.approx(found[0], rel=1e-3)


@gpu
def test_a_step_that_reads_from_the_gpu_goes_on_without_a_graph() -> None:
    weight = torch.nn.Parameter(torch.zeros(3, device="cuda"))
    optimizer = adamw([weight], 0.1, 0.0)

    def work(value: Tensor) -> float:
        optimizer.zero_grad()
        loss = (weight - value).square().sum()
        loss.backward()
        optimizer.step()
        return float(loss)

    step = StepGraph(work, optimizer, weight.device)
    losses = [step(torch.ones(3, device="cuda")) for _ in range(WARM_STEPS + 5)]
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0]
    assert not step.recorded
    assert torch.cuda.current_stream() == torch.cuda.default_stream()


@gpu
def test_training_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    path, recipe, device = tmp_path / "kept.safetensors", recipes.load("car-racing"), torch.device("cuda")
    actions = torch.randn(WINDOWS, 4, 2 * recipe.observation.stride, device=device)
    frames = torch.randint(256, (WINDOWS, recipe.observation.stack + 4, SIDE, SIDE, 3), device=device).to(torch.uint8)
    batch, losses, held = Batch(frames, actions), [], None
    for _ in range(2):
        torch.manual_seed(0)
        model = WorldModel(recipe, spec(recipe)).to(device)
        objective = make_objective(recipe, model.encoder, model.action_dim).to(device)
        objective.begin(model.encoder)
        batch = Batch(frames[:, : recipe.observation.stack + objective.steps], actions[:, : objective.steps])
        step_of = EncoderStep(model.encoder.train(), objective.train(), Compute("float32"), device)
        modules = {"model": model.encoder, "objective": objective}
        if held is None:
            for step in range(STEPS):
                step_of(batch, step)
            checkpoint.save(path, checkpoint.state(**modules) | checkpoint.optimizer_state(step_of.optimizer), {})
            held = checkpoint.load(path)[0]
        else:
            for name, module in modules.items():
                checkpoint.restore(path, module, held, name)
            checkpoint.restore_optimizer(step_of.optimizer, held)
        losses.append([float(step_of(batch, STEPS + step).loss) for step in range(STEPS)])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_on_a_cpu_every_step_is_a_plain_one() -> None:
    weight = torch.nn.Parameter(torch.zeros(3))
    optimizer = adamw([weight], 0.5, 0.0)
    calls = []

    def work(value: Tensor) -> Tensor:
        calls.append(value)
        optimizer.zero_grad()
        loss = (weight - value).square().sum()
        loss.backward()
        optimizer.step()
        return loss.detach()

    step = StepGraph(work, optimizer, weight.device)
    losses = [float(step(torch.ones(3))) for _ in range(WARM_STEPS + 3)]
    assert len(calls) == WARM_STEPS + 3 and not step.recorded
    set_rate(optimizer, 0.0)
    before = weight.detach().clone()
    step(torch.ones(3))
    assert torch.equal(weight, before) and losses[-1] < losses[0]
