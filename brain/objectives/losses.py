"""The losses: small, separate, composable. Each maps embeddings to a scalar.

VICReg: Bardes, Ponce, LeCun 2022, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised
Learning", equations 1 to 4. SIGReg: Balestriero and LeCun 2025.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brain import distributed
from brain.data.observations import to_device
from brain.device import without_autocast
from brain.models.layers.cells import to_cells
from brain.models.layers.mlp import mlp
from brain.models.space import LatentSpace


def samples(z: Tensor, centred: bool = True) -> Tensor:
    """What variance, covariance and SIGReg see of latents: (N, D) as they are; of grids (N, T, D) all cells, (N T, D),
    each cell's mean over the batch taken away if ``centred``.

    With the means, patterns that padding and things that never move make across cells satisfy the hinge, and what moves
    need not be encoded.
    """
    if z.ndim == 2:
        return z
    return (z - z.mean(0) if centred else z).flatten(0, 1)


class InvarianceLoss(nn.Module):
    """Mean squared distance between two views, per dimension (VICReg's s, equation 5, divided by D).

    (..., D) and (..., D), float, to a scalar >= 0. With a prediction as the first view this is the JEPA
    prediction loss; gradients flow through both arguments.
    """

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).square().mean()


class RelativeErrorLoss(nn.Module):
    """Mean over the steps of a rollout of the logarithm of each step's mean squared error, step k weighted by 1 / k.

    Predictions and targets (N, K, ...), float, to a scalar of any sign. A step's gradient is divided by its own mean
    squared error, that of the whole batch over all processes, so that late steps, whose errors are larger, do not
    outweigh the early ones; with the weights, each doubling of the horizon counts alike. Up to a factor and a
    constant the logarithm is the negative log-likelihood of a Gaussian with a variance for each step, at the
    variances that fit best.
    """

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        squared = (a - b).square().flatten(2).mean((0, 2))
        whole = distributed.mean(squared.detach()).clamp_min(torch.finfo(squared.dtype).tiny)
        weights = 1 / torch.arange(1, len(squared) + 1, device=squared.device)
        return (weights * (whole.log() + (squared - squared.detach()) / whole)).sum() / weights.sum()


class VarianceLoss(nn.Module):
    """Hinge that keeps the standard deviation of every dimension over the batch at ``margin`` or above (equation 1).

    (N, D) float to a scalar in [0, margin]; ``epsilon`` is added to the variance under the root (equation 2).
    """

    def __init__(self, margin: float = 1.0, epsilon: float = 1e-4) -> None:
        super().__init__()
        self.margin = margin
        self.epsilon = epsilon

    def forward(self, z: Tensor) -> Tensor:
        return torch.relu(self.margin - (z.var(0) + self.epsilon).sqrt()).mean()


class CovarianceLoss(nn.Module):
    """Sum of the squared off-diagonal entries of the batch covariance, divided by D (equations 3 and 4).

    (N, D) float, N >= 2, to a scalar >= 0.
    """

    def forward(self, z: Tensor) -> Tensor:
        centred = z - z.mean(0)
        covariance = centred.T @ centred / (len(z) - 1)
        return (covariance.square().sum() - covariance.diagonal().square().sum()) / z.shape[1]


class InverseDynamics(nn.Module):
    """Regresses the action between two consecutive embeddings: what an agent controls must be kept.

    Pathak et al. 2017, "Curiosity-driven Exploration by Self-supervised Prediction", section 2.2, with mean squared
    error. Embeddings (N, D) and (N, D), actions (N, A), to a scalar >= 0.
    """

    def __init__(self, space: LatentSpace, action_dim: int, width: int = 256) -> None:
        super().__init__()
        self.head = mlp(2 * space.dim, width, action_dim, 1)

    def forward(self, z: Tensor, next_z: Tensor, action: Tensor) -> Tensor:
        return (self.head(torch.cat([z, next_z], 1)) - action).square().mean()


class GridInverseDynamics(nn.Module):
    """The same of grids (N, T, D): two 3x3 convolutions on both, the maximum over cells, a linear map.

    The maximum finds what moved wherever it is.
    """

    def __init__(self, space: LatentSpace, action_dim: int, width: int = 32) -> None:
        super().__init__()
        assert space.grid is not None
        self.grid = space.grid
        self.features = nn.Sequential(
            nn.Conv2d(2 * space.dim, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1), nn.SiLU()
        )
        self.head = nn.Linear(width, action_dim)

    def forward(self, z: Tensor, next_z: Tensor, action: Tensor) -> Tensor:
        cells = to_cells(torch.cat([z, next_z], 2), self.grid)
        return (self.head(self.features(cells).amax((2, 3))) - action).square().mean()


class GaussianNLL(nn.Module):
    """Negative log-likelihood per dimension of a diagonal Gaussian, without its constant.

    error = target - mean, (..., D); log_variance, (..., D); to (...,): half the mean over D of
    error^2 / variance + log variance. Nix and Weigend 1994.
    """

    def forward(self, error: Tensor, log_variance: Tensor) -> Tensor:
        return 0.5 * (error.square() * torch.exp(-log_variance) + log_variance).mean(-1)


class SIGReg(nn.Module):
    """Sketched isotropic Gaussian regularisation: every random 1-D projection of the batch must look standard normal.

    Balestriero and LeCun 2025, "LeJEPA: Provable and Scalable Self-Supervised Learning Without the Heuristics",
    algorithm 1: the mean over unit directions a of the Epps-Pulley statistic (Epps and Pulley 1983) of x_n = a.z_n,

        T(a) = N * integral over t of |1/N sum_n exp(i t x_n) - exp(-t^2 / 2)|^2 exp(-t^2 / 2) dt.

    The integrand is even, so that trapezoids on [0, ``limit``] with ``knots`` knots, doubled, are the integral over
    [-limit, limit]. 17 knots up to 3 are the authors' released code; the listing's 17 on [-5, 5] lie so far apart
    that x and x + 10.05 look the same (here: x and x + 33.5).

    float (N, D) to a scalar >= 0. It does not vanish at its target: the sampling noise of N standard normal points
    is worth 1.05 on average, whatever N (on all of t, sqrt(2 pi) (1 - 1 / sqrt(3)) = 1.06); N points in one place,
    the origin, are worth 0.40 N. The force that parts near points is proportional to their distance: an encoder must
    begin with latents that vary over the batch, by a BatchNorm before its last map, say.
    """

    def __init__(self, directions: int = 256, knots: int = 17, limit: float = 3.0) -> None:
        super().__init__()
        self.directions = directions
        frequencies = torch.linspace(0, limit, knots)[1:]  # at 0 both characteristic functions are 1
        gaussian = torch.exp(-frequencies.square() / 2)
        weights = 2 * limit / (knots - 1) * gaussian
        weights[-1] /= 2
        self.frequencies: Tensor
        self.gaussian: Tensor
        self.weights: Tensor
        for name, values in (("frequencies", frequencies), ("gaussian", gaussian), ("weights", weights)):
            self.register_buffer(name, values, persistent=False)

    def draw(self, dim: int, generator: torch.Generator) -> Tensor:
        """Columns uniform on the unit sphere, on the generator's device: float32 (dim, directions)."""
        drawn = torch.randn(dim, self.directions, generator=generator, device=generator.device)
        return F.normalize(drawn, dim=0)

    def forward(self, z: Tensor, generator: torch.Generator) -> Tensor:
        with without_autocast(z.device):
            shadows = z.float() @ to_device(self.draw(z.shape[1], generator), z.device)
            phases = shadows[..., None] * self.frequencies
            error = (phases.cos().mean(0) - self.gaussian).square() + phases.sin().mean(0).square()
            return len(z) * (error @ self.weights).mean()
