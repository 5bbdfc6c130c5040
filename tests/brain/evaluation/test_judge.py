"""The whole judgement on real stores: what it writes, what it must not look at, what it refuses."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from brain import recipes
from brain.evaluation import judge as judge_module
from brain.evaluation.judge import assess, to_json
from brain.evaluation.pairs import Suites
from brain.evaluation.samples import Samples
from brain.evaluation.summary import why_missing
from brain.models.latents import embed_episodes
from brain.models.world_model import WorldModel
from brain.reports.evidence import judge
from brain.reports.report import write_report
from brain.runs.figures import headline
from brain.runs.folder import Run
from brain.training.predictor import Told, fit_scale
from shared.errors import TinyJEPAError
from shared.store.dataset import create_store
from shared.store.reader import Store
from shared.store.schema import Episode, Split, StoreSpec, split_by_seed
from shared.store.writer import StreamWriter
from shared.worlds.drawing import Drawing, Order
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
    _begin(path, model, store)
    lines = [
        {"stage": stage, "step": step, "time": 1.0, "loss": 2.0 / (step + 1), "effective_rank": 5.0 + step}
        for stage in ("encoder", "predictor")
        for step in range(5)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"stage": "encod'  # the last line is cut short
    (path / "metrics.jsonl").write_text(text, encoding="utf-8")
    judge(model, store, Run(path), quiet=True)
    return path


def _begin(path: Path, model: WorldModel, store: Store) -> Run:
    run = Run(path)
    run.begin(model.recipe, store.spec, store.address, 0)
    return run


@pytest.fixture(scope="module")
def figures(run: Path) -> dict[str, Any]:
    def refuse(name: str) -> float:
        raise AssertionError(f"{name} is not JSON")

    result: dict[str, Any] = json.loads((run / "judge.json").read_text(encoding="utf-8"), parse_constant=refuse)
    return result


def test_embedding_tells_how_far_it_is(store: Store, model: WorldModel, capsys: pytest.CaptureFixture[str]) -> None:
    done: list[float] = []
    embed_episodes(model, store, store.split("train"), tell=done.append)
    assert done == sorted(done) and len(done) == len(store.split("train")) and done[-1] == 1
    for share, quiet in ((0.25, True), (0.5, False)):
        Told("embedding", quiet, "a smaller prediction.max_latents embeds fewer", every=0)(share)
    assert re.fullmatch(r"embedding: 50 %, \d+ s left\n", capsys.readouterr().err)


def test_the_judge_leaves_a_core_to_each_process_that_draws(
    store: Store, model: WorldModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[int] = []
    shared: list[int | None] = []

    def drawing(orders: Sequence[Order], cores: int | None = None) -> Drawing:
        shared.append(cores)
        return Drawing(orders, cores)

    def drawn(*given: Any) -> Samples:
        used.append(torch.get_num_threads())
        raise KeyboardInterrupt

    monkeypatch.setattr("brain.evaluation.pairs.Drawing", drawing)
    monkeypatch.setattr(judge_module, "draw_samples", drawn)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        for left in (9, 3, 1):
            monkeypatch.setattr(Suites, "cores_left", left)
            with pytest.raises(KeyboardInterrupt):
                assess(model, store, quiet=True)
        assert used == [4, 3, 1] and torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
    assert shared == [min(4, len(os.sched_getaffinity(0)))] * 3


def test_every_kind_stands_beside_its_baselines_and_upper_bound(figures: dict[str, Any]) -> None:
    kinds = figures["energy"]["kinds"]
    baselines = {"pixel", "no-predictor", "random-encoder"}
    shown = ("teleport", "far", "near-16", "near+16", "frozen", "reversed", "wrong-action-1", "wrong-action-4", "hard")
    for kind in shown:
        for figure in ("auc", "pair_accuracy"):
            values = kinds[kind][figure]
            assert baselines | {"model", "plain", "scaled"} <= set(values)
            assert ("state-oracle" in values) == (kind not in ("frozen", "reversed"))
            assert all(0 <= value <= 1 for value in values.values())
    near = [kinds[f"near{shift:+d}"]["auc"]["model"] for shift in (-16, -12, -8, -4, 4, 8, 12, 16)]
    assert kinds["hard"]["auc"]["model"] == pytest.approx(np.mean(near), abs=1e-5)
    assert kinds["wrong-action-1"]["auc"]["pixel"] == 0.5
    assert kinds["teleport"]["auc"]["model"] == kinds["teleport"]["auc"][figures["energy"]["form"]]


def test_form_is_the_one_validation_prefers(figures: dict[str, Any]) -> None:
    found = figures["energy"]["validation"]
    assert figures["energy"]["form"] == max(found, key=lambda form: found[form]["hard_auc"])


def test_probes_and_rollouts_stand_beside_their_baselines(figures: dict[str, Any]) -> None:
    scores = figures["probes"]["all"]
    assert set(scores) == {"model", "random-encoder", "pca", "mean"}
    assert set(scores["model"]) == {"x", "y", "vx", "vy"} and set(scores["mean"].values()) == {0.0}
    assert scores["pca"]["x"] > 0.3  # the square's place is in the pixels
    rollout = figures["rollout"]
    assert rollout["steps"] == [1, 2, 4, 8, 16] and len(rollout["persistence"]) == 5
    assert 1 < figures["latent"]["effective_rank"] <= 8
    forecasts = figures["forecasts"]
    assert forecasts["steps"] == rollout["steps"] and 0 < forecasts["starts"] <= rollout["starts"][0]
    assert set(forecasts["states"]) == {"x", "y", "vx", "vy"}
    for told in forecasts["states"].values():
        assert set(told) == {"model", "probe", "persistence", "constant-velocity", "state-oracle"}
        assert all(len(errors) == 5 and min(errors) >= 0 for errors in told.values())
    x = forecasts["states"]["x"]
    assert x["persistence"][0] < x["persistence"][2] and x["constant-velocity"][0] < x["constant-velocity"][2]


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
    assert page.count("<image") >= 13  # the picture strip


def test_headline_names_the_best_baseline(run: Path, figures: dict[str, Any]) -> None:
    lines = headline(run)
    teleport = figures["energy"]["kinds"]["teleport"]["auc"]
    best = max(("pixel", "no-predictor", "random-encoder"), key=lambda name: teleport[name])
    assert best in lines[0] and lines[0].startswith("AUC, teleport")
    assert figures["headline"]["teleport_auc"]["beats_baseline"] == (teleport["model"] > teleport[best])


def test_the_page_can_be_written_again_from_the_folder(run: Path, tmp_path: Path) -> None:
    """``brain report`` shows what the judge drew, on a page of its own whose ids are unique."""
    out = tmp_path / "page.html"
    write_report(run, out)
    page = out.read_text(encoding="utf-8")
    identities = re.findall(r'\bid="([^"]+)"', page)
    assert len(identities) == len(set(identities)) and page.count("<image") >= 13


def test_figures_of_earlier_versions_can_be_read(run: Path, figures: dict[str, Any], tmp_path: Path) -> None:
    """Main figures had other keys, kinds no principle, and the judge kept no pictures."""
    old = json.loads(json.dumps(figures))
    renamed = {"baseline": "floor", "baseline_name": "floor_name", "beats_baseline": "beats_floor"}
    old["headline"] = {
        key: {renamed.get(name, name): value for name, value in row.items()} for key, row in old["headline"].items()
    }
    for kind in old["energy"]["kinds"].values():
        del kind["principle"]
    for name in ("run.json", "recipe.toml"):
        shutil.copy(run / name, tmp_path / name)
    (tmp_path / "judge.json").write_text(json.dumps(old), encoding="utf-8")
    assert headline(tmp_path) == headline(run)
    write_report(tmp_path, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "An earlier version judged this run" in page and "not above" in page


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
    model = _model(store)
    run = _begin(tmp_path / "run", model, store)
    figures = judge(model, store, run, quiet=True)
    assert "probes" not in figures and {"teleport", "hard", "frozen"} <= set(figures["energy"]["kinds"])
    assert not any(kind.startswith("wrong-action") for kind in figures["energy"]["kinds"])
    assert "state-oracle" not in figures["energy"]["kinds"]["teleport"]["auc"]
    missing = figures["headline"]["wrong_action_auc"]
    assert missing["value"] is None and missing["missing"] == "the world has no actions"
    assert any(line.endswith("missing, the world has no actions") for line in headline(run.path))
    assert "the world has no actions" in run.report.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("kind", "used", "words"),
    [
        ("teleport", 1, "it takes two test episodes, and there is 1"),
        ("wrong-action-4", 1, "it takes two test episodes, and there is 1"),
        ("wrong-action-4", 3, "no two test episodes have 4 model steps with other actions"),
        ("hard", 3, "the test episodes are too short"),
    ],
)
def test_a_figure_that_cannot_be_computed_says_why(kind: str, used: int, words: str) -> None:
    assert why_missing(kind, {"data": {"test": {"used_episodes": used}}, "store": {"action_dim": 2}}) == words


def test_refusals_are_one_line_and_write_nothing(store: Store, model: WorldModel, tmp_path: Path) -> None:
    few = dot_spec().model_copy(update={"world": "few"})
    create_store(tmp_path / "few", few)
    with StreamWriter(tmp_path / "few", few, RUN, 0) as writer:
        writer.append(dot_episode(0, ROWS))
    run = Run(tmp_path / "run")
    run.path.mkdir()
    with pytest.raises(TinyJEPAError, match=r"has world few, but the model was trained with dots"):
        judge(model, Store(tmp_path / "few"), run, quiet=True)
    with pytest.raises(TinyJEPAError, match=r"has no \w+ episode of 9 frames or more \(1 episodes in all\).* collect"):
        judge(_model_for(model, few), Store(tmp_path / "few"), run, quiet=True)
    broken = _model_for(model, store.spec)
    with torch.no_grad():
        next(broken.encoder.parameters()).fill_(torch.nan)
    with pytest.raises(TinyJEPAError, match="not finite, so its training diverged"):
        judge(broken, store, run, quiet=True)
    broken = _model_for(model, store.spec)
    with torch.no_grad():
        next(broken.dynamics.predictor.parameters()).fill_(torch.nan)
    with pytest.raises(TinyJEPAError, match="the predictor gives energies that are not finite"):
        judge(broken, store, run, quiet=True)
    with pytest.raises(TinyJEPAError, match="not judged yet"):
        headline(run.path)
    assert list(run.path.iterdir()) == []


def test_an_encoder_that_sees_nothing_is_judged_by_chance(store: Store, model: WorldModel, tmp_path: Path) -> None:
    """All its latents are the same: there is no plane to draw them in."""
    blind = _model_for(model, store.spec)
    with torch.no_grad():
        for weights in blind.encoder.parameters():
            weights.zero_()
    fit_scale(blind.dynamics, embed_episodes(blind, store, store.split("train")))
    run = _begin(tmp_path, blind, store)
    figures = judge(blind, store, run, quiet=True)
    assert figures["energy"]["kinds"]["teleport"]["auc"]["model"] == 0.5 and figures["latent"]["effective_rank"] == 1
    assert json.loads(run.pictures.read_text())["planes"] == [] and "principal components" not in run.report.read_text()


def _model_for(model: WorldModel, spec: StoreSpec) -> WorldModel:
    copy = WorldModel(model.recipe, spec)
    copy.load_state_dict(model.state_dict())
    return copy.eval()
