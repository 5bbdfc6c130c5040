"""What a recipe says: every choice of an experiment, typed, validated and explained.

A section that chooses a part (``encoder``, ``objective``, a ``predictor``) is a union discriminated by the part's name:
its keys are the options that this part's class declares (``Options``), so the schema knows no part by name.
``brain recipes NAME`` prints the descriptions below, and those of the chosen parts, beside the values.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny, model_validator

from brain.parts import ENCODERS, OBJECTIVES, PREDICTORS
from shared.errors import TinyJEPAError
from shared.registry import Registry


class Section(BaseModel):
    """Typed keys of a recipe; unknown ones are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PartOptions(Section):
    """The options of a registered part. A part's own are a subclass in its own file, the ``Options`` of its class."""

    registry: ClassVar[Registry]
    key: ClassVar[str] = "kind"
    """The field that names the part."""
    default: ClassVar[str]
    """The part that is chosen where the recipe names none."""

    @classmethod
    def chosen(cls, values: dict[str, Any]) -> type[PartOptions]:
        """The options of the part that ``values`` name. Raises ``TinyJEPAError`` for one that is not registered."""
        kind = values.get(cls.key, cls.default)
        if not isinstance(kind, str):
            raise TinyJEPAError(f"{cls.key} must be the name of a registered {cls.registry.kind} (got {kind!r})")
        options: type[PartOptions] = cls.registry.get(kind).Options
        return options

    @classmethod
    def standard(cls) -> Any:
        """The default part's options, at their defaults."""
        return cls.chosen({}).model_validate({cls.key: cls.default})

    def part(self) -> Any:
        """The class of the chosen part."""
        return self.registry.get(getattr(self, self.key))


def _choose(base: type[PartOptions]) -> BeforeValidator:
    """Validates a table of keys by the options of the part that it names."""

    def chosen(value: Any) -> Any:
        if isinstance(value, base):
            return value
        if not isinstance(value, dict):
            raise ValueError(f'a table of keys is due here, such as {base.key} = "{base.default}"')
        return base.chosen(value).model_validate({base.key: base.default, **value})

    return BeforeValidator(chosen)


class EncoderOptions(PartOptions):
    """Observation to latent: what every encoder has."""

    registry = ENCODERS
    default = "cnn"

    kind: str = Field("", description=f"registered encoder: {', '.join(ENCODERS)}")
    dim: int = Field(128, ge=2, le=4096, description="width of the latent")


class PredictorOptions(PartOptions):
    """(latent, action) to next latent: what every predictor has."""

    registry = PREDICTORS
    default = "residual-mlp"

    kind: str = Field("", description=f"registered predictor: {', '.join(PREDICTORS)}")
    width: int = Field(256, ge=4, description="units of a hidden layer, here and in the head for the error's variance")


