"""``brain sweep``: real training processes over values and seeds, resumed, and tabulated."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from brain import recipes
from brain.cli import cli
from brain.runs.folder import Run
from brain.runs.intervals import interval_text
from brain.runs.settings import keep_or_refuse
from brain.training.sweep import combined, product, read_settings, refuse_another, split_values
from shared.cli.console import run
from shared.errors import TinyJEPAError
from shared.store.reader import Store
from tests.support.dots import dot_spec

SMALL = [
    "--set", "encoder.dim=16", "--set", "encoder.width=8", "--set", "objective.batch=32", "--set", "prediction.steps=6",
    "--set", "energy.anchors=100", "--steps", "6",
]  # fmt: skip


def test_values_are_parted_at_commas_that_part() -> None:
    assert split_values('a,[1, 2],"x,y"') == ["a", "[1, 2]", '"x,y"']
    assert [setting.overrides for setting in product(["a=1,2", "b=3"])] == [("a=1", "b=3"), ("a=2", "b=3")]
    assert [setting.slug for setting in product([])] == ["base"]
    for bad in ("a", "a=", "a=1,"):
        with pytest.raises(TinyJEPAError, match="write it as"):
            product([bad])


def test_named_settings_are_combined_with_varied_ones(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('"as it is" = []\n"views: temporal" = ["objective.views=temporal", "objective.rollout=4"]\n')
    found = combined(read_settings(path), product(["encoder.dim=8,16"]))
    assert [setting.title for setting in found][1:3] == ["as it is, encoder.dim=16", "views: temporal, encoder.dim=8"]
    assert found[3].overrides == ("objective.views=temporal", "objective.rollout=4", "encoder.dim=16")
    assert len({setting.slug for setting in found}) == 4
    assert [setting.slug for setting in combined(read_settings(path), product([]))] == ["as_it_is", "views_temporal"]
    for text, words in (
        ("a = 1", "list"), ('a = ["b"]', "list"), ("", "no setting"), ("a = [", "cannot be read"),
        ('"a b" = []\n"a_b" = []', "share a folder"),
    ):  # fmt: skip
        path.write_text(text)
        with pytest.raises(TinyJEPAError, match=words):
            read_settings(path)
    with pytest.raises(TinyJEPAError, match=r"nowhere\.toml: cannot be read"):
        read_settings(tmp_path / "nowhere.toml")


ABLATIONS = sorted((Path(__file__).parents[3] / "benchmarks" / "ablations").glob("*.toml"))


@pytest.mark.parametrize("path", ABLATIONS, ids=lambda path: path.stem)
def test_the_ablations_settings_are_recipes(path: Path) -> None:
    """Each file is named after the recipe that it changes, and no two of its settings are the same recipe."""
    made = [recipes.load(path.stem, setting.overrides) for setting in read_settings(path)]
    assert made[0] == recipes.load(path.stem) and all(one not in made[:at] for at, one in enumerate(made))


def test_intervals_are_students() -> None:
    assert interval_text([1.0, 2.0, 3.0]) == "2 ± 2.5"  # 4.303 * 1 / sqrt(3)
    assert interval_text([0.5]) == "0.5" and interval_text([]) == "–"


def test_a_sweep_trains_every_setting_and_keeps_what_is_there(
    dots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sweep"
    command = ["sweep", "--store", str(dots), "--out", str(out), *SMALL, "--seeds", "0", "--jobs", "2"]
    command += ["--set", "objective.variance=1,4"]
    assert run(cli, "brain", command) == 0
    output = capsys.readouterr()
    assert "2 runs, 0 judged before" in output.err and "hard AUC" in output.out
    runs = json.loads((out / "sweep.json").read_text())
    assert [entry["setting"][-1] for entry in runs] == ["objective.variance=1", "objective.variance=4"]
    for figures in (entry["figures"] for entry in runs):
        shares = ("teleport AUC", "hard AUC plain", "violations AUC", "violations pairs", "violations found")
        assert all(0 <= figures[name] <= 1 for name in shares)
        assert figures["images/CPU s"] > 0 and figures["error 4 x"] > 0
    assert (out / "sweep.md").read_text().count("1 of 1") == 2
    before = {path: path.stat().st_mtime_ns for path in out.rglob("judge.json")}
    assert len(before) == 2
    assert run(cli, "brain", command) == 0
    assert "2 runs, 2 judged before" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert run(cli, "brain", [*command, "--columns", "hard AUC,effective rank"]) == 0
    assert (out / "sweep.md").read_text().startswith("| setting | runs | hard AUC | effective rank |\n")
    assert run(cli, "brain", [*command, "--columns", "hrd AUC"]) == 2
    assert "Did you mean 'hard AUC'" in capsys.readouterr().err
    shutil.copytree(dots, tmp_path / "moved")
    for other, words in (
        (["--steps", "9"], "another training"),
        (["--store", str(tmp_path / "moved")], "another store"),
    ):
        assert run(cli, "brain", [*command, *other]) == 2
        assert words in capsys.readouterr().err
    settings = json.loads((out / "settings.json").read_text())
    (out / "settings.json").write_text(json.dumps(settings | {"store": str(tmp_path / "gone")}))
    assert run(cli, "brain", command) == 0, "the store has moved"
    capsys.readouterr()
    kept = next(out.rglob("recipe.toml"))
    kept.write_text(kept.read_text().replace("batch = 32", "batch = 16"))
    assert run(cli, "brain", command) == 2
    assert "seed-0 was trained with another recipe: remove it" in capsys.readouterr().err


@pytest.mark.parametrize("seeds", ["0", "0,1", "1,2"])
def test_a_folder_holds_runs_of_one_training_whatever_the_seeds(
    seeds: str, dots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Run(tmp_path / "base" / "seed-0").begin(recipes.load("car-racing"), Store(dots).spec, str(dots), 0)
    keep_or_refuse(tmp_path, Store(dots).address, {"training": "--budget 60s --clock wall"}, begun=False)
    command = ["sweep", "--store", str(dots), "--out", str(tmp_path), "--seeds", seeds, "--budget", "600s"]
    assert run(cli, "brain", command) == 2
    assert "another training (--budget 60s" in capsys.readouterr().err
    assert not (tmp_path / "base" / "seed-1").exists()


def test_settings_are_kept_of_the_runs_that_have_begun(tmp_path: Path) -> None:
    keep_or_refuse(tmp_path, "store", {"training": "--budget 60s"}, begun=False)
    keep_or_refuse(tmp_path, "store", {"training": "--budget 600s"}, begun=False)  # nothing was made with the former
    keep_or_refuse(tmp_path, "store", {"training": "--budget 600s"}, begun=True)
    with pytest.raises(TinyJEPAError, match=r"another training \(--budget 600s, not --budget 60s\)"):
        keep_or_refuse(tmp_path, "store", {"training": "--budget 60s"}, begun=True)


def test_a_recipe_may_be_described_in_other_words_later(tmp_path: Path) -> None:
    recipe = recipes.load("car-racing")
    Run(tmp_path).begin(recipe.model_copy(update={"summary": "in earlier words"}), dot_spec(), "store", 0)
    refuse_another(tmp_path, recipe)
    with pytest.raises(TinyJEPAError, match="trained with another recipe"):
        refuse_another(tmp_path, recipes.load("car-racing", ["objective.batch=16"]))


def test_bad_input_is_refused_before_anything_starts(
    dots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for more, words in (
        (["--set", "objective.varance=1,2"], "Did you mean"),
        (["--set", "objective.variance=1,-2"], "objective.variance"),
        (["--columns", "hrd AUC"], "Did you mean 'hard AUC'"),
        (["--seeds", "0,x"], "whole numbers"),
        (["--seeds", "²"], "whole numbers"),
        (["--budget", "soon"], "not a positive duration"),
        (["--store", str(tmp_path / "nowhere")], "nowhere"),
    ):
        assert run(cli, "brain", ["sweep", "--store", str(dots), "--out", str(tmp_path / "out"), *more]) == 2
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1 and not (tmp_path / "out").exists()


def test_runs_that_fail_are_named(dots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["sweep", "--store", str(dots), "--out", str(tmp_path), *SMALL, "--seeds", "0"]
    assert run(cli, "brain", [*command, "--set", "objective.rollout=63,64"]) == 2
    output = capsys.readouterr()
    assert "2 of 2 runs failed" in output.err and "collect" in (tmp_path / "sweep.md").read_text()
    assert [bool(entry["failure"]) for entry in json.loads((tmp_path / "sweep.json").read_text())] == [True, True]


@pytest.mark.system
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_sweep_leaves_checkpoints_and_no_orphans(dots: Path, tmp_path: Path, stop: signal.Signals) -> None:
    command = [sys.executable, "-m", "brain.cli", "sweep", "--store", str(dots), "--out", str(tmp_path), *SMALL[:-1]]
    with subprocess.Popen([*command, "100000", "--seeds", "0,1", "--jobs", "2"], stderr=subprocess.PIPE) as process:
        while len(list(tmp_path.rglob("metrics.jsonl"))) < 2:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(process.pid, stop)
        _, errors = process.communicate()
    assert process.returncode == 130 and b"Traceback" not in errors
    assert len(list(tmp_path.rglob("encoder.checkpoint.safetensors"))) == 2
    assert children and not any(Path(f"/proc/{child}").exists() for child in children)
