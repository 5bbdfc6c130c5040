"""The registries of networks. A new encoder or predictor is one new file and one line here.

An encoder is ``Encoder(channels, frame_size, dim, width)``: float (N, channels, H, W) in [-1, 1] to (N, dim).
A predictor is ``Predictor(dim, action_dim, width, depth)``: see ``brain.networks.predictor.Predictor``.
"""

from __future__ import annotations

from torch import nn

from brain.networks.predictor import Predictor
from brain.recipes import schema
from shared.registry import Registry

ENCODERS = Registry("encoder")
ENCODERS.register("cnn", "brain.networks.cnn:ConvEncoder", "four stride-2 convolutions with BatchNorm")
ENCODERS.register("resnet18", "brain.networks.resnet:ResNet18", "ResNet-18 (He et al. 2016)")

PREDICTORS = Registry("predictor")
PREDICTORS.register("residual-mlp", "brain.networks.mlp:ResidualMLP", "next = current + MLP update")
PREDICTORS.register("mlp", "brain.networks.mlp:MLP", "next = MLP(current, action)")
PREDICTORS.register("transformer", "brain.networks.transformer:Transformer", "causal attention over the past")


def make_encoder(recipe: schema.Recipe, frame_shape: tuple[int, int, int]) -> nn.Module:
    """The recipe's encoder for frames of shape (H, W, C)."""
    height, width, channels = frame_shape
    kind = ENCODERS.get(recipe.encoder.kind)
    encoder: nn.Module = kind(
        channels=recipe.observation.stack * channels,
        frame_size=(height, width),
        dim=recipe.encoder.dim,
        width=recipe.encoder.width,
    )
    return encoder


def make_predictor(section: schema.Predictor, dim: int, action_dim: int) -> Predictor:
    """A recipe section's predictor; ``action_dim`` is the width of the action chunk of one model step."""
    predictor: Predictor = PREDICTORS.get(section.kind)(
        dim=dim, action_dim=action_dim, width=section.width, depth=section.depth
    )
    return predictor
