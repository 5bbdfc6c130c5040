"""``brain train --encoder``: a predictor of one's own on the encoder of another run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from brain import pretrained, recipes
from brain.cli import cli
from brain.models.world_model import WorldModel
from brain.runs.folder import Compute, Run
from brain.runs.metrics import read_metrics
from factory.cli import cli as factory_cli
from shared.cli.console import run as run_command
from shared.store.reader import Store
from tests.support.once import once
from tests.support.training import command, here, make_undisturbed, weights_of


@pytest.fixture(scope="module")
def source(dots: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 120 steps a stage; only to be read."""
    return once(tmp_path_factory, "undisturbed", lambda folder: make_undisturbed(folder, dots)) / "undisturbed"


def test_a_predictor_is_trained_on_the_encoder_of_another_run(dots: Path, source: Path, tmp_path: Path) -> None:
    run, before = Run(tmp_path / "run"), {path.name: path.read_bytes() for path in source.iterdir() if path.is_file()}
    words = ["train", "--encoder", str(source), "--run", str(run.path), "--set", "prediction.rollout=3", "--quiet"]
    words += ["--steps", "7", "--stage", "predictor", "--device", "cpu"]
    assert run_command(cli, "brain", words) == 0, "recipe and store are those of the encoder"
    assert run.encoder.read_bytes() == Run(source).encoder.read_bytes()
    assert weights_of(run.predictor).keys() == weights_of(Run(source).predictor).keys()
    assert [key for key, _, _ in recipes.differences(run.recipe(), Run(source).recipe())] == ["prediction.rollout"]
    assert run.facts()["flags"] == ["--encoder", str(source.resolve()), "--steps", "7", "--device", "cpu"]
    curves = read_metrics(run.path / "metrics.jsonl")
    assert curves["encoder"] == read_metrics(source / "metrics.jsonl")["encoder"]
    assert curves["predictor"][-1]["step"] == 6

    written = run.predictor.stat().st_mtime_ns
    assert run_command(cli, "brain", words) == 0 and run.predictor.stat().st_mtime_ns == written, "finished"
    after = {path.name: path.read_bytes() for path in source.iterdir() if path.is_file()}
    assert before == after, "the other run stays as it is"


def test_what_its_training_was_is_kept(dots: Path, source: Path, tmp_path: Path) -> None:
    other, recipe = tmp_path / "other", source.parent / "small.toml"
    shutil.copytree(source, other)
    trained = Compute("bfloat16", None, 2, compiled=True)
    Run(other).record_compute(trained)
    words = ("--encoder", str(other), "--steps", "2", "--stage", "predictor")
    done = here(command(dots, recipe, tmp_path / "run", *words, "--threads", "1"))
    assert done.returncode == 0 and "note" not in done.stdout, done.stderr + done.stdout
    assert f"encoder: that of {other} (120 steps" in done.stdout
    assert Run(tmp_path / "run").compute() == trained
    done = here(command(dots, recipe, tmp_path / "plain", *words, "--precision", "float32"))
    assert done.returncode == 2 and "was trained in bfloat16, not float32" in done.stderr
    assert not (tmp_path / "plain").exists()


def test_what_was_made_with_an_earlier_encoder_goes(dots: Path, source: Path, tmp_path: Path) -> None:
    run, recipe = Run(tmp_path / "run"), source.parent / "small.toml"
    words = ("--encoder", str(source), "--steps", "2", "--stage", "predictor")
    assert here(command(dots, recipe, run.path, *words)).returncode == 0
    run.judgement.write_text("{}")
    run.encoder.unlink()
    done = here(command(dots, recipe, run.path, *words))
    assert "note: predictor.safetensors, judge.json were made with an earlier encoder: removed" in done.stdout
    assert "predictor: trained (2 steps" in done.stdout and not run.judgement.exists()


