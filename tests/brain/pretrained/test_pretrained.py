"""The runs that come with the package: whole, as their cards say, and usable without data."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from statistics import fmean

import pytest
import torch

import brain
from brain import pretrained
from brain.cli import cli
from brain.data.place import open_store
from brain.data.states import States
from brain.evaluation.summary import main_figures
from brain.live.loaded import load
from brain.reports.card import WEIGHTS, card
from brain.runs.figures import read_judgement
from brain.runs.folder import Run
from shared.cli.console import run
from shared.errors import MissingStoreError, TinyJEPAError
from shared.worlds import stored_world

NAMES = pretrained.names()


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_there_are_some() -> None:
    assert [*NAMES] == ["bouncing-logo", "car-racing", "double-pendulum", "two-room"]


@pytest.mark.parametrize("name", NAMES)
def test_the_card_is_that_of_the_folder(name: str) -> None:
    folder = pretrained.folder(name)
    text = (folder / pretrained.CARD).read_text()
    assert text == card(folder), f"write it again: python -m benchmarks.pretrained {name}"
    for file in WEIGHTS:
        assert f"{hashlib.sha256((folder / file).read_bytes()).hexdigest()}  {file}\n" in text
    judged = json.loads((folder / "judge.json").read_text())
    shown = dict(re.findall(r"^\| (.+?) \| ([\d.]+) \| [\d.–]+ \(.*\) \|$", text, re.MULTILINE))
    known = {item["label"]: item["value"] for item in judged["headline"].values() if item["value"] is not None}
    assert shown.keys() == known.keys()
    for label, value in known.items():
        assert float(shown[label]) == pytest.approx(value, abs=1e-3 if value < 10 else 0.06)
    (means,) = re.findall(r"mean of \d+: relative accuracy ([\d.]+), AUC ([\d.]+), detected ([\d.]+)\.", text)
    of = judged["violations_mean"]
    assert [*map(float, means)] == pytest.approx(
        [of[key] for key in ("relative_accuracy", "auc", "detection_rate")], abs=1e-3
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_main_figure_compares_model_and_baselines_over_the_same_violations(name: str) -> None:
    figures = json.loads((pretrained.folder(name) / "judge.json").read_text())
    judgement = read_judgement(Run(pretrained.folder(name)))
    assert judgement is not None
    main = main_figures(figures, States.of(judgement.spec()))["violations_auc"]
    own = [violation for key, violation in figures["violations"].items() if "@" not in key]
    means = {b: fmean(violation["baselines"][b]["auc"] for violation in own) for b in own[0]["baselines"]}
    assert main["value"] == pytest.approx(fmean(violation["auc"] for violation in own), abs=1e-5)
    assert main["baseline"] == pytest.approx(max(means.values()), abs=1e-5)
    assert main["baseline_name"] == max(means, key=lambda baseline: means[baseline])
    assert figures["headline"]["violations_auc"] == pytest.approx(main, abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_it_holds_float32_and_no_path_of_a_machine(name: str) -> None:
    folder = pretrained.folder(name)
    files = content(folder)
    facts = Run(folder).facts()
    planned = set()
    if "plan" in facts:
        fitted = json.loads(files["plan.json"])["fitted_to"]
        planned = {"plan.json", *(f"planning-{part}.safetensors" for part in fitted)}
        assert [line.split()[:2] for line in facts["plan"]] == [["factory", "collect"], ["brain", "plan"]]
    assert files.keys() == {"recipe.toml", "run.json", "judge.json", pretrained.CARD, *WEIGHTS, *planned}
    for file, data in files.items():
        assert b"/tmp/" not in data and b"/home/" not in data, file
    assert facts["collect"].startswith(f"factory collect --world {facts['world']} ")
    assert facts["collect"].endswith(f" --store {facts['store']}")
    model = brain.load(f"pretrained:{name}", device="cpu")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", NAMES)
def test_it_encodes_its_world_predicts_and_rolls_out(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = brain.load(f"pretrained:{name}", device="cpu")
    stack, stride = model.recipe.observation.stack, model.recipe.observation.stride
    with stored_world(model.spec.world, model.spec.frame_shape[0], model.spec.world_options) as world:
        frames = [world.reset(seed=3)[0]]
        for _ in range(7 * stride):
            frames.append(world.step(world.action_space.sample() * 0)[0])
    seen = torch.stack([torch.from_numpy(frame) for frame in frames[::stride]])[None]
    z = model.encode(seen)
    assert z.shape == (1, 9 - stack, *model.latent_shape) and bool(torch.isfinite(z).all())
    idle = torch.zeros(1, 4, model.action_dim)
    mean, log_variance = model.predict(z[:, 0], idle[:, 0])
    assert mean.shape == log_variance.shape == z[:, 0].shape
    future = model.rollout(z[:, 0], idle)
    assert future.shape == (1, 4, *model.latent_shape) and bool(torch.isfinite(future).all())
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", NAMES)
def test_the_live_page_shows_the_simulator_without_data(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load(pretrained.folder(name), None, torch.device("cpu"))
    assert loaded.simulated and loaded.calibration.threshold is not None
    (note,) = [note for note in loaded.notes if "No stored test episodes" in note]
    assert note.endswith(f"Collect some with: {Run(pretrained.folder(name)).facts()['collect']}")


def test_an_agent_plans_without_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    before = content(pretrained.folder("two-room"))
    short = ["--planner", "shooting", "--set", "samples=4", "--set", "horizon=4", "--episodes", "1", "--quiet"]
    assert run(cli, "brain", ["plan", "--pretrained", "two-room", *short]) == 0, capsys.readouterr().err
    assert (tmp_path / "runs/pretrained-two-room/plan.json").exists()
    assert content(pretrained.folder("two-room")) == before


@pytest.mark.parametrize("words", [["--pretrained", "bouncing-logo"], ["--run", "pretrained:bouncing-logo"]])
@pytest.mark.parametrize("command", ["judge", "dream", "probe"])
def test_what_needs_data_names_the_command_that_collects_it(
    command: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(cli, "brain", [command, *words]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    collect = Run(pretrained.folder("bouncing-logo")).facts()["collect"]
    assert said.startswith("brain: error: ") and f"make it with `{collect}`, or give --store PLACE" in said


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ([], "say which run: --run RUN, or --pretrained NAME (bouncing-logo, "),
        (["--pretrained", "bouncing-log"], "unknown pretrained run 'bouncing-log'. Did you mean 'bouncing-logo'?"),
        (["--run", "pretrained:car"], "unknown pretrained run 'car'."),
        (["--run", "mine", "--pretrained", "two-room"], "--run and --pretrained exclude each other"),
    ],
)
def test_bad_choices(words: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli, "brain", ["judge", *words]) == 2
    assert error in capsys.readouterr().err


def test_an_unknown_name_of_the_api() -> None:
    with pytest.raises(TinyJEPAError, match=r"unknown pretrained run 'two-rooms'\. Did you mean 'two-room'"):
        brain.load("pretrained:two-rooms")


def test_a_copy_is_kept_with_what_was_added_and_refused_with_other_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = pretrained.copied("two-room")
    assert place == Path("runs/pretrained-two-room") and not (place / pretrained.CARD).exists()
    (place / "probe.json").write_text("{}")
    assert pretrained.copied("two-room") == place and (place / "probe.json").exists()
    (place / "encoder.safetensors").write_bytes(b"other")
    with pytest.raises(TinyJEPAError, match=r"holds another run than pretrained two-room \(encoder"):
        pretrained.copied("two-room")


def test_a_store_elsewhere_is_not_remembered_in_the_package(logo: Path) -> None:
    folder = pretrained.folder("bouncing-logo")
    before = content(folder)
    store, line = open_store(Run(folder), Run(logo).facts()["store"])
    assert store.spec.world == "bouncing-logo" and not line and content(folder) == before


def test_a_run_of_ones_own_gets_the_same_card(logo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = shutil.copytree(logo, tmp_path / "mine")
    assert run(cli, "brain", ["export", "--run", str(mine), "--card"]) == 0
    written = mine / pretrained.CARD
    assert capsys.readouterr().out.strip() == str(written)
    text = written.read_text()
    for heading in ("How it was made", "Figures", "Weights", "Intended use and limits"):
        assert f"\n## {heading}\n" in text
    assert f"--run {mine} " in text and hashlib.sha256((mine / "encoder.safetensors").read_bytes()).hexdigest() in text
    (mine / "judge.json").unlink()
    assert run(cli, "brain", ["export", "--run", str(mine), "--card"]) == 2
    assert "is not judged yet: run brain judge" in capsys.readouterr().err


def test_a_store_that_is_missing_is_still_an_error_where_it_was_named(tmp_path: Path) -> None:
    with pytest.raises(MissingStoreError):
        open_store(Run(pretrained.folder("two-room")), tmp_path / "nothing")
