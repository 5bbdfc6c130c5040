"""Every figure of the judge against an independent computation of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA as ExactPCA
from sklearn.linear_model import Ridge as ReferenceRidge
from sklearn.metrics import r2_score

from brain.data.states import States
from brain.evaluation.baselines import PCA, oracle_features
from brain.evaluation.metrics import auc, calibrate, pair_accuracy, r2, share_above
from brain.evaluation.probes import PENALTIES, Ridge, Rows, linear_probe
from brain.objectives.collapse import effective_rank
from brain.runs.figures import figure_text
from brain.runs.intervals import confidence
from shared.store.schema import StoreSpec

ENERGIES = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=30).map(np.array)


@settings(max_examples=60, deadline=None)
@given(ENERGIES, ENERGIES)
def test_auc_counts_pairs(true: np.ndarray, impossible: np.ndarray) -> None:
    wins = [float(f > t) + 0.5 * float(f == t) for t in true for f in impossible]
    assert auc(true, impossible) == pytest.approx(np.mean(wins))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=30))
def test_pair_accuracy_counts_transitions(pairs: list[tuple[int, int]]) -> None:
    wins = [1.0 if t < f else 0.5 if t == f else 0.0 for t, f in pairs]
    true, impossible = (np.array(side, float) for side in zip(*pairs))
    assert pair_accuracy(true, impossible) == pytest.approx(np.mean(wins))


@pytest.mark.parametrize("share", [0.01, 0.1])
def test_threshold_lets_at_most_the_share_pass(share: float) -> None:
    true = np.random.default_rng(0).normal(size=997)
    threshold = calibrate(true, share)
    assert np.mean(true > threshold) <= share
    assert np.mean(true >= threshold) > share  # and no lower threshold would do


@pytest.mark.parametrize("singular", [[1.0] * 6, [4.0, 2.0, 1.0], [1.0, 0.0, 0.0]])
def test_effective_rank_of_known_spectra(singular: list[float]) -> None:
    rng = np.random.default_rng(1)
    centred = rng.normal(size=(200, len(singular)))
    left = np.linalg.qr(centred - centred.mean(0))[0]
    right = np.linalg.qr(rng.normal(size=(len(singular), len(singular))))[0]
    share = np.array(singular) / sum(singular)
    expected = np.exp(-sum(p * np.log(p) for p in share if p > 0))
    latents = torch.from_numpy(left * singular @ right + 5.0)
    assert effective_rank(latents) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("penalty", [1e-4, 0.1, 10.0])
def test_ridge_is_scikit_learns(penalty: float) -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(300, 7)) * rng.uniform(0.1, 10, 7) + 3
    y = x @ rng.normal(size=(7, 2)) + rng.normal(size=(300, 2))
    fresh = rng.normal(size=(50, 7))
    centre, scale = x.mean(0), x.std(0)
    reference = ReferenceRidge(alpha=penalty * len(x)).fit((x - centre) / scale, y)
    assert Ridge(x, y, [5.0, penalty]).predict(fresh)[1] == pytest.approx(reference.predict((fresh - centre) / scale))


def test_a_feature_that_hardly_varied_in_training_does_not_rule_elsewhere() -> None:
    rng = np.random.default_rng(5)
    x, fresh = rng.normal(size=(400, 5)), rng.normal(size=(100, 5))
    x[:, 4], fresh[:, 4] = 0.0, 0.0
    x[7, 4], fresh[3, 4] = 1e-4, 1.0  # a pixel that something touched once
    y = x[:, :1] + 0.01 * rng.normal(size=(400, 1))
    y[7] += 0.05
    assert r2(fresh[:, 0], Ridge(x, y, [1e-3]).predict(fresh)[0, :, 0]) > 0.99


def test_r2_is_scikit_learns() -> None:
    rng = np.random.default_rng(3)
    truth = rng.normal(size=100)
    guess = truth + rng.normal(size=100)
    assert r2(truth, guess) == pytest.approx(r2_score(truth, guess))
    assert np.isnan(r2(np.ones(5), np.zeros(5)))
    constant = np.full(999, np.sin(1.3))  # whose mean is another number by rounding
    assert np.isnan(r2(constant, constant + 1e-9))


def test_no_threshold_gives_no_share() -> None:
    energies = np.array([1.0, 2.0, 3.0, 4.0])
    assert share_above(energies, 3.0) == 0.25
    assert np.isnan(share_above(energies, float("nan"))) and np.isnan(share_above(energies[:0], 3.0))


def test_energies_that_are_not_numbers_have_no_scores() -> None:
    known, lost = np.array([1.0, 2.0]), np.array([1.0, np.nan])
    for both in ((known, lost), (lost, known), (lost, lost), (known[:0], known[:0])):
        assert np.isnan(auc(*both)) and np.isnan(pair_accuracy(*both))
    assert np.isnan(share_above(lost, 0.5))


def _rows(seed: int, n: int, noise: float = 0.0) -> Rows:
    """Latents that hold speed linearly and an angle as its sine and cosine, beside distractors."""
    rng = np.random.default_rng(seed)
    speed, angle = rng.normal(size=n), rng.uniform(-20, 20, n)
    hidden = np.stack([speed, np.sin(angle), np.cos(angle), *rng.normal(size=(3, n))], axis=1)
    mixed = hidden @ np.linalg.qr(np.random.default_rng(9).normal(size=(6, 6)))[0]
    unknown = rng.normal(size=n)
    return Rows(mixed + noise * rng.normal(size=mixed.shape), np.stack([speed, angle, unknown], axis=1))


def test_probe_reads_what_is_there_and_nothing_else() -> None:
    states = States(("speed", "angle", "unknown"), angles=("angle",))
    scores = linear_probe(states, _rows(0, 400), _rows(1, 200), _rows(2, 300))
    assert scores["speed"].r2 > 0.999 and scores["angle"].r2 > 0.999
    assert scores["unknown"].r2 < 0.05


def test_probe_chooses_its_penalty_on_validation_rows_only() -> None:
    """With few noisy training rows the penalty matters; the score is the one of the penalty validation prefers."""
    train, validation, test = _rows(20, 9, 0.5), _rows(21, 40, 0.5), _rows(22, 300, 0.5)
    fit = Ridge(train.features, train.states[:, :1], PENALTIES)

    def by_penalty(rows: Rows) -> list[float]:
        return [r2_score(rows.states[:, 0], guesses[:, 0]) for guesses in fit.predict(rows.features)]

    expected = by_penalty(test)[int(np.argmax(by_penalty(validation)))]
    assert expected != pytest.approx(max(by_penalty(test)))  # the choice is not the test's own
    speeds = [Rows(rows.features, rows.states[:, :1]) for rows in (train, validation, test)]
    assert linear_probe(States(("speed",)), *speeds)["speed"].r2 == pytest.approx(expected)


def _spec(world: str, *names: str) -> StoreSpec:
    return StoreSpec(world=world, frame_shape=(8, 8, 3), action_dim=1, state_names=names, control_rate=50.0)


def test_driving_rows_are_on_the_road_and_face_along_it() -> None:
    values = np.array([[0.1, 1.0], [0.1, 7.0], [3.1, 1.0], [-6.2, -6.0]])
    mask = States.of(_spec("car-racing", "heading_error", "lateral_offset")).typical(values)
    assert mask is not None and mask.tolist() == [True, False, False, True]
    assert States.of(_spec("car-racing", "x", "y")).typical(values) is None, "a store without these states"
    assert States.of(_spec("CartPole-v1", "heading_error", "lateral_offset")).typical(values) is None


@pytest.mark.parametrize("world", ["CartPole-v1", "a-world-that-is-gone", "ale_py:ALE/Pong-v5"])
def test_worlds_that_declare_nothing_have_the_defaults(world: str) -> None:
    states = States.of(_spec(world, "theta1", "x", "v"))
    assert states.angles == () and states.headline == ("theta1", "x") and states.absolute == ()
    assert states.columns(np.array([[9.0, 1.0, 2.0]])).tolist() == [[9.0, 1.0, 2.0]]


def test_pca_is_scikit_learns() -> None:
    rng = np.random.default_rng(4)
    basis = rng.normal(size=(5, 2 * 6 * 6 * 3)) * np.array([30, 20, 15, 8, 5])[:, None]
    pixels = 128 + rng.normal(size=(300, 5)) @ basis / 3
    observations = np.clip(pixels, 0, 255).astype(np.uint8).reshape(300, 2, 6, 6, 3)
    flat = observations.reshape(300, -1) / 255.0
    exact = ExactPCA(3).fit_transform(flat)
    ours = PCA(observations, 3, seed=0)(observations)
    assert np.abs(ours) == pytest.approx(np.abs(exact), abs=2e-2)


def test_the_oracle_knows_motion_not_place() -> None:
    states = States.of(_spec("car-racing", "x", "angle", "forward_speed", "lateral_offset"))
    features = oracle_features(states, np.array([[5.0, np.pi / 2, 3.0, 1.0]]))
    assert features[0] == pytest.approx([1.0, 0.0, 3.0, 1.0], abs=1e-6)
    assert oracle_features(States(("x", "y")), np.array([[5.0, 6.0]])).tolist() == [[5.0, 6.0]]


@pytest.mark.parametrize(("count", "t"), [(2, 12.7062), (3, 4.30265), (11, 2.22814), (40, 2.02269)])
def test_confidence_intervals_are_students(count: int, t: float) -> None:
    values = np.random.default_rng(count).normal(size=count)
    mean, half = confidence(values.tolist())
    assert mean == pytest.approx(values.mean())
    assert half == pytest.approx(t * values.std(ddof=1) / count**0.5, rel=1e-5)


@pytest.mark.parametrize(
    "value, text",
    [(0.99951, "0.9995"), (0.99999, "0.9999"), (1.0, "1.000"), (0.5, "0.500"), (63.46, "63.5"), (None, "–")],
)
def test_figures_are_never_rounded_up_to_one(value: float | None, text: str) -> None:
    assert figure_text(value) == text
