"""A grid with a vector beside it: how they are laid out, what their energies are, how their objective unrolls."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from brain import recipes
from brain.models.calibration import HORIZON, Calibration
from brain.models.encoders.base import Frames
from brain.models.encoders.grid_vector import GridVectorEncoder, GridVectorOptions
from brain.models.space import LatentSpace
from brain.models.world_model import WorldModel, make_encoder
from brain.objectives.base import make_objective
from brain.objectives.grid_vector import GridVectorObjective
from tests.support.dots import dot_spec

SPACE = LatentSpace(4, (6, 5), 3)


def test_cells_come_first_and_the_vector_after_them() -> None:
    assert (SPACE.kind, SPACE.cells, SPACE.vector, SPACE.shape) == ("grid-vector", 30, 12, (33, 4))
    z = torch.randn(2, 7, *SPACE.shape)
    cells, vector = SPACE.split(z)
    assert cells.shape == (2, 7, 30, 4) and vector.shape == (2, 7, 12)
    assert torch.equal(cells, z[:, :, :30]) and torch.equal(vector[1, 2], z[1, 2, 30:].flatten())
    assert torch.equal(SPACE.join(cells, vector), z)
    assert torch.equal(SPACE.gist(z[0]), vector[0])
    assert LatentSpace(4, (6, 5)).kind == "grid" and LatentSpace(4).kind == "vector"
    assert torch.equal(LatentSpace(4, (6, 5)).gist(cells[0]), cells[0])


def test_a_probe_reads_the_vector_and_means_of_blocks() -> None:
    space = LatentSpace(2, (8, 8), 3)
    z = np.random.default_rng(0).normal(size=(5, *space.shape)).astype(np.float32)
    read = space.features(z)
    assert read.shape == (5, 3 * 2 + 16 * 2)
    np.testing.assert_array_equal(read[:, :6], z[:, 64:].reshape(5, 6))
    block = z[:, :64].reshape(5, 8, 8, 2)[:, 2:4, 6:8].mean((1, 2))  # the second row's last
    np.testing.assert_allclose(read[:, 6:].reshape(5, 2, 16)[:, :, 7], block, rtol=1e-5, atol=1e-6)
    assert LatentSpace(2, (8, 8)).features(z[:, :64]).shape == (5, 128)


def test_the_encoder_sees_what_changed() -> None:
    torch.manual_seed(0)
    encoder = GridVectorEncoder(GridVectorOptions(dim=4, registers=3, width=8), Frames(24, 20, 3, stack=2)).eval()
    assert encoder.space == SPACE and encoder.trunk[0].in_channels == 9
    observation = torch.rand(2, 6, 24, 20)
    assert encoder(observation).shape == (2, 33, 4)
    encoder.trunk[0].weight.data[:, :6] = 0  # only the difference is left
    still = torch.cat([observation[:, 3:], observation[:, 3:]], 1)
    torch.testing.assert_close(encoder(still), encoder(torch.zeros_like(still)))
    assert (encoder(observation) - encoder(still)).abs().max() > 0
    alone = GridVectorEncoder(GridVectorOptions(dim=4, registers=3, width=8), Frames(24, 20, 3))
    assert alone.trunk[0].in_channels == 3, "one frame has no difference"


def true_errors(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Squared errors and log-variances of true transitions: cells 3 to 30 times better foretold than the vector."""
    sizes = torch.cat([torch.linspace(0.03, 0.3, SPACE.cells), torch.ones(SPACE.registers)])[:, None]
    error = (torch.randn(count, *SPACE.shape, generator=generator) * sizes).square()
    return error, (2 * sizes.log()).expand(count, *SPACE.shape)


@pytest.mark.parametrize("scaled", [False, True])
def test_an_energy_is_the_larger_of_two_on_one_scale(scaled: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    calibration = Calibration(SPACE, 3)
    error, log_variance = true_errors(800, generator)
    calibration.fit(error, log_variance, 1)
    calibration.fit(100 * error, log_variance, 2)
    error, log_variance = true_errors(800, generator)
    energy = calibration(error, log_variance, scaled, 1)
    assert (energy > 0).all() and energy.median() < 2.2  # of the larger of two, the median of each being log 2
    assert 0.02 < float((energy > math.log1p(math.exp(3))).float().mean()) < 0.18  # 5 % of each are above
    torch.testing.assert_close(energy, calibration(100 * error, log_variance, scaled, 2))
    torch.testing.assert_close(energy, calibration(100 * error, log_variance, scaled, HORIZON + 9))
    for part in (error[:, :1], error[:, SPACE.cells :]):  # one cell, the steadiest; and the vector
        before = part.clone()
        part *= 30
        assert (calibration(error, log_variance, scaled, 1) > energy + 1).float().mean() > 0.9
        part.copy_(before)
    assert torch.isfinite(calibration(1e30 * error, log_variance, scaled, 1)).all()


def test_rollouts_grow_longer() -> None:
    torch.manual_seed(0)
    recipe = recipes.load("car-racing-grid-vector", ["encoder.width=8"])
    encoder = make_encoder(recipe, (32, 32, 3))
    objective = make_objective(recipe, encoder, 12)
    assert isinstance(objective, GridVectorObjective)
    lengths = []
    for fraction in (0.0, 0.24, 0.25, 0.49, 0.5, 0.99):
        objective.before_step(fraction)
        lengths.append(objective.length)
    assert lengths == [1, 1, 2, 2, 4, 4]


def test_the_energy_asks_how_far_ahead_it_is() -> None:
    torch.manual_seed(0)
    small = ["encoder.width=8", "prediction.predictor.width=8", "objective.predictor.width=8"]
    model = WorldModel(recipes.load("car-racing-grid-vector", small), dot_spec()).eval()
    assert model.dynamics.calibration is not None
    model.dynamics.calibration.median[:, 1:] += 1
    z, action = torch.randn(5, *model.latent_shape), torch.zeros(5, model.action_dim)
    near, far = (model.energy(z, action, z.flip(0), steps=steps) for steps in (1, 3))
    torch.testing.assert_close(torch.expm1(near), torch.expm1(far) * torch.e)
    means, log_variances = model.dynamics.unroll(z, torch.zeros(5, 3, model.action_dim))
    torch.testing.assert_close(means, model.rollout(z, torch.zeros(5, 3, model.action_dim)))
    assert log_variances.shape == means.shape
