"""The judgement of a run, from frames to figures: the judge's entry point.

Train episodes fit probes and floors, validation episodes choose and calibrate, test episodes are only scored.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from brain.evaluation import baselines
from brain.evaluation.energies import FORMS, Films, Form, LatentRater, PixelRater, Rater, hard_auc, rate
from brain.evaluation.episodes import Embedded, Encoder, Timing, choose, dense, embed, sample_observations, strided
from brain.evaluation.metrics import calibrate
from brain.evaluation.negatives import HARD, KINDS, draw_anchors, propose
from brain.evaluation.pairs import draw_suites
from brain.evaluation.rollouts import rollout_errors
from brain.evaluation.summary import data_facts, energy_figures, main_figures, probe_figures
from brain.evaluation.violations import Observers, Strip, assess_violations
from brain.models.world_model import WorldModel
from brain.objectives.collapse import effective_rank, embedding_std
from brain.reports.report import Evidence, write_report
from brain.runs.folder import write_whole
from shared.errors import TinyJEPAError
from shared.store.reader import Store
from shared.store.schema import EpisodeRef, Split

TRAIN_OBSERVATIONS = 8_000
"""Train observations, one model step apart, that fit the probes and the floors."""

HELD_OUT_OBSERVATIONS = 12_000
"""Validation, and test, observations embedded at most: every row of episodes evenly spread over the split."""

PCA_OBSERVATIONS = 1_500
"""Train observations that fit PCA and set the random encoder's BatchNorm."""

ROLLOUTS = 1_000
"""Latent rollouts whose error is averaged."""


def judge(model: WorldModel, store: Store, run: Path, *, quiet: bool = False, seed: int = 0) -> dict[str, Any]:
    """Judges a trained model on its store's held-out episodes; writes ``judge.json`` and ``report.html`` to ``run``.

    Returns the content of ``judge.json``. Raises what ``assess`` raises; nothing is written then.
    """
    figures, evidence = assess(model, store, quiet=quiet, seed=seed)
    _say(quiet, "drawing the report")
    write_report(run, store, figures, evidence)
    write_whole(run / "judge.json", to_json(figures))
    return figures


def assess(model: WorldModel, store: Store, *, quiet: bool = False, seed: int = 0) -> tuple[dict[str, Any], Evidence]:
    """The figures of ``judge.json``, and what the report draws beside them.

    Everything is drawn from ``seed``: the same model, store and seed give the same figures. Raises
    ``TinyJEPAError`` for a store of another world or without held-out episodes, and for a model that diverged.
    """
    started = time.monotonic()
    recipe, device, names = model.recipe, model.device, store.spec.state_names
    timing = Timing(recipe.observation.stack, recipe.observation.stride)
    rng = np.random.default_rng(seed)
    _check(model, store)
    refs = _splits(store, timing)
    chosen = choose(refs["train"], timing, TRAIN_OBSERVATIONS, every=timing.stride)
    train = Embedded(store.spec, chosen, timing, [strided(ref, timing, rng) for ref in chosen])
    chosen = choose(refs["validation"], timing, HELD_OUT_OBSERVATIONS)
    validation = Embedded(store.spec, chosen, timing, [dense(ref, timing) for ref in chosen])
    chosen = choose(refs["test"], timing, HELD_OUT_OBSERVATIONS)
    test = Embedded(store.spec, chosen, timing, [dense(ref, timing) for ref in chosen])

    _say(quiet, f"fitting the floors on {len(train)} train episodes")
    sample = sample_observations(store, train, PCA_OBSERVATIONS, rng)
    untrained = baselines.random_encoder(recipe, store.spec, sample, seed, device)
    encoders: dict[str, Encoder] = {
        "model": baselines.encoder_of(model),
        "random": baselines.encoder_of(untrained),
        "pca": baselines.PCA(sample, model.latent_dim, seed),
    }
    embed(store, train, encoders)
    _finite(train)
    spaces = {
        "model": baselines.Fitted(model.dynamics),
        "random": baselines.fit(train, train.latents["random"], recipe, seed, device),
    }

    _say(quiet, f"calibrating on {len(validation)} validation episodes")
    embed(store, validation, encoders, thin={"random": timing.stride, "pca": timing.stride})
    calibrations = {form: _calibrate(model, validation, form, seed) for form in FORMS}
    form: Form = max(FORMS, key=lambda name: np.nan_to_num(calibrations[name]["hard_auc"]))

    _say(quiet, f"scoring {len(test)} test episodes")
    anchors = draw_anchors(test, recipe.energy.anchors, rng)
    proposals = {kind: propose(kind, anchors, test, seed) for kind in KINDS}
    pixels = PixelRater(test, anchors, proposals)
    films = Films(anchors, proposals, {name: encoders[name] for name in spaces})
    embed(store, test, encoders, thin={"pca": timing.stride}, visitors=(pixels.visit, films.visit))
    _finite(test)

    def rater(space: str, energy: baselines.Fitted | None, form: Form) -> LatentRater:
        standardise = spaces[space].standardise
        shown = {kind: standardise(latents) for kind, latents in films.of(space).items()}
        return LatentRater(test, anchors, standardise(test.latents[space]), shown, energy, form, device)

    oracle = None
    raters: dict[str, Rater] = {
        "scaled": rater("model", spaces["model"], "scaled"),
        "plain": rater("model", spaces["model"], "plain"),
        "pixel": pixels,
        "no-predictor": rater("model", None, "plain"),
        "random-encoder": rater("random", spaces["random"], form),
    }
    if names:
        train_states, test_states = (baselines.oracle_features(names, table.state) for table in (train, test))
        oracle = baselines.fit(train, train_states, recipe, seed, device)
        raters["state-oracle"] = LatentRater(test, anchors, oracle.standardise(test_states), {}, oracle, form, device)
    rated = rate(raters, proposals, list(KINDS))
    raw = torch.from_numpy(test.latents["model"][test.observed()])
    latents = spaces["model"].standardise(test.latents["model"])
    figures: dict[str, Any] = {
        "schema": 1,
        "seed": seed,
        "device": device.type,
        "recipe": recipe.model_dump(mode="json"),
        "store": {"path": store.address} | store.spec.model_dump(mode="json"),
        "data": data_facts(refs, {"train": train, "validation": validation, "test": test}),
        "latent": {
            "dim": model.latent_dim,
            "effective_rank": effective_rank(raw),
            "embedding_std": embedding_std(raw),
        },
        "energy": {
            "form": form,
            "anchors": len(anchors),
            "false_alarm_target": recipe.energy.false_alarm_rate,
            "validation": calibrations,
            "kinds": energy_figures(rated, form, calibrations[form]["thresholds"]),
        },
        "rollout": rollout_errors(spaces["model"], test, latents, ROLLOUTS, seed, device),
    }
    if names:
        _say(quiet, "fitting linear probes")
        figures["probes"] = probe_figures(names, train, validation, test)
    strips: list[Strip] = []
    suites = draw_suites(store, timing, recipe.energy.violation_pairs, seed) if recipe.energy.violation_pairs else []
    if suites:
        _say(quiet, "showing what cannot happen")
        observers = Observers(model, form, (untrained, spaces["random"]), oracle, names)
        found = assess_violations(suites, observers, recipe.energy.false_alarm_rate)
        strips = found.strips
        figures |= {
            "violations": found.violations, "violations_mean": found.mean, "violations_setup": found.setup,
        }  # fmt: skip
    figures["headline"] = main_figures(figures)
    figures["seconds"] = round(time.monotonic() - started, 1)
    return figures, Evidence(test, latents, rated, spaces["model"], form, device, strips)