class ObjectiveOptions(PartOptions):
    """Stage 1, how the encoder learns: what every objective has."""

    registry = OBJECTIVES
    key = "views"
    default = "predictive"

    views: str = Field(
        "",
        description="what the encoder is trained to make agree: "
        + "; ".join(f"{name} = {OBJECTIVES.summary(name)}" for name in OBJECTIVES),
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
    def _equal_parts(self) -> ObjectiveOptions:
        if self.batch % self.accumulate or self.batch < 2 * self.accumulate:
            raise ValueError(
                f"accumulate {self.accumulate} must part batch {self.batch} into equal parts of two or more"
            )
        return self


Encoder = Annotated[SerializeAsAny[EncoderOptions], _choose(EncoderOptions)]
Predictor = Annotated[SerializeAsAny[PredictorOptions], _choose(PredictorOptions)]
Objective = Annotated[SerializeAsAny[ObjectiveOptions], _choose(ObjectiveOptions)]


def chosen(description: str) -> Any:
    """A field for a part: where the recipe is silent, the default part with its default options."""
    return Field(default_factory=dict, validate_default=True, description=description)


class Observation(Section):
    """What the encoder sees, and how long a model step is."""

    mode: Literal["pixels", "state"] = Field(
        "pixels",
        description="pixels = the frames; state = the world's true state in their place, angles as sine and cosine, "
        "standardised over the training episodes",
    )
    stack: int = Field(2, ge=1, le=16, description="frames per observation; one frame holds no velocity")
    stride: int = Field(4, ge=1, le=64, description="frames per model step, and between the frames of a stack")


class Prediction(Section):
    """Stage 2: the encoder is frozen; the predictor and its variance head are fitted to its latents."""

    predictor: Predictor = chosen("the network that is kept")
    start: Literal["fresh", "joint"] = Field(
        "fresh",
        description="fresh = a new predictor of standardised latents; joint = go on with the predictor of stage 1 "
        "(an objective that keeps one, the same predictor section), on the latents as they are",
    )
    rollout: int = Field(1, ge=1, le=64, description="model steps unrolled in the loss")
    pushforward: int = Field(
        0,
        ge=0,
        le=64,
        description="half of each batch starts from the predictor's own forecast, this many model steps old at most, "
        "instead of a true latent; no gradients flow into the forecast",
    )
    batch: int = Field(512, ge=2, description="windows per optimiser step")
    learning_rate: float = Field(2e-3, gt=0, description="peak of the one-cycle cosine schedule (AdamW)")
    weight_decay: float = Field(1e-2, ge=0, description="AdamW's decoupled weight decay")
    gradient_clip: float = Field(0.0, ge=0, description="longest gradient of the predictor; 0 = no limit")
    steps: int = Field(4000, ge=1, description="optimiser steps when no --steps or --budget is given")
    relative: bool = Field(
        False,
        description="true = the loss is the mean logarithm of each step's squared error, step k by 1 / k, so that the "
        "late steps of long rollouts do not outweigh the early ones",
    )
    cells: float = Field(
        1.0, ge=0, description="of a grid with a vector: weight of the cells' error, the vector's is 1"
    )
    max_latents: int = Field(1_000_000, ge=1000, description="latents embedded at most; whole episodes, evenly spread")

    @property
    def span(self) -> int:
        """Model steps of a window: those of the oldest forecast and of the rollout from it."""
        return self.pushforward + self.rollout

    @model_validator(mode="after")
    def _batch_has_halves(self) -> Prediction:
        if self.pushforward and self.batch % 2:
            raise ValueError(f"with prediction.pushforward, prediction.batch is even: set it to {self.batch + 1}")
        return self


class Energy(Section):
    """Stage 3: calibration on validation episodes, report on test episodes."""

    false_alarm_rate: float = Field(0.01, gt=0, lt=1, description="share of true transitions above the threshold")
    worst: int = Field(
        0, ge=0, description="of a grid: cells whose mean is the energy, those of the largest; 0 = the mean over all"
    )
    memory: int = Field(
        1, ge=1, le=64, description="of a clip: model steps between a frame and the observation that foretells it"
    )
    anchors: int = Field(3000, ge=50, description="test transitions that are scored")
    violation_pairs: int = Field(64, ge=0, description="test pairs of each of the world's violations; 0 = none")


class Recipe(Section):
    """A whole experiment."""

    name: str = Field(description="the recipe's name")
    summary: str = Field("", description="one line on what it is")
    world: str = Field(
        "", description="the world it is made for, whose store is the default: a registered one or a gymnasium id"
    )
    observation: Observation = Field(default_factory=lambda: Observation(), description="frames to observations")
    encoder: Encoder = chosen("observation to latent")
    objective: Objective = chosen("stage 1, encoder")
    prediction: Prediction = Field(default_factory=lambda: Prediction(), description="stage 2, predictor")
    energy: Energy = Field(default_factory=lambda: Energy(), description="stage 3, energy")

    @model_validator(mode="after")
    def _parts_agree(self) -> Recipe:
        """Every chosen part looks at the rest of the recipe."""
        for options in _parts(self):
            options.part().check(options, self)
        return self


def _parts(section: BaseModel) -> list[PartOptions]:
    """Every chosen part of a section, those of its subsections too, in the order of the keys."""
    found = [section] if isinstance(section, PartOptions) else []
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            found += _parts(value)
    return found
