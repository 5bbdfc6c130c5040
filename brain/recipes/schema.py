"""What a recipe says: every choice of an experiment, typed, validated and explained.

``brain recipes NAME`` prints the descriptions below beside the values.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from brain.parts import ENCODERS, PREDICTORS


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Observation(Section):
    """What the encoder sees, and how long a model step is."""

    mode: Literal["pixels", "state"] = Field(
        "pixels",
        description="pixels = the frames; state = the world's true state in their place, angles as sine and cosine, "
        "standardised over the training episodes",
    )
    stack: int = Field(2, ge=1, le=16, description="frames per observation; one frame holds no velocity")
    stride: int = Field(4, ge=1, le=64, description="frames per model step, and between the frames of a stack")


class Encoder(Section):
    """Observation to latent."""

    kind: str = Field("cnn", description=f"registered encoder: {', '.join(ENCODERS)}")
    dim: int = Field(128, ge=2, le=4096, description="width of the latent")
    width: int = Field(
        32, ge=4, le=2048, description="channels of the first stage, which later stages double; vit, video: of all"
    )
    depth: int = Field(4, ge=1, le=64, description="video: blocks of attention over space, then over time")
    patch: int = Field(8, ge=1, le=64, description="video: side of the box of pixels that is one token")
    tubelet: int = Field(2, ge=1, le=16, description="video: frames of that box; stack is a multiple")
    checkpointing: bool = Field(
        False, description="video: compute blocks again in the backward pass, to keep the memory of one"
    )

    @model_validator(mode="after")
    def _no_dead_keys(self) -> Encoder:
        """Refuse a key that this encoder never reads."""
        if self.kind in ("cnn", "resnet18", "mlp", "two-branch", "vit"):
            for key in ("depth", "patch", "tubelet", "checkpointing"):
                if getattr(self, key) != Encoder.model_fields[key].default:
                    raise ValueError(f"{key} belongs to the encoder video: leave it out, or set encoder.kind=video")
        return self


class Objective(Section):
    """Stage 1: how the encoder learns."""

    views: str = Field(
        "predictive",
        description="the pair whose embeddings must agree: augment = two augmentations of one observation; temporal = "
        "neighbours in time; predictive = the predicted and the actual next embeddings, gradients through both; "
        "masked = predicted and actual features of the times of a clip that the encoder did not see (encoder video)",
    )
    rollout: int = Field(1, ge=1, le=64, description="predictive: model steps unrolled; temporal: steps between views")
    target: Literal["shared", "stop-gradient", "ema"] = Field(
        "shared",
        description="predictive: what is predicted. shared = the encoder's embeddings, with gradient; stop-gradient "
        "= without; ema = those of a moving average of the encoder, which is then what is kept",
    )
    momentum: float = Field(0.99, ge=0, le=1, description="ema: share of the average kept at each step, at the start")
    momentum_end: float = Field(0.99, ge=0, le=1, description="ema: the same at the end; a cosine between")
    invariance: float = Field(1.0, ge=0, description="weight of the distance between the two views")
    variance: float = Field(4.0, ge=0, description="weight of the hinge that keeps each dimension's std at 1")
    covariance: float = Field(0.1, ge=0, description="weight of the squared off-diagonal covariances")
    sigreg: float = Field(0.0, ge=0, description="weight of SIGReg: every random direction must look standard normal")
    regularise: Literal["embeddings", "start", "rollout"] = Field(
        "embeddings",
        description="predictive: what variance, covariance and sigreg act on. embeddings = those of every step of the "
        "window; start = those that rollouts start from; rollout = these and every prediction unrolled from them",
    )
    temporal_similarity: float = Field(
        0.0, ge=0, description="predictive: weight of the squared distance between consecutive embeddings"
    )
    inverse_dynamics: float = Field(0.0, ge=0, description="weight of predicting the action between two embeddings")
    expander: int = Field(
        0, ge=0, le=8192, description="width of VICReg's expander (projector); 0 = the losses act on the latent"
    )
    augmentations: tuple[Literal["crop", "flip", "colour", "noise", "cutout"], ...] = Field(
        (), description="augment and temporal views: applied independently to each view"
    )
    clip: tuple[int, ...] = Field(
        (8,), min_length=1, description="masked: frames of a clip, one length for each equal share of the training"
    )
    masks: tuple[Literal["future", "dropout", "multirate"], ...] = Field(
        ("future", "dropout", "multirate"),
        min_length=1,
        description="masked: what the encoder sees of a clip, drawn for each batch. future = its first times; dropout "
        "= random ones; multirate = every second or fourth",
    )
    standardise: Literal["token", "place"] = Field(
        "token",
        description="masked: over what the targets have mean 0 and std 1. token = the channels of each token; place = "
        "the clips of a batch, for each time, place and channel: positions, alike in all clips, are taken out",
    )
    predictor: Predictor = Field(
        default_factory=lambda: Predictor(), description="predictive, masked (a transformer): trained jointly"
    )
    batch: int = Field(128, ge=2, description="windows per optimiser step")
    accumulate: int = Field(
        1,
        ge=1,
        description="equal parts of a batch, computed in turn: the memory of one; losses over a batch see a part",
    )
    learning_rate: float = Field(2e-3, gt=0, description="peak of the one-cycle cosine schedule (AdamW)")
    weight_decay: float = Field(1e-4, ge=0, description="AdamW's decoupled weight decay")
    gradient_clip: float = Field(0.0, ge=0, description="longest gradient, over all weights together; 0 = no limit")
    steps: int = Field(3000, ge=1, description="optimiser steps when no --steps or --budget is given")

    @model_validator(mode="after")
    def _no_dead_keys(self) -> Objective:
        """Refuse a key that these views never read."""
        if self.views == "predictive" and self.augmentations:
            raise ValueError("augmentations belong to the views augment and temporal: set objective.augmentations=[]")
        if self.views == "masked":
            self._check_masked()
        elif self.views in ("predictive", "augment", "temporal"):
            for key in ("clip", "masks", "standardise"):
                if getattr(self, key) != Objective.model_fields[key].default:
                    raise ValueError(f"{key} belongs to the views masked: leave it out, or set objective.views=masked")
        if self.batch % self.accumulate or self.batch < 2 * self.accumulate:
            raise ValueError(
                f"accumulate {self.accumulate} must part batch {self.batch} into equal parts of two or more"
            )
        if self.views in ("augment", "temporal"):
            off = {"inverse_dynamics": 0, "temporal_similarity": 0, "target": "shared", "regularise": "embeddings"}
            for key, value in off.items():
                if getattr(self, key) != value:
                    raise ValueError(f"{key} belongs to the views predictive: set objective.{key}={value}")
        if self.target != "ema" and (self.momentum, self.momentum_end) != (0.99, 0.99):
            raise ValueError("momentum belongs to the target ema: leave it out, or set objective.target=ema")
        if self.target == "ema" and self.expander:
            raise ValueError("the expander has no moving average: set objective.expander=0 with objective.target=ema")
        if self.target == "ema" and self.regularise != "embeddings":
            for key in ("temporal_similarity", "inverse_dynamics"):
                if getattr(self, key):
                    raise ValueError(
                        f"{key} needs every step embedded with gradient, which target ema does for "
                        f"regularise=embeddings alone: set objective.{key}=0"
                    )
        return self

    def _check_masked(self) -> None:
        if self.target != "ema":
            raise ValueError("the views masked have the target ema: set objective.target=ema")
        if self.predictor.kind != "transformer":
            raise ValueError("the predictor of the views masked is a transformer: set objective.predictor.kind to it")
        off = {"rollout": 1, "inverse_dynamics": 0, "temporal_similarity": 0, "regularise": "embeddings"}
        for key, value in off.items():
            if getattr(self, key) != value:
                raise ValueError(f"{key} belongs to the views predictive: set objective.{key}={value}")
        if self.augmentations:
            raise ValueError("augmentations belong to the views augment and temporal: set objective.augmentations=[]")


class Predictor(Section):
    """(latent, action) to next latent."""

    kind: str = Field("residual-mlp", description=f"registered predictor: {', '.join(PREDICTORS)}")
    width: int = Field(256, ge=4, description="hidden width")
    depth: int = Field(2, ge=1, le=32, description="hidden layers (mlp), blocks (residual-mlp, transformer)")


class Prediction(Section):
    """Stage 2: the encoder is frozen; the predictor and its variance head are fitted to its latents."""

    predictor: Predictor = Field(default_factory=lambda: Predictor(), description="the network that is kept")
    start: Literal["fresh", "joint"] = Field(
        "fresh",
        description="fresh = a new predictor of standardised latents; joint = go on with the predictor of stage 1 "
        "(views predictive, the same predictor section), on the latents as they are",
    )
    rollout: int = Field(1, ge=1, le=64, description="model steps unrolled in the loss")
    batch: int = Field(512, ge=2, description="windows per optimiser step")
    learning_rate: float = Field(2e-3, gt=0, description="peak of the one-cycle cosine schedule (AdamW)")
    weight_decay: float = Field(1e-2, ge=0, description="AdamW's decoupled weight decay")
    gradient_clip: float = Field(0.0, ge=0, description="longest gradient of the predictor; 0 = no limit")
    steps: int = Field(4000, ge=1, description="optimiser steps when no --steps or --budget is given")
    max_latents: int = Field(1_000_000, ge=1000, description="latents embedded at most; whole episodes, evenly spread")


class Energy(Section):
    """Stage 3: calibration on validation episodes, report on test episodes."""

    false_alarm_rate: float = Field(0.01, gt=0, lt=1, description="share of true transitions above the threshold")
    anchors: int = Field(3000, ge=50, description="test transitions that are scored")


class Recipe(Section):
    """A whole experiment."""

    name: str = Field(description="the recipe's name")
    summary: str = Field("", description="one line on what it is")
    observation: Observation = Field(default_factory=lambda: Observation(), description="frames to observations")
    encoder: Encoder = Field(default_factory=lambda: Encoder(), description="observation to latent")
    objective: Objective = Field(default_factory=lambda: Objective(), description="stage 1, encoder")
    prediction: Prediction = Field(default_factory=lambda: Prediction(), description="stage 2, predictor")
    energy: Energy = Field(default_factory=lambda: Energy(), description="stage 3, energy")

    @model_validator(mode="after")
    def _pictures_are_augmented(self) -> Recipe:
        if self.observation.mode == "state" and (self.objective.views == "augment" or self.objective.augmentations):
            raise ValueError(
                "augmentations need pictures, which observation.mode state has none of: set objective.augmentations=[] "
                "and objective.views to predictive or temporal"
            )
        return self

    @model_validator(mode="after")
    def _joint_needs_one_predictor(self) -> Recipe:
        if self.prediction.start == "joint":
            if self.objective.views != "predictive":
                raise ValueError("prediction.start joint needs the views predictive: set prediction.start=fresh")
            if self.objective.predictor != self.prediction.predictor:
                raise ValueError("prediction.start joint needs the same objective.predictor and prediction.predictor")
        return self

    @model_validator(mode="after")
    def _whole_boxes(self) -> Recipe:
        tubelet, stack, clip = self.encoder.tubelet, self.observation.stack, self.objective.clip
        widths = {}
        if self.encoder.kind == "video":
            widths["encoder.width"] = self.encoder.width
            if stack % tubelet:
                raise ValueError(f"observation.stack {stack} must be a multiple of encoder.tubelet {tubelet}")
        if self.objective.views == "masked":
            if self.encoder.kind != "video":
                raise ValueError("objective.views masked needs an encoder of clips: set encoder.kind=video")
            widths["objective.predictor.width"] = self.objective.predictor.width
            if any(frames % tubelet or frames < 2 * tubelet for frames in clip):
                raise ValueError(f"every objective.clip must be 2 or more times encoder.tubelet {tubelet} (got {clip})")
            if max(clip) < stack:
                raise ValueError(f"the longest objective.clip {max(clip)} must hold observation.stack {stack} frames")
        for key, width in widths.items():
            if width % (multiple := 4 if width < 192 else 64):
                raise ValueError(f"{key} {width} must be a multiple of {multiple}: a head has 64 of it")
        return self


Objective.model_rebuild()
