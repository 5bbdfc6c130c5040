"""Stage 2: what ``prediction.pushforward`` trains on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from brain import recipes
from brain.cli import cli as brain
from brain.data.windows import Timing
from brain.models.latents import LatentTable, LatentWindows
from brain.models.world_model import WorldModel
from brain.planning.dynamics import Imagined
from brain.training.predictor import DynamicsCriterion, DynamicsStep, fit_actions, fit_scale
from shared.cli.console import run as run_command
from shared.errors import TinyJEPAError
from shared.store.schema import EpisodeRef, StoreSpec
from tests.support.dots import RUN, make_dot_store

SPEC = StoreSpec(world="made-up", frame_shape=(64, 64, 3), action_dim=2, control_rate=10.0, state_names=("x", "y"))
SMALL = ["prediction.rollout=2", "prediction.batch=4", "prediction.start=fresh"]


def model_of(name: str, *overrides: str) -> WorldModel:
    torch.manual_seed(0)
    model = WorldModel(recipes.load(name, [*SMALL, *overrides]), SPEC)
    for parameter in model.dynamics.parameters():
        parameter.data += 0.02 * torch.randn(parameter.shape)  # a last layer may begin with zeros
    model.dynamics.latent_std.fill_(2.0)
    return model


def table(model: WorldModel, rows: int) -> LatentWindows:
    """Random latents of two episodes of ``rows`` frames."""
    rng, timing = np.random.default_rng(0), Timing.of(model.recipe.observation)
    refs = [EpisodeRef(RUN, k, k, "none", "s", k * rows, rows, False, True, "train") for k in range(2)]
    made = LatentTable(SPEC, refs, timing, [np.arange(timing.history, rows) for _ in refs])
    made.action[:] = rng.standard_normal(made.action.shape)
    latents = rng.standard_normal((sum(map(len, made.sampled)), *model.latent_shape), np.float32)
    return made.windows(latents, torch.device("cpu"))


def gradients(model: WorldModel, loss: Tensor) -> list[Tensor]:
    parameters = [*model.dynamics.predictor.parameters()]
    return [g for g in torch.autograd.grad(loss, parameters, allow_unused=True) if g is not None]


@pytest.mark.parametrize("name", ["car-racing", "two-room-grid", "car-racing-grid-vector"])
@pytest.mark.parametrize("relative", ["true", "false"])
def test_half_of_a_batch_starts_from_forecasts_without_gradients(name: str, relative: str) -> None:
    model = model_of(name, "prediction.pushforward=3", f"prediction.relative={relative}")
    z = torch.randn(4, 6, *model.latent_shape)
    actions, age = torch.randn(4, 5, model.action_dim), torch.tensor([1, 3])
    error, likelihood = DynamicsCriterion(model.dynamics, model.recipe.prediction)(z, actions, age)

    plain = DynamicsCriterion(model.dynamics, model.recipe.prediction.model_copy(update={"pushforward": 0}))
    nothing = torch.empty(0)
    first, expected = plain(z[:2, :3], actions[:2, :2], nothing)
    windows, taken = [], []
    for row, old in zip((2, 3), age.tolist()):
        with torch.no_grad():
            forecast = model.dynamics.rollout(model.dynamics.standardise(z[row : row + 1, 0]), actions[row : row + 1])
        start = 2 * forecast[0, old - 1]
        windows.append(torch.cat([start[None], z[row, old + 1 : old + 3]]))
        taken.append(actions[row, old : old + 2])
    second, _ = plain(torch.stack(windows), torch.stack(taken), nothing)
    torch.testing.assert_close(error, (first + second) / 2)
    torch.testing.assert_close(likelihood, expected)
    for found, same in zip(gradients(model, error), gradients(model, (first + second) / 2), strict=True):
        torch.testing.assert_close(found, same, rtol=1e-3, atol=1e-5)


def test_windows_hold_the_forecasts_too_and_depend_on_the_step_alone() -> None:
    model = model_of("car-racing", "prediction.pushforward=3")
    latents = table(model, rows=60)
    losses = []
    for _ in range(2):
        fresh = model_of("car-racing", "prediction.pushforward=3")
        step_of = DynamicsStep(fresh.dynamics, latents, fresh.recipe.prediction, seed=0)
        assert len(step_of.starts) == len(latents.starts(5))
        losses.append([float(step_of(step)["loss"]) for step in range(5)])
    assert losses[0] == losses[1] and len(set(losses[0])) == 5


def test_a_batch_with_forecasts_has_two_halves() -> None:
    with pytest.raises(TinyJEPAError, match=r"prediction\.batch is even: set it to 6"):
        recipes.load("car-racing", ["prediction.pushforward=3", "prediction.batch=5"])


def test_episodes_too_short_for_the_forecasts_are_named() -> None:
    model = model_of("car-racing", "prediction.pushforward=30")
    with pytest.raises(
        TinyJEPAError, match=r"longer than 32 model steps .* lower prediction\.rollout, prediction\.pushf"
    ):
        DynamicsStep(model.dynamics, table(model, rows=60), model.recipe.prediction, seed=0)


def test_short_episodes_are_refused_before_a_folder_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, run = make_dot_store(tmp_path / "store", episodes=8), tmp_path / "run"
    words = ["train", "--recipe", "car-racing", "--store", str(store), "--run", str(run), "--device", "cpu", "--quiet"]
    assert run_command(brain, "brain", [*words, "--steps", "1", "--set", "prediction.pushforward=20"]) == 2
    error = capsys.readouterr().err
    assert "no training episode is longer than 21 model steps" in error and error.count("\n") == 1
    assert not run.exists()


@pytest.mark.parametrize("name", ["car-racing", "two-room-grid"])
def test_the_actions_of_the_data_are_kept_whether_or_not_they_are_standardised(name: str) -> None:
    """A predictor that goes on from stage 1 keeps its raw scale; planners need the data's all the same."""
    model = model_of(name, "prediction.start=fresh")
    windows = table(model, 200)
    windows.actions[:] = 0.3 + 0.2 * windows.actions
    fit_actions(model.dynamics, windows)
    assert torch.equal(model.dynamics.action_std, torch.ones(model.action_dim))
    mean, std, low, high = Imagined(model).typical
    taken = windows.chunks(windows.starts(1), 1).reshape(-1, 2)
    assert torch.equal(low, taken.amin(0)) and torch.equal(high, taken.amax(0)) and (low < mean).all()
    assert torch.allclose(mean, torch.full((2,), 0.3), atol=0.05) and torch.allclose(
        std, torch.full((2,), 0.2), atol=0.03
    )
    fit_scale(model.dynamics, windows)
    assert torch.equal(model.dynamics.action_std, model.dynamics.data_action_std)


def test_weights_of_earlier_versions_have_the_statistics_that_they_standardise_with() -> None:
    model = model_of("car-racing")
    model.dynamics.action_std.fill_(0.5)
    kept = {name: value for name, value in model.dynamics.state_dict().items() if not name.startswith("data_action")}
    other = model_of("car-racing")
    other.dynamics.load_state_dict(kept)
    assert torch.equal(other.dynamics.data_action_std, torch.full((model.action_dim,), 0.5))
    assert torch.equal(other.dynamics.data_action_high, torch.full((model.action_dim,), 1.5))
    with pytest.raises(RuntimeError, match="action_mean"):
        other.dynamics.load_state_dict({name: value for name, value in kept.items() if name != "action_mean"})
