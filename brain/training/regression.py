"""Regression with a small network, used by probes, the supervised upper bound and the reward head."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from brain.training.loop import one_cycle

PEAK = 2e-3
"""Peak of the one-cycle learning rate (AdamW)."""
WEIGHT_DECAY = 1e-2
CHECKS = 10
"""Number of evaluations of the validation error, evenly spread over the steps."""

Prepare = Callable[..., Sequence[Tensor]]


def fit(
    network: nn.Module,
    train: tuple[Sequence[Tensor], Tensor],
    validation: tuple[Sequence[Tensor], Tensor],
    *,
    steps: int,
    batch: int,
    seed: int,
    prepare: Prepare = lambda *inputs: inputs,
) -> None:
    """Train ``network`` in place on mean squared error; it ends with the weights that were best on ``validation``.

    Each split is (inputs, goals): inputs of (N, ...) each, goals (N, T). A column of the goals counts in units of its
    standard deviation in ``train``. ``prepare`` turns a batch of inputs into what the network is called with. Batches
    are drawn by ``seed``.
    """
    optimizer = torch.optim.AdamW(network.parameters(), PEAK, weight_decay=WEIGHT_DECAY)
    generator = torch.Generator().manual_seed(seed)
    (inputs, goals), device = train, next(network.parameters()).device
    scale = goals.std(0).clamp_min(1e-4)
    best, kept = float("inf"), _copy(network)
    network.train()
    for step in range(1, steps + 1):
        optimizer.param_groups[0]["lr"] = PEAK * one_cycle(step / steps)
        rows = torch.randint(len(goals), (batch,), generator=generator)
        error = (network(*prepare(*(part[rows] for part in inputs))) - goals[rows].to(device)) / scale.to(device)
        optimizer.zero_grad(set_to_none=True)
        error.square().mean().backward()
        optimizer.step()
        if step % max(steps // CHECKS, 1) == 0:
            missed = float(((predict(network, validation[0], prepare) - validation[1]) / scale).square().mean())
            network.train()
            if missed < best:
                best, kept = missed, _copy(network)
    network.load_state_dict(kept)
    network.eval()


@torch.no_grad()
def predict(
    network: nn.Module, inputs: Sequence[Tensor], prepare: Prepare = lambda *inputs: inputs, batch: int = 256
) -> Tensor:
    """The network's outputs for inputs of (N, ...) each, in evaluation mode: float32 (N, T), on the CPU."""
    network.eval()
    parts = zip(*(part.split(batch) for part in inputs))
    return torch.cat([network(*prepare(*part)).float().cpu() for part in parts])


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}
