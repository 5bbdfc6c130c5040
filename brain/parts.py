"""The registries of the brain's parts. A new part is one new file and one line here.

An encoder is a ``brain.models.encoders.base.Encoder(options, frames)``, a predictor a
``brain.models.predictors.base.Predictor(options, space, action_dim)``, an objective a
``brain.objectives.base.Objective(options, encoder, action_dim)``, named by the views it compares. Each class declares
its options, the keys of its section in a recipe, as ``Options``: a subclass of ``EncoderOptions``, ``PredictorOptions``
or ``ObjectiveOptions`` (``brain.recipes.schema``) in the part's own file.
A decoder is a ``brain.models.decoders.base.Decoder(space, frame_shape)``. A planner is a
``brain.planning.planners.base.Planner(options, space, setting)``, a cost a ``brain.planning.costs.base.Cost(options,
setting)``; their options are chosen by ``brain plan``, not by a recipe.
"""

from __future__ import annotations

from shared.registry import Registry

ENCODERS = Registry("encoder")
ENCODERS.register("cnn", "brain.models.encoders.cnn:ConvEncoder", "a few strided convolutions with BatchNorm")
ENCODERS.register("resnet18", "brain.models.encoders.resnet:ResNet18", "ResNet-18 (He et al. 2016)")
ENCODERS.register("mlp", "brain.models.encoders.mlp:MLPEncoder", "two hidden layers on the pixels")
ENCODERS.register("two-branch", "brain.models.encoders.two_branch:TwoBranch", "a tower each for even and odd channels")
ENCODERS.register("vit", "brain.models.encoders.vit:ViT", "a small vision transformer on 8x8 patches")
ENCODERS.register("vit-patches", "brain.models.encoders.vit_patches:ViTPatches", "the same, a cell for each patch")
ENCODERS.register("video", "brain.models.encoders.video:VideoObserver", "a transformer over space, then over time")
ENCODERS.register("grid", "brain.models.encoders.grid:GridEncoder", "convolutions to a grid of cells")

ENCODERS.register(
    "grid-vector", "brain.models.encoders.grid_vector:GridVectorEncoder", "convolutions to a grid and a vector"
)

PREDICTORS = Registry("predictor")
PREDICTORS.register("residual-mlp", "brain.models.predictors.mlp:ResidualMLP", "next = current + MLP update")
PREDICTORS.register("mlp", "brain.models.predictors.mlp:MLP", "next = MLP(current, action)")
PREDICTORS.register("transformer", "brain.models.predictors.transformer:Transformer", "causal attention over the past")
PREDICTORS.register("gru", "brain.models.predictors.gru:GRU", "a gated recurrent unit whose hidden state is the latent")

PREDICTORS.register(
    "grid", "brain.models.predictors.grid:GridPredictor", "convolutions of a grid of cells, by the action"
)
PREDICTORS.register(
    "grid-transformer", "brain.models.predictors.grid_transformer:GridTransformer", "attention among a grid's cells"
)
PREDICTORS.register(
    "grid-vector", "brain.models.predictors.grid_vector:GridVectorPredictor", "a vector's MLP moves a grid of cells"
)

DECODERS = Registry("decoder")
DECODERS.register("mlp", "brain.models.decoders.mlp:MLPDecoder", "two hidden layers, for small frames")
DECODERS.register("conv", "brain.models.decoders.conv:ConvDecoder", "resize and convolve, four times")
DECODERS.register(
    "sub-pixel", "brain.models.decoders.subpixel:SubPixelDecoder", "convolve 8x8 cells, blocks of pixels from each"
)
DECODERS.register("grid", "brain.models.decoders.grid:GridDecoder", "resize and convolve a grid of cells")

OBJECTIVES = Registry("views")
OBJECTIVES.register("predictive", "brain.objectives.predictive:Predictive", "predicted and actual next embedding")
OBJECTIVES.register(
    "grid-vector", "brain.objectives.grid_vector:GridVectorObjective", "the same of a grid and the vector beside it"
)
OBJECTIVES.register("augment", "brain.objectives.views:AugmentViews", "two augmentations of one observation")
OBJECTIVES.register("temporal", "brain.objectives.views:TemporalViews", "neighbours in time")
OBJECTIVES.register("masked", "brain.objectives.masked:Masked", "hidden and visible times of a clip")

PLANNERS = Registry("planner")
PLANNERS.register("cem", "brain.planning.planners.cem:CEM", "cross-entropy method")
PLANNERS.register("icem", "brain.planning.planners.icem:ICEM", "CEM with coloured noise and kept elites")
PLANNERS.register("mppi", "brain.planning.planners.mppi:MPPI", "path integral control: softly weighted samples")
PLANNERS.register("gradient", "brain.planning.planners.gradient:Gradient", "gradient descent through the rollout")
PLANNERS.register("shooting", "brain.planning.planners.shooting:Shooting", "the best of random plans")
PLANNERS.register("tree", "brain.planning.planners.tree:TreeSearch", "a tree of all that can be reached; then CEM")
PLANNERS.register("inverse", "brain.planning.planners.inverse:Inverse", "a learned (state, goal) -> action; no search")
PLANNERS.register("policy", "brain.planning.planners.policy:BehaviourPolicy", "what good drivers in the data did")
PLANNERS.register("prior", "brain.planning.planners.prior:Prior", "noisy courses of that policy, averaged by cost")
PLANNERS.register("guided", "brain.planning.planners.guided:Guided", "noisy courses of the inverse model; the best one")

COSTS = Registry("cost")
COSTS.register("goal-distance", "brain.planning.costs.distance:GoalDistance", "distance to the goal's latent")
COSTS.register("control", "brain.planning.costs.control:Control", "mean square of the actions")
COSTS.register("true-distance", "brain.planning.costs.state:TrueDistance", "way left to the goal, on the true state")
COSTS.register("true-reward", "brain.planning.costs.state:TrueReward", "minus the reward, in copies of the world")
COSTS.register("goal-steps", "brain.planning.costs.learned:GoalSteps", "learned number of steps to the goal")
COSTS.register("reward", "brain.planning.costs.learned:Reward", "minus the learned reward of the plan")
COSTS.register("value", "brain.planning.costs.learned:Value", "minus the learned reward after the plan's end")
COSTS.register("surprise", "brain.planning.costs.surprise:Surprise", "expected energy above the calibrated threshold")
