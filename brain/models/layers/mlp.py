"""The multi-layer perceptron inside predictors, expanders and heads."""

from __future__ import annotations

from torch import nn


def mlp(inputs: int, width: int, outputs: int, depth: int) -> nn.Sequential:
    """``depth`` hidden layers of SiLU units, then a linear map: (N, inputs) to (N, outputs)."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(inputs, width), nn.SiLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))