def test_a_packaged_encoder_needs_a_fresh_predictor(tmp_path: Path) -> None:
    run, logos = Run(tmp_path / "run"), tmp_path / "logos"
    collect = ["collect", "--world", "bouncing-logo", "--local", "--episodes", "20", "--seed", "11"]
    assert run_command(factory_cli, "factory", [*collect, "--store", str(logos)]) == 0
    words = ["train", "--encoder", "pretrained:bouncing-logo", "--store", str(logos), "--run", str(run.path), "--quiet"]
    words += ["--steps", "2", "--stage", "predictor", "--device", "cpu"]
    assert run_command(cli, "brain", words) == 2 and not run.path.exists()
    assert run_command(cli, "brain", [*words, "--set", "prediction.start=fresh"]) == 0
    assert run.encoder.read_bytes() == Run(pretrained.folder("bouncing-logo")).encoder.read_bytes()
    assert run.facts()["flags"][:2] == ["--encoder", "pretrained:bouncing-logo"]
    out = tmp_path / "sweep"
    swept = ["sweep", "--encoder", "pretrained:bouncing-logo", "--store", str(logos), "--out", str(out), "--seeds", "0"]
    swept += ["--steps", "2", "--set", "prediction.start=fresh", "--set", "energy.violation_pairs=0"]
    assert run_command(cli, "brain", [*swept, "--set", "energy.anchors=50"]) == 0
    (made,) = json.loads((out / "sweep.json").read_text())
    assert "hard AUC" in made["figures"] and "images/CPU s" not in made["figures"], "which this encoder does not say"


