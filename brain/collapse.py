"""Is the latent collapsing? Two figures that every stage logs."""

from __future__ import annotations

import torch
from torch import Tensor


def embedding_std(z: Tensor) -> float:
    """Mean over dimensions of the standard deviation over samples; (N, D). 0 is complete collapse."""
    return float(z.detach().float().std(0).mean())


def effective_rank(z: Tensor) -> float:
    """exp(entropy) of the normalised singular values of the centred latents (N, D), in [1, min(N, D)].

    Roy and Vetterli 2007, "The effective rank: a measure of effective dimensionality". Dimensional collapse
    shows here while ``embedding_std`` still looks healthy.
    """
    z = z.detach().float()
    singular = torch.linalg.svdvals(z - z.mean(0)).double()
    share = singular / singular.sum().clamp_min(1e-12)
    return float(torch.exp(-(share * torch.log(share.clamp_min(1e-12))).sum()))
