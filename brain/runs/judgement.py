"""``judge.json``, typed: energies, calibration, violations, probes and rollouts of a judged run.

Files of earlier versions stay readable: what they lack has a default, and keys that were renamed are known by both
names.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator

from shared.store.schema import StoreSpec

BASELINES = ("pixel", "no-predictor", "random-encoder")
"""Scorers of energies that a trained model has to beat."""
UPPER_BOUND = "state-oracle"
"""The scorer that knows the true state."""

Form = Literal["scaled", "plain"]


class Figures(BaseModel):
    """A part of a file of metrics; unknown keys are ignored."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, allow_inf_nan=True)


class KindFigures(Figures):
    """One kind of impossible futures. AUC and pair accuracy are by scorer."""

    auc: dict[str, float | None]
    pair_accuracy: dict[str, float | None] = {}
    detection_rate: float | None = None
    false_alarm_rate: float | None = None
    transitions: int = 0
    steps: int = 1
    summary: str = ""
    principle: str = ""

    @field_validator("auc")
    @classmethod
    def _has_the_model(cls, auc: dict[str, float | None]) -> dict[str, float | None]:
        if "model" not in auc:
            raise ValueError("the model is missing")
        return auc


class Calibration(Figures):
    """One form of the energy on validation episodes."""

    hard_auc: float | None = None
    thresholds: dict[int, float | None] = {}
    """by model steps"""


class EnergyFigures(Figures):
    form: Form
    """the form that validation episodes chose"""
    kinds: dict[str, KindFigures]
    validation: dict[str, Calibration]
    """by form"""
    anchors: int = 0
    false_alarm_target: float = 0.01

    @property
    def thresholds(self) -> dict[int, float | None]:
        """Of the chosen form, by model steps."""
        return self.validation[self.form].thresholds if self.form in self.validation else {}


class MainFigure(Figures):
    """A figure of the first table, beside the best baseline."""

    label: str
    value: float | None
    baseline: float | None = Field(validation_alias=AliasChoices("baseline", "floor"))
    baseline_name: str = Field("", validation_alias=AliasChoices("baseline_name", "floor_name"))
    beats_baseline: bool | None = Field(None, validation_alias=AliasChoices("beats_baseline", "beats_floor"))
    missing: str = ""
    """why there is no value"""


class RolloutFigures(Figures):
    """Error of latent forecasts, a value for each of ``steps``."""

    steps: list[float] = []
    model: list[float | None] = []
    persistence: list[float | None] = []
    starts: list[int] = []


class ForecastFigures(Figures):
    """Root mean squared errors of forecast states, in their units: see ``brain.evaluation.state_forecasts``."""

    steps: list[int] = []
    starts: int = 0
    states: dict[str, dict[str, list[float | None]]] = {}
    """by state, then by forecaster, a value for each of ``steps``"""


class LatentFigures(Figures):
    """Latents of test episodes: of a grid the cells', of a grid with a vector the vector's."""

    dim: int
    """numbers that the effective rank and the standard deviation are of"""
    shape: list[int] = []
    """of one latent, as ``brain.models.space`` has it"""
    effective_rank: float | None
    embedding_std: float | None


class SplitFigures(Figures):
    episodes: int
    rows: int
    policies: dict[str, int]
    used_episodes: int
    used_observations: int


class PairScores(Figures):
    """Of pairs of a true and an impossible continuation: see ``brain.evaluation.violations.scores``."""

    relative_accuracy: float | None
    auc: float | None
    detection_rate: float | None = None


class ViolationFigures(PairScores):
    """One violation of expectation."""

    principle: str
    summary: str = ""
    unseen: bool = False
    """whether in scenes never trained on"""
    pairs: int = 0
    false_alarm_rate: float | None = None
    """share of its true continuations above the threshold"""
    intervals: dict[str, tuple[float | None, float | None]] = {}
    baselines: dict[str, PairScores] = {}
    upper_bound: PairScores | None = None


class ViolationMeans(PairScores):
    principles: dict[str, PairScores] = {}
    unseen: dict[str, PairScores] = {}
    """by what is new in the scenes"""


class ViolationSetup(Figures):
    simulated: bool
    """whether the simulator made the pairs, and not stored frames"""
    aggregate: Literal["max", "mean"]
    """of the energies along a clip"""
    threshold: float | None
    false_alarm_target: float
    false_alarm_rate: float | None
    steps: int
    """model steps of a clip"""


class VariedEnergies(Figures):
    """Violations of one condition, as means: see ``brain.evaluation.variation``."""

    auc: float | None
    relative_accuracy: float | None = None
    detection_rate: float | None = None
    false_alarm_rate: float | None = None
    violations: int = 0
    pairs: int = 0


class VariedPlans(Figures):
    """Success at the end of a task's first episodes, with its interval of 95 %."""

    task: str
    planner: str
    rate: float
    low: float
    high: float
    episodes: int


class ConditionFigures(Figures):
    """A judged model in a world that differs from its own in one factor, or in none."""

    episodes: int
    transitions: int = 0
    energy: dict[str, float | None] = {}
    """AUC by negative"""
    false_alarm_rate: float | None = None
    """of true transitions, at the threshold of one model step"""
    probes: dict[str, float | None] = {}
    """R2 of the headline states, by a probe fitted to the run's training episodes"""
    violations: VariedEnergies | None = None
    plans: VariedPlans | None = None


class FactorFigures(Figures):
    """One factor of variation at its default, inside its training range and outside of it."""

    unit: str
    training: tuple[float, float]
    allowed: tuple[float, float]
    physical: bool = False
    trained: bool = False
    """whether the run's store varies or sets it"""
    default: ConditionFigures
    inside: ConditionFigures
    outside: ConditionFigures | None = None

    @property
    def places(self) -> dict[str, ConditionFigures]:
        """The conditions that there are, by name."""
        found = {"default": self.default, "inside": self.inside, "outside": self.outside}
        return {where: figures for where, figures in found.items() if figures is not None}


class Judgement(Figures):
    """``judge.json``."""

    energy: EnergyFigures
    headline: dict[str, MainFigure] = {}
    rollout: RolloutFigures = RolloutFigures()
    forecasts: ForecastFigures = ForecastFigures()
    violations: dict[str, ViolationFigures] = {}
    violations_mean: ViolationMeans | None = None
    violations_setup: ViolationSetup | None = None
    probes: dict[str, dict[str, dict[str, float | None]]] = {}
    """R2 of linear probes: domain (``all``, then the world's typical rows), representation, state"""
    variation: dict[str, FactorFigures] = {}
    """by factor of variation"""
    latent: LatentFigures | None = None
    data: dict[str, SplitFigures] = {}
    store: dict[str, Any] = {}
    """the spec of the store that was judged on, and its ``path``"""
    seed: int = 0
    device: str = ""
    """torch's name of what judged"""
    seconds: float | None = None

    @property
    def main_probes(self) -> tuple[str, dict[str, dict[str, float | None]]] | None:
        """The domain whose probes are main figures, and these; None where nothing was probed."""
        return list(self.probes.items())[-1] if self.probes else None

    def spec(self) -> StoreSpec:
        """The world as it was judged. Raises ``ValueError`` where the file does not say."""
        return StoreSpec.model_validate({key: x for key, x in self.store.items() if key in StoreSpec.model_fields})
