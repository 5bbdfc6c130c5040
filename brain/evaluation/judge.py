"""The entry point of the judge: from the frames of a run's store to metrics.

Train episodes fit probes and baselines, validation episodes choose and calibrate, test episodes are only scored.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from brain.data.states import States
from brain.data.windows import Timing
from brain.device import at_most, cores
from brain.evaluation import baselines
from brain.evaluation.energies import (
    FORMS,
    Clips,
    Forecasts,
    Form,
    LatentScorer,
    Pairs,
    PixelScorer,
    Scorer,
    hard_auc,
    score,
    within,
)
from brain.evaluation.metrics import calibrate
from brain.evaluation.negatives import HARD, KINDS, draw_anchors, propose
from brain.evaluation.observers import Observers
from brain.evaluation.pairs import Suites
from brain.evaluation.rollouts import draw_rollouts, rollout_errors
from brain.evaluation.samples import Samples, draw_samples, representations
from brain.evaluation.state_forecasts import state_forecasts
from brain.evaluation.summary import data_facts, energy_figures, main_figures, probe_figures
from brain.evaluation.violations import Strip, assess_violations
from brain.models.latents import LatentTable, embed, read_actions
from brain.models.world_model import WorldModel
from brain.objectives.collapse import effective_rank, embedding_std
from brain.runs.folder import Run, check_fit, write_whole
from brain.runs.judgement import UPPER_BOUND
from shared.errors import TinyJEPAError
from shared.store.reader import Store

ROLLOUTS = 1_000
"""Number of latent rollouts whose error is averaged."""


@dataclass(frozen=True)
class Evidence:
    """What the report draws, beyond the metrics of ``judge.json``."""

    test: LatentTable
    latents: np.ndarray
    """standardised latents of the table's observations, (M, *shape)"""
    scored: Mapping[str, Mapping[str, Pairs]]
    """test energies: kind, then scorer"""
    dynamics: baselines.Fitted
    form: Form
    """the chosen energy"""
    seed: int
    device: torch.device
    strips: Sequence[Strip] = ()
    """one pair of each violation"""


def assess(model: WorldModel, store: Store, *, quiet: bool = False, seed: int = 0) -> tuple[dict[str, Any], Evidence]:
    """The metrics of ``judge.json``, and the data that only the report needs.

    Everything is drawn from ``seed``: the same model, store and seed give the same figures. Raises
    ``TinyJEPAError`` for a store of another world or without held-out episodes, and for a model that diverged.
    """
    started = time.monotonic()
    check_fit(model.spec.model_dump(), store.spec, str(store.path), "judge it on its own store")
    recipe = model.recipe
    with (
        Suites(store, Timing.of(recipe.observation), recipe.energy.violation_pairs, seed, cores()) as suites,
        at_most(suites.cores_left),
    ):
        figures, evidence = _assess(model, store, suites, quiet, seed)
    return figures | {"seconds": round(time.monotonic() - started, 1)}, evidence


def _assess(model: WorldModel, store: Store, suites: Suites, quiet: bool, seed: int) -> tuple[dict[str, Any], Evidence]:
    recipe, states = model.recipe, States.of(store.spec)
    timing = Timing.of(recipe.observation)
    samples = draw_samples(store, model, seed)

    _say(quiet, f"fitting the baselines on {len(samples.train)} train episodes")
    encoders = representations(model, store, samples, seed)
    embed(store, samples.train, encoders)
    _finite(samples.train)
    spaces = {
        "model": baselines.Fitted(model.dynamics),
        "random-encoder": baselines.fit(
            samples.train, samples.train.latents["random-encoder"], recipe, seed, model.device, model.space
        ),
    }

    _say(quiet, f"calibrating on {len(samples.validation)} validation episodes")
    embed(store, samples.validation, encoders, thin={"random-encoder": timing.stride, "pca": timing.stride})
    calibrations = _calibrate(model, samples.validation, seed)
    form: Form = max(FORMS, key=lambda name: np.nan_to_num(calibrations[name]["hard_auc"]))

    _say(quiet, f"scoring {len(samples.test)} test episodes")
    scored, anchors, oracle = _score(model, store, states, samples, encoders, spaces, form, seed)
    latents = spaces["model"].standardise(samples.test.latents["model"])
    rollouts = draw_rollouts(spaces["model"], samples.test, latents, ROLLOUTS, seed, model.device)
    raw = torch.from_numpy(model.space.gist(samples.test.latents["model"]))
    figures: dict[str, Any] = {
        "schema": 2,
        "seed": seed,
        "device": model.device.type,
        "recipe": recipe.model_dump(mode="json"),
        "store": {"path": store.address} | store.spec.model_dump(mode="json"),
        "data": data_facts(samples),
        "latent": {
            "dim": model.space.vector or model.latent_dim,
            "shape": list(model.latent_shape),
            "effective_rank": effective_rank(raw),
            "embedding_std": embedding_std(raw),
        },
        "energy": {
            "form": form,
            "anchors": anchors,
            "false_alarm_target": recipe.energy.false_alarm_rate,
            "validation": calibrations,
            "kinds": energy_figures(scored, form, calibrations[form]["thresholds"]),
        },
        "rollout": rollout_errors(rollouts, samples.test, latents),
    }
    if states.names:
        _say(quiet, "fitting linear probes")
        figures["probes"], probe = probe_figures(states, samples)
        if probe is not None:
            figures["forecasts"] = state_forecasts(
                samples, states, probe, rollouts, spaces["model"], oracle, model.device
            )
    untrained = encoders["random-encoder"], spaces["random-encoder"]
    if recipe.energy.violation_pairs:
        _say(quiet, "making violations")
    drawn = suites.draw()
    observers = Observers(model, form, untrained, oracle, states)
    found = assess_violations(drawn, observers, recipe.energy.false_alarm_rate) if drawn else None
    figures |= found.figures() if found else {}
    figures["headline"] = main_figures(figures, states)
    strips = found.strips if found else ()
    return figures, Evidence(samples.test, latents, scored, spaces["model"], form, seed, model.device, strips)


