"""Collapse diagnostics: two metrics that every stage logs, and two for features over time."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from brain.objectives.losses import samples


def embedding_std(z: Tensor) -> float:
    """Mean over dimensions (and cells) of the standard deviation over samples; (N, *latent_shape). 0 is collapse."""
    return float(z.detach().float().std(0).mean())


def effective_rank(z: Tensor) -> float:
    """exp(entropy) of the normalised singular values of the centred latents (N, D), in [1, min(N, D)].

    Roy and Vetterli 2007, "The effective rank: a measure of effective dimensionality". Dimensional collapse
    shows here while ``embedding_std`` still looks healthy. Of grids (N, T, D): of their cells' channels, each cell's
    mean taken away, in [1, min(N T, D)]. Of latents that are not finite: nan.
    """
    z = samples(z.detach().float())
    centred = z - z.mean(0)
    if not centred.isfinite().all():
        return math.nan
    singular = torch.linalg.svdvals(centred).double()
    share = singular / singular.sum().clamp_min(1e-12)
    return float(torch.exp(-(share * torch.log(share.clamp_min(1e-12))).sum()))


def temporal_std(features: Tensor) -> tuple[Tensor, Tensor]:
    """Standard deviation over the times of a clip, and over clips: features (B, T, D), B >= 2 and T >= 2, to scalars.

    Each is the root of a variance averaged over dimensions. First every time's mean over the batch is taken off: it
    holds the position embeddings, which vary over time whatever the video shows. A first figure near 0 beside a sound
    second one is temporal collapse: features that tell clips apart, and say nothing of what happens in them.
    """
    features = features.detach().float()
    features = features - features.mean(0)
    within = features.var(1).mean().sqrt()
    across = features.mean(1).var(0).mean().sqrt()
    return within, across
