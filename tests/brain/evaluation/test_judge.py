"""The whole judgement on real stores: what it writes, what it must not look at, what it refuses."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from brain import recipes
from brain.evaluation.judge import assess, judge, to_json
from brain.evaluation.summary import headline
from brain.models.latents import embed_episodes
from brain.models.world_model import WorldModel
from brain.training.predictor import fit_scale
from shared.errors import TinyJEPAError
from shared.store.dataset import create_store
from shared.store.reader import Store
from shared.store.schema import Episode, Split, StoreSpec, split_by_seed
from shared.store.writer import StreamWriter
from tests.support.dots import RUN, dot_episode, dot_spec

ROWS, EPISODES = 121, 30


def _store(path: Path, spec: StoreSpec, changed: Split | None = None) -> Store:
    """The dot world; episodes of the ``changed`` split have other content under the same seeds."""
    create_store(path, spec)
    with StreamWriter(path, spec, RUN, 0) as writer:
        for index in range(EPISODES):
            episode = dot_episode(index, ROWS)
            if changed is not None and split_by_seed(episode.seed) == changed:
                other = dot_episode(1000 + index, ROWS)
                episode = replace(other, index=index, seed=episode.seed)
            writer.append(_fit(episode, spec))
    return Store(path)


def _fit(episode: Episode, spec: StoreSpec) -> Episode:
    return replace(
        episode, action=episode.action[:, : spec.action_dim], state=episode.state[:, : len(spec.state_names)]
    )


def _model(store: Store) -> WorldModel:
    small = ["encoder.dim=8", "encoder.width=4", "prediction.steps=30", "prediction.batch=64", "energy.anchors=90"]
    recipe = recipes.load("car-racing", small)
    torch.manual_seed(0)
    model = WorldModel(recipe, store.spec).eval()
    fit_scale(model.dynamics, embed_episodes(model, store, store.split("train")))
    return model


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return _store(tmp_path_factory.mktemp("judge") / "dots", dot_spec())


@pytest.fixture(scope="module")
def model(store: Store) -> WorldModel:
    return _model(store)


@pytest.fixture(scope="module")
def run(store: Store, model: WorldModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run")
    lines = [
        {"stage": stage, "step": step, "time": 1.0, "loss": 2.0 / (step + 1), "effective_rank": 5.0 + step}
        for stage in ("encoder", "predictor")
        for step in range(5)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"stage": "encod'  # the last line is cut short
    (path / "metrics.jsonl").write_text(text, encoding="utf-8")
    judge(model, store, path, quiet=True)
    return path


@pytest.fixture(scope="module")
def figures(run: Path) -> dict[str, Any]:
    def refuse(name: str) -> float:
        raise AssertionError(f"{name} is not JSON")

    result: dict[str, Any] = json.loads((run / "judge.json").read_text(encoding="utf-8"), parse_constant=refuse)
    return result


def test_every_kind_stands_beside_its_floors_and_ceiling(figures: dict[str, Any]) -> None:
    kinds = figures["energy"]["kinds"]
    floors = {"pixel", "no-predictor", "random-encoder"}
    shown = ("teleport", "far", "near-16", "near+16", "frozen", "reversed", "wrong-action-1", "wrong-action-4", "hard")
    for kind in shown:
        for figure in ("auc", "pair_accuracy"):
            values = kinds[kind][figure]
            assert floors | {"model", "plain", "scaled"} <= set(values)
            assert ("state-oracle" in values) == (kind not in ("frozen", "reversed"))
            assert all(0 <= value <= 1 for value in values.values())
    near = [kinds[f"near{shift:+d}"]["auc"]["model"] for shift in (-16, -12, -8, -4, 4, 8, 12, 16)]
    assert kinds["hard"]["auc"]["model"] == pytest.approx(np.mean(near), abs=1e-5)
    assert kinds["wrong-action-1"]["auc"]["pixel"] == 0.5
    assert kinds["teleport"]["auc"]["model"] == kinds["teleport"]["auc"][figures["energy"]["form"]]


def test_form_is_the_one_validation_prefers(figures: dict[str, Any]) -> None:
    found = figures["energy"]["validation"]
    assert figures["energy"]["form"] == max(found, key=lambda form: found[form]["hard_auc"])


def test_probes_and_rollouts_stand_beside_their_floors(figures: dict[str, Any]) -> None:
    scores = figures["probes"]["all"]
    assert set(scores) == {"model", "random-encoder", "pca", "mean"}
    assert set(scores["model"]) == {"x", "y", "vx", "vy"} and set(scores["mean"].values()) == {0.0}
    assert scores["pca"]["x"] > 0.3  # the square's place is in the pixels
    rollout = figures["rollout"]
    assert rollout["steps"] == [1, 2, 4, 8, 16] and len(rollout["persistence"]) == 5
    assert 1 < figures["latent"]["effective_rank"] <= 8


def test_data_facts_count_the_store(figures: dict[str, Any], store: Store) -> None:
    for split in ("train", "validation", "test"):
        refs = store.split(split)  # type: ignore[arg-type]
        facts = figures["data"][split]
        assert facts["episodes"] == len(refs) == facts["used_episodes"]
        assert facts["rows"] == len(refs) * ROWS and facts["policies"] == {"uniform": len(refs)}


def test_report_is_one_self_contained_page(run: Path) -> None:
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "http:" not in page and "https:" not in page and "@import" not in page and "<script" not in page
    links = re.findall(r"(?:src|href)=\"([^\"]*)\"", page) + re.findall(r"url\(([^)]*)\)", page)
    assert links and all(link.startswith(("#", "data:")) for link in links)
    identities = re.findall(r'\bid="([^"]+)"', page)
    assert len(identities) == len(set(identities))
    assert {link[1:] for link in links if link.startswith("#")} <= set(identities)
    for heading in ("encoder: loss terms", "predictor: effective rank", "brain judge --run", "wrong action, 4 steps"):
        assert heading in page
    assert page.count("<image") >= 13  # the film strip


def test_headline_names_the_best_floor(run: Path, figures: dict[str, Any]) -> None:
    lines = headline(run)
    teleport = figures["energy"]["kinds"]["teleport"]["auc"]
    best = max(("pixel", "no-predictor", "random-encoder"), key=lambda name: teleport[name])
    assert best in lines[0] and lines[0].startswith("AUC, teleport")
    assert figures["headline"]["teleport_auc"]["beats_floor"] == (teleport["model"] > teleport[best])


def test_judging_again_gives_the_same_figures(
    model: WorldModel, store: Store, figures: dict[str, Any], tmp_path: Path
) -> None:
    again = _assess(model, store)
    assert {**again, "seconds": 0} == {**figures, "seconds": 0}


def test_test_content_moves_scores_and_nothing_that_is_chosen(
    model: WorldModel, figures: dict[str, Any], tmp_path: Path
) -> None:
    other = _assess(model, _store(tmp_path / "store", dot_spec(), "test"))
    assert other["energy"]["validation"] == figures["energy"]["validation"]
    assert other["energy"]["form"] == figures["energy"]["form"]
    assert other["energy"]["kinds"]["hard"]["auc"] != figures["energy"]["kinds"]["hard"]["auc"]
    assert other["probes"]["all"]["model"] != figures["probes"]["all"]["model"]


def test_validation_content_moves_thresholds_and_no_score(
    model: WorldModel, figures: dict[str, Any], tmp_path: Path
) -> None:
    other = _assess(model, _store(tmp_path / "store", dot_spec(), "validation"))
    assert other["energy"]["validation"] != figures["energy"]["validation"]
    for kind, found in figures["energy"]["kinds"].items():
        for form in ("plain", "scaled", "pixel", "no-predictor"):
            assert other["energy"]["kinds"][kind]["auc"][form] == found["auc"][form]


def _assess(model: WorldModel, store: Store) -> dict[str, Any]:
    """Figures as ``judge.json`` would hold them, without drawing the report."""
    result: dict[str, Any] = json.loads(to_json(assess(model, store, quiet=True)[0]))
    return result


def test_a_world_without_actions_and_states(tmp_path: Path) -> None:
    spec = dot_spec().model_copy(update={"action_dim": 0, "state_names": ()})
    store = _store(tmp_path / "store", spec)
    figures = judge(_model(store), store, tmp_path, quiet=True)
    assert "probes" not in figures and {"teleport", "hard", "frozen"} <= set(figures["energy"]["kinds"])
    assert not any(kind.startswith("wrong-action") for kind in figures["energy"]["kinds"])
    assert "state-oracle" not in figures["energy"]["kinds"]["teleport"]["auc"]
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_refusals_are_one_line_and_write_nothing(store: Store, model: WorldModel, tmp_path: Path) -> None:
    few = dot_spec().model_copy(update={"world": "few"})
    create_store(tmp_path / "few", few)
    with StreamWriter(tmp_path / "few", few, RUN, 0) as writer:
        writer.append(dot_episode(0, ROWS))
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(TinyJEPAError, match=r"has world few, but the model was trained with dots"):
        judge(model, Store(tmp_path / "few"), run, quiet=True)
    with pytest.raises(TinyJEPAError, match=r"has no \w+ episode of 9 frames or more \(1 episodes in all\).* collect"):
        judge(_model_for(model, few), Store(tmp_path / "few"), run, quiet=True)
    broken = _model_for(model, store.spec)
    with torch.no_grad():
        next(broken.encoder.parameters()).fill_(torch.nan)
    with pytest.raises(TinyJEPAError, match="not finite, so its training diverged"):
        judge(broken, store, run, quiet=True)
    with pytest.raises(TinyJEPAError, match="not judged yet"):
        headline(run)
    assert list(run.iterdir()) == []


def _model_for(model: WorldModel, spec: StoreSpec) -> WorldModel:
    copy = WorldModel(model.recipe, spec)
    copy.load_state_dict(model.state_dict())
    return copy.eval()
