"""The registries of the brain's parts. A new part is one new file and one line here.

An encoder is a ``brain.models.encoders.base.Encoder(options, frames)``, a predictor a
``brain.models.predictors.base.Predictor(options, space, action_dim)``, an objective a
``brain.objectives.base.Objective(options, encoder, action_dim)``, named by the views it compares. Each class declares
its options, the keys of its section in a recipe, as ``Options``: a subclass of ``EncoderOptions``, ``PredictorOptions``
or ``ObjectiveOptions`` (``brain.recipes.schema``) in the part's own file.
A decoder is a ``brain.models.decoders.base.Decoder(space, frame_shape)``.
"""

from __future__ import annotations

from shared.registry import Registry

ENCODERS = Registry("encoder")
ENCODERS.register("cnn", "brain.models.encoders.cnn:ConvEncoder", "a few strided convolutions with BatchNorm")
ENCODERS.register("resnet18", "brain.models.encoders.resnet:ResNet18", "ResNet-18 (He et al. 2016)")
ENCODERS.register("mlp", "brain.models.encoders.mlp:MLPEncoder", "two hidden layers on the pixels")
ENCODERS.register("two-branch", "brain.models.encoders.two_branch:TwoBranch", "a tower each for even and odd channels")
ENCODERS.register("vit", "brain.models.encoders.vit:ViT", "a small vision transformer on 8x8 patches")
ENCODERS.register("video", "brain.models.encoders.video:VideoObserver", "a transformer over space, then over time")
ENCODERS.register("grid", "brain.models.encoders.grid:GridEncoder", "convolutions to a grid of cells")

PREDICTORS = Registry("predictor")
PREDICTORS.register("residual-mlp", "brain.models.predictors.mlp:ResidualMLP", "next = current + MLP update")
PREDICTORS.register("mlp", "brain.models.predictors.mlp:MLP", "next = MLP(current, action)")
PREDICTORS.register("transformer", "brain.models.predictors.transformer:Transformer", "causal attention over the past")
PREDICTORS.register("gru", "brain.models.predictors.gru:GRU", "a gated recurrent unit whose hidden state is the latent")

PREDICTORS.register(
    "grid", "brain.models.predictors.grid:GridPredictor", "convolutions of a grid of cells, by the action"
)

DECODERS = Registry("decoder")
DECODERS.register("mlp", "brain.models.decoders.mlp:MLPDecoder", "two hidden layers, for small frames")
DECODERS.register("conv", "brain.models.decoders.conv:ConvDecoder", "resize and convolve, four times")
DECODERS.register("grid", "brain.models.decoders.grid:GridDecoder", "resize and convolve a grid of cells")

OBJECTIVES = Registry("views")
OBJECTIVES.register("predictive", "brain.objectives.predictive:Predictive", "predicted and actual next embedding")
OBJECTIVES.register("augment", "brain.objectives.views:AugmentViews", "two augmentations of one observation")
OBJECTIVES.register("temporal", "brain.objectives.views:TemporalViews", "neighbours in time")
OBJECTIVES.register("masked", "brain.objectives.masked:Masked", "hidden and visible times of a clip")