def test_an_untrained_encoder_is_a_baseline_with_a_predictor_of_its_own(
    dots: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, recipe = Run(tmp_path / "run"), source.parent / "small.toml"
    words = ("--encoder", "untrained", "--steps", "30", "--seed", "3", "--set", "energy.anchors=100")
    done = here(command(dots, recipe, run.path, *words))
    assert done.returncode == 0, done.stderr
    assert "encoder: left untrained (0 steps" in done.stdout and "predictor: trained (30 steps" in done.stdout
    assert run.facts()["flags"][:2] == ["--encoder", "untrained"] and run.judgement.exists()

    with torch.random.fork_rng():
        torch.manual_seed(3)
        before = WorldModel(run.recipe(), Store(dots).spec).encoder
    kept = weights_of(run.encoder)
    for name, value in before.named_parameters():
        assert torch.equal(kept[f"encoder.model.{name}"], value), "the weights are those of this seed before training"
    model = WorldModel.load(run.path, Store(dots).spec, torch.device("cpu"))
    norms = [layer for layer in model.encoder.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    assert norms and all(float(layer.running_mean.abs().max()) > 0 for layer in norms), "statistics of real frames"
    assert float(model.dynamics.latent_std.mean()) != 1, "its latents have a scale of their own"

    done = here(command(dots, recipe, run.path, *words))
    assert done.returncode == 0 and "encoder: left untrained before" in done.stdout and "note" not in done.stdout
    assert run_command(cli, "brain", ["compare", str(run.path), str(source), "--out", str(tmp_path / "c.html")]) == 0
    capsys.readouterr()

    trained, begun = tmp_path / "trained", tmp_path / "begun"
    shutil.copytree(source, trained)
    shutil.copytree(source, begun)
    Run(begun).encoder.rename(Run(begun).checkpoint("encoder"))
    for where, more, said in (
        (trained, [], "has a trained encoder"),
        (begun, [], "has a trained encoder"),
        (tmp_path / "a", ["--set", "prediction.start=joint", "--set", "prediction.predictor.width=256"], "fresh"),
        (tmp_path / "b", ["--follow"], "--follow trains an encoder"),
    ):
        done = here(command(dots, recipe, where, *words, *more))
        assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr
        assert not where.exists() or where in (trained, begun)


def test_a_run_of_that_name_is_called_by_its_whole_path(
    dots: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(source, tmp_path / "untrained")
    monkeypatch.chdir(tmp_path)
    words = ("--steps", "2", "--stage", "predictor")
    done = here(command(dots, source.parent / "small.toml", tmp_path / "a", "--encoder", "./untrained", *words))
    assert done.returncode == 2 and f"call that run {tmp_path / 'untrained'}" in done.stderr
    whole = str(tmp_path / "untrained")
    assert here(command(dots, source.parent / "small.toml", tmp_path / "a", "--encoder", whole, *words)).returncode == 0
    assert Run(tmp_path / "a").encoder.read_bytes() == Run(source).encoder.read_bytes()


def test_a_sweep_of_untrained_encoders(
    dots: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["sweep", "--store", str(dots), "--out", str(out), "--steps", "3", "--seeds", "0,1", "--recipe"]
    words += [str(source.parent / "small.toml"), "--set", "energy.anchors=100"]
    assert run_command(cli, "brain", [*words, "--encoder", "untrained"]) == 0
    capsys.readouterr()
    runs = [Run(Path(entry["run"])) for entry in json.loads((out / "sweep.json").read_text())]
    assert len(runs) == 2 and runs[0].encoder.read_bytes() != runs[1].encoder.read_bytes(), "each seed has its own"
    assert run_command(cli, "brain", words) == 2
    assert "was made with --encoder: give it again" in capsys.readouterr().err
    assert run_command(cli, "brain", [*words, "--encoder", str(source)]) == 2
    assert "has another encoder than" in capsys.readouterr().err


def test_another_encoder_than_the_recipe_s_is_refused(dots: Path, source: Path, tmp_path: Path) -> None:
    recipe = source.parent / "small.toml"
    begun, half, torn = tmp_path / "begun", tmp_path / "half", tmp_path / "torn"
    shutil.copytree(source, half)
    Run(half).encoder.rename(Run(half).checkpoint("encoder"))
    shutil.copytree(source, torn)
    Run(torn).encoder.write_bytes(Run(torn).encoder.read_bytes()[:-100])
    assert here(command(dots, recipe, begun, "--steps", "2", "--stage", "encoder")).returncode == 0
    for where, extra, words in (
        (
            tmp_path / "a",
            ["--encoder", str(source), "--set", "objective.covariance=0.7"],
            "objective.covariance 0.1, not",
        ),
        (tmp_path / "b", ["--encoder", str(source), "--set", "observation.stack=1"], "observation.stack 2, not 1"),
        (tmp_path / "c", ["--encoder", str(half)], "its encoder is not finished"),
        (tmp_path / "d", ["--encoder", str(tmp_path)], "is no run folder (recipe.toml is missing)"),
        (tmp_path / "e", ["--encoder", "pretrained:two-rooms"], "Did you mean 'two-room'"),
        (tmp_path / "f", ["--encoder", str(source), "--follow"], "--follow trains an encoder"),
        (source, ["--encoder", str(source)], "is the run itself"),
        (tmp_path / "g", ["--encoder", str(torn)], "encoder.safetensors is damaged"),
        (begun, ["--encoder", str(source)], "has another encoder than"),
        (half, ["--encoder", str(source)], "has begun to train an encoder of its own"),
    ):
        done = here(command(dots, recipe, where, *extra))
        assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1, done.stderr
        assert not where.exists() or where in (begun, half, source)


def test_a_sweep_takes_an_encoder_for_each_seed(
    dots: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second, recipe = tmp_path / "second", source.parent / "small.toml"
    assert here(command(dots, recipe, second, "--steps", "2", "--stage", "encoder", "--seed", "1")).returncode == 0
    words = ["sweep", "--store", str(dots), "--out", str(tmp_path / "out"), "--steps", "3", "--seeds", "0,1"]
    words += ["--set", "prediction.rollout=1,2", "--set", "energy.anchors=100"]
    both = ["--encoder", str(source), "--encoder", str(second)]
    assert run_command(cli, "brain", [*words, *both]) == 0
    capsys.readouterr()
    runs = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert len(runs) == 4 and all("hard AUC" in entry["figures"] for entry in runs)
    for entry in runs:
        taken = Run(second if entry["seed"] else source).encoder
        assert Run(Path(entry["run"])).encoder.read_bytes() == taken.read_bytes()
    for more, said in (
        (both[:2], "seed-1 has another encoder than"),
        ([*both[2:], *both[:2]], "seed-0 has another encoder than"),
        (["--recipe", str(source / "recipe.toml")], "seed-0 was made with --encoder: give it again"),
        ([*both, *both[:2]], "3 --encoder for 2 seeds: give one for all, or one for each seed"),
        ([*both, *both[:2], "--seeds", "0,0,1"], "3 --encoder for 2 seeds"),
        ([*both, "--set", "objective.variance=1,2"], "objective.variance 4.0, not 1.0"),
    ):
        assert run_command(cli, "brain", [*words, *more]) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1, error