def _check(model: WorldModel, store: Store) -> None:
    """Raises ``TinyJEPAError`` where the store is not of the model's world."""
    for key in ("world", "frame_shape", "action_dim"):
        expected, found = getattr(model.spec, key), getattr(store.spec, key)
        if expected != found:
            raise TinyJEPAError(
                f"{store.path} has {key} {found}, but the model was trained with {expected}: judge it on its own store"
            )


def _splits(store: Store, timing: Timing) -> dict[Split, list[EpisodeRef]]:
    """The episodes of every split; raises ``TinyJEPAError`` where one has none that holds a transition."""
    refs: dict[Split, list[EpisodeRef]] = {
        "train": store.split("train"), "validation": store.split("validation"), "test": store.split("test"),
    }  # fmt: skip
    for split, episodes in refs.items():
        if not any(ref.rows >= timing.shortest for ref in episodes):
            raise TinyJEPAError(
                f"{store.path} has no {split} episode of {timing.shortest} frames or more ({len(store.episodes)} "
                "episodes in all): judging needs at least 1 validation and 2 test episodes, which 50 episodes or "
                "more nearly always hold; collect more frames"
            )
    return refs


def _finite(table: Embedded) -> None:
    if not np.isfinite(table.latents["model"][table.observed()]).all():
        raise TinyJEPAError(
            "the encoder gives latents that are not finite, so its training diverged: "
            "train another run with a lower objective.learning_rate (--set)"
        )


def _calibrate(model: WorldModel, table: Embedded, form: Form, seed: int) -> dict[str, Any]:
    """On validation episodes: the hard AUC that chooses the form of the energy, and its thresholds by model steps."""
    energy = model.recipe.energy
    anchors = draw_anchors(table, energy.anchors, np.random.default_rng([seed, *b"calibration"]))
    space = baselines.Fitted(model.dynamics)
    rater = LatentRater(table, anchors, space.standardise(table.latents["model"]), {}, space, form, model.device)
    near = {kind: propose(kind, anchors, table, seed) for kind in HARD}
    thresholds = {}
    for steps in sorted({kind.steps for kind in KINDS.values()}):
        true = rater.true(steps)
        true = true[np.isfinite(true)]
        thresholds[steps] = calibrate(true, energy.false_alarm_rate) if len(true) else math.nan
    return {"hard_auc": hard_auc(rate({form: rater}, near, HARD), form), "thresholds": thresholds}


def to_json(figures: Mapping[str, Any]) -> str:
    """The text of ``judge.json``: strict JSON, in which what is not a number is null."""
    return json.dumps(_plain(figures), indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def _say(quiet: bool, line: str) -> None:
    if not quiet:
        print(f"judge: {line}", file=sys.stderr, flush=True)