def keep(run: Run, figures: Mapping[str, Any]) -> None:
    """Write ``judge.json``."""
    write_whole(run.judgement, to_json(figures))


def _score(
    model: WorldModel, store: Store, states: States, samples: Samples, encoders: Mapping[str, Any],
    spaces: Mapping[str, baselines.Fitted], form: Form, seed: int,
) -> tuple[dict[str, dict[str, Pairs]], int, baselines.Fitted | None]:  # fmt: skip
    """Test energies by kind and scorer, the number of anchors, and the state oracle; embeds the test episodes."""
    test, device = samples.test, model.device
    anchors = draw_anchors(test, model.recipe.energy.anchors, samples.rng)
    read_actions(store, test)
    proposals = {kind: propose(kind, anchors, test, seed) for kind in KINDS}
    pixels = PixelScorer(test, anchors, proposals)
    clips = Clips(anchors, proposals, {name: encoders[name] for name in spaces})
    thin = {"pca": test.timing.stride}
    embed(store, test, encoders, thin=thin, visitors=(pixels.visit, clips.visit))
    _finite(test)

    latents = {name: space.standardise(test.latents[name]) for name, space in spaces.items()}
    shown = {
        name: {kind: space.standardise(made) for kind, made in clips.of(name).items()} for name, space in spaces.items()
    }
    forecasts = {name: Forecasts(test, anchors, latents[name], space, device) for name, space in spaces.items()}

    def scorer(space: str, form: Form, forecasts: Forecasts | None) -> LatentScorer:
        return LatentScorer(test, anchors, latents[space], shown[space], forecasts, form)

    scorers: dict[str, Scorer] = {
        "scaled": scorer("model", "scaled", forecasts["model"]),
        "plain": scorer("model", "plain", forecasts["model"]),
        "pixel": pixels,
        "no-predictor": scorer("model", "plain", None),
        "random-encoder": scorer("random-encoder", form, forecasts["random-encoder"]),
    }
    oracle = None
    if states.names:
        known, features = (
            baselines.oracle_features(states, table.state[table.observed()]) for table in (samples.train, test)
        )
        oracle = baselines.fit(
            samples.train, known, model.recipe, seed, device, steps=baselines.ORACLE_STEPS, pushforward=True
        )
        features = oracle.standardise(features)
        told = Forecasts(test, anchors, features, oracle, device)
        scorers[UPPER_BOUND] = LatentScorer(test, anchors, features, {}, told, form)
    return score(scorers, proposals, list(KINDS)), len(anchors), oracle


def _finite(table: LatentTable) -> None:
    if not np.isfinite(table.latents["model"]).all():
        raise TinyJEPAError(
            "the encoder gives latents that are not finite, so its training diverged: "
            "train another run with a lower objective.learning_rate (--set)"
        )


def _calibrate(model: WorldModel, table: LatentTable, seed: int) -> dict[Form, dict[str, Any]]:
    """On validation episodes, by form of the energy: the hard AUC that chooses one, and thresholds by model steps."""
    rate = model.recipe.energy.false_alarm_rate
    anchors = draw_anchors(table, model.recipe.energy.anchors, np.random.default_rng([seed, *b"calibration"]))
    space = baselines.Fitted(model.dynamics)
    latents = space.standardise(table.latents["model"])
    forecasts = Forecasts(table, anchors, latents, space, model.device)
    scorers: dict[str, Scorer] = {form: LatentScorer(table, anchors, latents, {}, forecasts, form) for form in FORMS}
    near = {kind: propose(kind, anchors, table, seed) for kind in HARD}
    scored = score(scorers, near, HARD)
    found: dict[Form, dict[str, Any]] = {}
    for form in FORMS:
        thresholds = {}
        for steps in sorted({kind.steps for kind in KINDS.values()}):
            true = scorers[form].true(steps)
            if steps == 1 and not np.isfinite(true[within(table, anchors, steps)]).all():
                raise TinyJEPAError(
                    "the predictor gives energies that are not finite, so its training diverged: "
                    "train another run with a lower prediction.learning_rate (--set)"
                )
            true = true[np.isfinite(true)]
            thresholds[steps] = calibrate(true, rate) if len(true) else math.nan
        found[form] = {"hard_auc": hard_auc(scored, form), "thresholds": thresholds}
    return found


def to_json(figures: Mapping[str, Any]) -> str:
    """The text of ``judge.json`` and ``probe.json``: strict JSON, with null for NaN and infinity."""
    return json.dumps(_plain(figures), indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def _say(quiet: bool, line: str) -> None:
    if not quiet:
        print(f"judge: {line}", file=sys.stderr, flush=True)
