"""The losses: small, separate, composable. Each maps embeddings to a scalar.

VICReg: Bardes, Ponce, LeCun 2022, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised
Learning", equations 1 to 4.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from brain.networks.mlp import mlp


class InvarianceLoss(nn.Module):
    """Mean squared distance between two views, per dimension (VICReg's s, equation 5, divided by D).

    (..., D) and (..., D), float, to a scalar >= 0. With a prediction as the first view this is the JEPA
    prediction loss; gradients flow through both arguments.
    """

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).square().mean()


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

    def __init__(self, dim: int, action_dim: int, width: int = 256) -> None:
        super().__init__()
        self.head = mlp(2 * dim, width, action_dim, 1)

    def forward(self, z: Tensor, next_z: Tensor, action: Tensor) -> Tensor:
        return (self.head(torch.cat([z, next_z], 1)) - action).square().mean()


class GaussianNLL(nn.Module):
    """Negative log-likelihood per dimension of a diagonal Gaussian, without its constant.

    error = target - mean, (..., D); log_variance, (..., D); to (...,): half the mean over D of
    error^2 / variance + log variance. Nix and Weigend 1994.
    """

    def forward(self, error: Tensor, log_variance: Tensor) -> Tensor:
        return 0.5 * (error.square() * torch.exp(-log_variance) + log_variance).mean(-1)
