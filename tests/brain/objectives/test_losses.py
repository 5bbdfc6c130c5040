"""Every loss and diagnostic against an independent computation, written out in plain numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from brain import recipes
from brain.data.windows import Batch
from brain.models.space import LatentSpace
from brain.models.world_model import make_encoder
from brain.objectives.base import make_objective
from brain.objectives.collapse import effective_rank, embedding_std
from brain.objectives.losses import (
    CovarianceLoss,
    GaussianNLL,
    InvarianceLoss,
    InverseDynamics,
    RelativeErrorLoss,
    SIGReg,
    VarianceLoss,
)
from brain.objectives.predictive import Predictive


@pytest.fixture
def z() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(40, 6, generator=generator) * torch.tensor([0.1, 0.5, 1.0, 1.5, 2.0, 0.0]) + 3


def test_invariance_is_the_mean_squared_difference(z: torch.Tensor) -> None:
    other = z.flip(0)
    expected = sum((a - b) ** 2 for a, b in zip(z.flatten().tolist(), other.flatten().tolist())) / z.numel()
    assert float(InvarianceLoss()(z, other)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", [(6,), (3, 2)])
def test_relative_error_is_the_mean_logarithm_of_each_steps_error(z: torch.Tensor, shape: tuple[int, ...]) -> None:
    scale = torch.tensor([0.01, 1.0, 30.0, 4.0]).view(1, 4, *[1 for _ in shape])  # errors that grow over 4 steps
    a, b = scale * z.reshape(10, 4, *shape), scale * z.flip(0).reshape(10, 4, *shape)
    a.requires_grad_()
    loss = RelativeErrorLoss()(a, b)
    loss.backward()
    error = (a - b).detach().double().numpy().reshape(10, 4, 6)
    each = (error**2).mean((0, 2))
    weights = np.array([12, 6, 4, 3]) / 25
    assert float(loss.detach()) == pytest.approx(weights @ np.log(each), rel=1e-5)
    assert a.grad is not None
    gradient = 2 * error / error[:, 0].size * (weights / each)[:, None]
    np.testing.assert_allclose(a.grad.reshape(10, 4, 6).numpy(), gradient, rtol=1e-4)


def test_relative_error_is_finite_where_a_step_is_predicted_exactly(z: torch.Tensor) -> None:
    a = z.reshape(10, 4, 6).clone().requires_grad_()
    loss = RelativeErrorLoss()(a, z.reshape(10, 4, 6))
    loss.backward()
    assert a.grad is not None
    assert torch.isfinite(loss) and torch.isfinite(a.grad).all()


def test_variance_is_the_hinge_on_the_sample_standard_deviation(z: torch.Tensor) -> None:
    columns = z.double().numpy().T
    expected = np.mean([max(0.0, 1 - np.sqrt(np.var(column, ddof=1) + 1e-4)) for column in columns])
    assert float(VarianceLoss()(z)) == pytest.approx(expected, rel=1e-5)
    assert float(VarianceLoss()(torch.zeros(8, 3))) == pytest.approx(0.99)
    assert float(VarianceLoss()(100 * z[:, :5])) == 0


def test_covariance_is_the_off_diagonal_of_numpys(z: torch.Tensor) -> None:
    covariance = np.cov(z.double().numpy().T)
    off = covariance - np.diag(np.diag(covariance))
    assert float(CovarianceLoss()(z)) == pytest.approx((off**2).sum() / 6, rel=1e-4)


def test_likelihood_is_scipys_up_to_its_constant(z: torch.Tensor) -> None:
    from scipy.stats import norm

    log_variance = torch.linspace(-2, 1, z.numel()).view_as(z)
    error = (z - 3).double().numpy()
    expected = -norm.logpdf(error, scale=np.exp(log_variance.double().numpy() / 2)).mean(1) - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(GaussianNLL()(z - 3, log_variance).numpy(), expected, rtol=1e-4)


def test_inverse_dynamics_is_the_error_of_a_written_out_network(z: torch.Tensor) -> None:
    torch.manual_seed(0)
    loss, action = InverseDynamics(LatentSpace(6), 2, width=5), torch.randn(40, 2)
    first, _, second = loss.head
    weights = [w.detach().double().numpy() for w in (first.weight, first.bias, second.weight, second.bias)]
    hidden = np.concatenate([z.numpy(), z.flip(0).numpy()], 1) @ weights[0].T + weights[1]
    guess = hidden / (1 + np.exp(-hidden)) @ weights[2].T + weights[3]  # SiLU
    expected = np.mean((guess - action.numpy()) ** 2)
    assert float(loss(z, z.flip(0), action).detach()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("target", ["shared", "stop-gradient"])
def test_joint_prediction_is_its_written_out_terms(target: str) -> None:
    """Prediction, temporal similarity and inverse dynamics of 3 steps in plain numpy, and their weighted sum."""
    recipe = recipes.load(
        "car-racing",
        [
            "observation.stack=1", "encoder.kind=mlp", "encoder.dim=6", "encoder.width=4", "objective.rollout=3",
            "objective.temporal_similarity=0.7", "objective.inverse_dynamics=0.3", "objective.invariance=2.0",
            "objective.predictor.width=8", f"objective.target={target}",
        ],
    )  # fmt: skip
    torch.manual_seed(0)
    encoder = make_encoder(recipe, (4, 4, 3))
    objective = make_objective(recipe, encoder, 2)
    assert isinstance(objective, Predictive)
    batch = Batch(torch.randint(0, 256, (5, 4, 4, 4, 3), dtype=torch.uint8), torch.randn(5, 3, 2))
    with torch.no_grad():
        terms = objective.eval()(encoder.eval(), batch, torch.Generator())
        pixels = batch.frames.permute(0, 1, 4, 2, 3).flatten(0, 1) / 127.5 - 1
        z = encoder(pixels).unflatten(0, (5, 4))
        assert objective.inverse_dynamics is not None
        inverse = [objective.inverse_dynamics(z[:, k], z[:, k + 1], batch.actions[:, k]) for k in range(3)]
        state, errors = z[:, 0], []
        for k in range(3):
            state = objective.predictor(state, batch.actions[:, k])
            errors.append(((state - z[:, k + 1]).double().numpy() ** 2).mean())
    latents = z.double().numpy()
    expected = {
        "prediction": np.mean(errors),
        "temporal_similarity": np.mean((latents[:, 1:] - latents[:, :-1]) ** 2),
        "inverse_dynamics": np.mean([float(part) for part in inverse]),
        "variance": float(VarianceLoss()(z.flatten(0, 1))),
        "covariance": float(CovarianceLoss()(z.flatten(0, 1))),
    }
    for name, value in expected.items():
        assert float(terms.parts[name]) == pytest.approx(value, rel=1e-4), name
    weights = {"prediction": 2.0, "temporal_similarity": 0.7, "inverse_dynamics": 0.3, "variance": 4, "covariance": 0.1}
    assert float(terms.loss) == pytest.approx(sum(weights[name] * value for name, value in expected.items()), rel=1e-4)


def test_inverse_dynamics_learns_a_visible_action() -> None:
    torch.manual_seed(0)
    z, action = torch.randn(256, 4), torch.randn(256, 2)
    after = z.clone()
    after[:, :2] += action
    loss = InverseDynamics(LatentSpace(4), 2, width=64)
    optimizer = torch.optim.Adam(loss.parameters(), 1e-2)
    first = float(loss(z, after, action).detach())
    for _ in range(200):
        optimizer.zero_grad()
        loss(z, after, action).backward()
        optimizer.step()
    assert float(loss(z, after, action).detach()) < 0.1 * first


def test_gradients_reach_both_views() -> None:
    a, b = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    InvarianceLoss()(a, b).backward()
    assert a.grad is not None and b.grad is not None and a.grad.abs().sum() > 0
    torch.testing.assert_close(a.grad, -b.grad)


def epps_pulley(x: np.ndarray, limit: float) -> float:
    """The statistic of one shadow, by adaptive quadrature in float64."""
    from scipy.integrate import quad

    def integrand(t: float) -> float:
        return float(abs(np.exp(1j * t * x).mean() - np.exp(-(t**2) / 2)) ** 2 * np.exp(-(t**2) / 2))

    return len(x) * quad(integrand, -limit, limit, limit=400, epsabs=1e-10)[0]


@pytest.mark.parametrize(("limit", "knots", "tolerance"), [(3.0, 17, 5e-3), (5.0, 401, 1e-4), (1.0, 33, 5e-3)])
def test_sigreg_is_the_integral_by_quadrature(z: torch.Tensor, limit: float, knots: int, tolerance: float) -> None:
    loss = SIGReg(directions=8, knots=knots, limit=limit)
    directions = loss.draw(6, torch.Generator().manual_seed(3))
    torch.testing.assert_close(directions.norm(dim=0), torch.ones(8))
    shadows = (z.double() @ directions.double()).numpy().T
    expected = np.mean([epps_pulley(shadow, limit) for shadow in shadows])
    assert float(loss(z, torch.Generator().manual_seed(3))) == pytest.approx(expected, rel=tolerance)


def test_sigreg_of_a_standard_normal_is_its_sampling_noise() -> None:
    """E|ecf - cf|^2 = (1 - exp(-t^2)) / N, whatever N; against the weight, sqrt(2 pi) (1 - 1 / sqrt(3))."""
    generator = torch.Generator().manual_seed(0)
    loss = SIGReg(limit=5.0, knots=33)
    for n in (32, 256):
        noise = np.mean([float(loss(torch.randn(n, 32, generator=generator), generator)) for _ in range(30)])
        assert noise == pytest.approx(np.sqrt(2 * np.pi) * (1 - 3**-0.5), rel=0.05)


def test_sigreg_sees_every_way_to_be_no_isotropic_gaussian() -> None:
    n, generator = 512, torch.Generator().manual_seed(0)
    normal = torch.randn(n, 8, generator=generator)
    collapsed = np.sqrt(2 * np.pi) * (1 - np.sqrt(2) + 3**-0.5) * n
    assert float(SIGReg(limit=5.0, knots=33)(torch.zeros(n, 8), generator)) == pytest.approx(collapsed, rel=1e-3)
    flat = normal.clone()
    flat[:, 4:] = 0
    clusters = 0.95 * torch.sign(normal[:, :1]) + 0.3 * torch.randn(n, 8, generator=generator)
    shells = normal * torch.where(torch.arange(n) % 2 == 0, 0.2, 1.4)[:, None]  # white, but no Gaussian
    for bad in (flat, clusters, shells, 0.5 * normal, 2 * normal, normal + 1, normal[:, :1].expand(n, 8)):
        assert float(SIGReg()(bad, generator)) > 5 * float(SIGReg()(normal, generator))


def test_sigreg_spreads_a_collapsed_batch_to_a_sphere() -> None:
    """In 200 steps 256 points almost in one place become a cloud of unit covariance; the generator decides all."""
    loss, generator = SIGReg(directions=32), torch.Generator().manual_seed(0)
    points = (0.01 * torch.randn(256, 4, generator=generator) + 1).requires_grad_()
    optimizer = torch.optim.Adam([points], 0.05)
    for _ in range(200):
        optimizer.zero_grad()
        loss(points, generator).backward()
        optimizer.step()
    cloud = points.detach()
    torch.testing.assert_close(cloud.T.cov(), torch.eye(4), atol=0.1, rtol=0)
    assert cloud.mean(0).abs().max() < 0.1
    again = [loss(cloud, torch.Generator().manual_seed(1)) for _ in range(2)]
    assert again[0] == again[1] and again[0] != loss(cloud, torch.Generator().manual_seed(2))


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_effective_rank_counts_equal_directions(rank: int) -> None:
    rows = torch.zeros(2 * rank, 12)
    for i in range(rank):
        rows[2 * i, i], rows[2 * i + 1, i] = 1, -1
    assert effective_rank(rows) == pytest.approx(rank, rel=1e-4)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 3e38])
def test_latents_that_are_not_finite_have_no_rank(value: float) -> None:
    latents = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    latents[3:6, 2] = value
    assert math.isnan(effective_rank(latents))


def test_collapse_shows() -> None:
    healthy = torch.randn(500, 16, generator=torch.Generator().manual_seed(0))
    line = torch.randn(500, 1, generator=torch.Generator().manual_seed(1)).expand(500, 16)
    assert embedding_std(healthy) == pytest.approx(1, abs=0.05)
    assert effective_rank(healthy) > 15
    assert embedding_std(line) > 0.9 and effective_rank(line) < 1.5  # std alone would not see it
    assert embedding_std(torch.ones(50, 4)) == 0
