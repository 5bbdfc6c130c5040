"""``brain report``: one page of one run, whatever its folder holds, and what it says of the rest."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from brain import pretrained, recipes
from brain.cli import cli
from brain.reports.figures import curves, plane
from brain.reports.report import changed, collapse, commands
from brain.runs.figures import read_run
from brain.runs.folder import Run
from shared.cli.console import run
from tests.support.dots import dot_spec

TINY = [
    "--steps", "2", "--set", "encoder.width=8", "--set", "encoder.dim=8", "--set", "objective.batch=8",
    "--set", "prediction.batch=16", "--set", "energy.anchors=50", "--set", "energy.violation_pairs=0",
]  # fmt: skip


def begun(path: Path, recipe: str, *overrides: str, rank: float = 6.0) -> Path:
    """A run folder that has logged two lines of its encoder."""
    made = Run(path)
    made.begin(recipes.load(recipe, overrides), dot_spec(), "data/with space", 3)
    for step in (0, 50):
        made.log("encoder", step, loss=1 / (1 + step), lr=0.1, embedding_std=0.9, effective_rank=rank)
    return path


def self_contained(page: str) -> bool:
    """Whether the page asks for nothing: every source is in it, and no address of a network."""
    asked = re.findall(r'(?:src|href)="([^"]*)"', page) + re.findall(r"url\(([^)]*)\)", page)
    return all(address.startswith(("data:", "#")) for address in asked) and "http" not in page.replace("http-equiv", "")


@pytest.mark.parametrize("name", recipes.names())
def test_a_page_for_every_stock_recipe(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = begun(tmp_path / "run", name)
    assert run(cli, "brain", ["report", "--run", str(path)]) == 0
    page = (path / "report.html").read_text()
    assert self_contained(page) and "encoder: effective rank" in page and "No collapse" in page
    for key, _, _ in recipes.explain(recipes.load(name)):
        assert f"<td>{key}</td>" in page
    command = f"brain train --store &#39;data/with space&#39; --run {path} --recipe {name} --seed 3"
    assert command in page and f"brain judge --run {path}" in page and "not trained to its end" in page
    shown = capsys.readouterr().out
    assert shown.count("missing:") == 6 and str(path / "report.html") in shown


def test_collapse_is_called_so(tmp_path: Path) -> None:
    path = begun(tmp_path / "run", "car-racing", "encoder.width=16", rank=1.2)
    found = read_run(path, "run")
    assert collapse(found) == {"rank": 1.2, "std": 0.9, "dim": 128, "step": 50, "collapsed": True}
    assert changed(found) == {"encoder.width": recipes.load("car-racing").encoder.width}
    assert f"--recipe {path}/recipe.toml" in commands(found)["train"], "no stock recipe makes this run"
    assert run(cli, "brain", ["report", "--run", str(path)]) == 0
    page = (path / "report.html").read_text()
    assert "has collapsed" in page and "Other than in the stock recipe" in page


def test_a_rank_is_said_to_be_of_what_it_is_of(tmp_path: Path) -> None:
    path = begun(tmp_path / "run", "car-racing-grid-vector", rank=41.0)
    encoder = recipes.load("car-racing-grid-vector").encoder
    assert collapse(read_run(path, "run"))["dim"] == encoder.registers * encoder.dim == 128
    assert run(cli, "brain", ["report", "--run", str(path)]) == 0
    assert "41.0 of 128 dimensions" in (path / "report.html").read_text()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bouncing-logo", "32 numbers per observation. They have"),
        ("two-room", "A grid of 289 cells per observation, with 12 numbers each. Over all cells, these have"),
        ("car-racing", "A grid of 256 cells with 16 numbers each, and a vector of 128 numbers, per observation."),
    ],
)
def test_a_page_says_what_latents_are_and_how_episodes_were_split(name: str, words: str, tmp_path: Path) -> None:
    for split, said in (("blocks", "Of ten consecutive episodes"), ("seed", "Episodes are split by their seed")):
        path = tmp_path / split
        shutil.copytree(pretrained.folder(name), path)
        judged = json.loads((path / "judge.json").read_text())
        judged["store"]["split"] = split
        (path / "judge.json").write_text(json.dumps(judged))
        assert run(cli, "brain", ["report", "--run", str(path)]) == 0
        page = (path / "report.html").read_text()
        assert words in page and said in page and page.count("split by their seed") == (split == "seed")


def test_a_run_through_the_encoder_only(logo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the world in which nobody acts: trained, but no predictor, no judgement, no dream."""
    path = tmp_path / "run"
    path.mkdir()
    for name in ("run.json", "recipe.toml", "encoder.safetensors"):
        shutil.copy(logo / name, path / name)
    lines = (logo / "metrics.jsonl").read_text().splitlines(keepends=True)
    (path / "metrics.jsonl").write_text("".join(line for line in lines if '"encoder"' in line) + '{"stage": "pre')
    out = tmp_path / "new" / "page.html"
    assert run(cli, "brain", ["report", "--run", str(path), "--out", str(out)]) == 0
    page = out.read_text()
    assert "The predictor is not trained" in page and "Not judged" in page and "400 steps" in page
    assert "encoder    400 steps" in capsys.readouterr().out


def test_dreams_are_in_the_page(logo: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(logo, path)
    (path / "judge.json").unlink()  # the fixture's holds a threshold and no figures
    assert run(cli, "brain", ["report", "--run", str(path)]) == 0
    page = (path / "report.html").read_text()
    assert "data:video/mp4;base64," in page and "data:image/png;base64," in page and self_contained(page)
    assert "Nothing dreamed" not in page and "Not probed" in page


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = begun(tmp_path / "run", "bouncing-logo")
    (tmp_path / "file").write_text("x")
    assert run(cli, "brain", ["report", "--run", str(tmp_path / "none")]) == 2
    assert "is no run folder" in capsys.readouterr().err
    assert run(cli, "brain", ["report", "--run", str(path), "--out", str(tmp_path / "file" / "page.html")]) == 2
    assert "give another --out" in capsys.readouterr().err
    for name, command in (("judge", "judge"), ("probe", "probe"), ("dream", "dream")):
        for text in ("{", "[]", "null", json.dumps({"scores": {"linear": {"x": 1}}, "energy": {}}), "[" * 100_000):
            (path / f"{name}.json").write_text(text)
            assert run(cli, "brain", ["report", "--run", str(path)]) == 2
            error = capsys.readouterr().err
            assert f"brain {command} --run" in error and error.count("\n") == 1, error[:300]
        (path / f"{name}.json").unlink()
    assert not (path / "report.html").exists()


def test_every_term_is_drawn() -> None:
    """More than there are colours."""
    names = [f"term_{number}" for number in range(9)]
    drawn = curves([0.0, 1.0], {name: [1.0, 2.0 + number] for number, name in enumerate(names)}, False, None)
    assert all(name.replace("_", " ") in drawn for name in names)


def drawn_anew(folder: Path) -> str:
    """The page without the numbers of figures, which go on in a process."""
    return re.sub(r"\bf\d+-", "", (folder / "report.html").read_text())


def test_a_report_that_a_kill_left_out_is_written_by_the_same_command(
    dots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    command = ["train", "--store", str(dots), "--run", str(folder), "--quiet", *TINY]
    assert run(cli, "brain", command) == 0
    page = drawn_anew(folder)
    (folder / "report.html").unlink()
    capsys.readouterr()
    assert run(cli, "brain", command) == 0
    output = capsys.readouterr().out
    assert drawn_anew(folder) == page and "report: " in output and "teleport" in output


def test_a_model_of_coordinates_shows_no_pictures(
    dots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    options = ["--set", "observation.mode=state", "--set", "encoder.kind=mlp"]
    command = ["train", "--store", str(dots), "--run", str(folder), "--quiet"]
    assert run(cli, "brain", [*command, *TINY, *options]) == 0
    dream = ["dream", "--run", str(folder), "--decoder-steps", "2", "--steps", "2", "--episodes", "1", "--quiet"]
    assert run(cli, "brain", dream) == 0 and (folder / "decoder.safetensors").exists()
    for words in (["export", "--onnx"], ["live", "--port", "0"], ["judge", "--video", str(tmp_path / "live.mp4")]):
        capsys.readouterr()
        assert run(cli, "brain", [words[0], "--run", str(folder), *words[1:]]) == 2
        error = capsys.readouterr().err
        assert "coordinates" in error and error.count("\n") == 1
    assert not (folder / "onnx").exists() and not (tmp_path / "live.mp4").exists()


def test_a_state_may_be_called_anything() -> None:
    """Matplotlib would read what stands between dollars as a formula, and fail."""
    rng = np.random.default_rng(0)
    drawn = plane(rng.normal(size=(40, 2)), rng.normal(size=40), r"a$\bad$", [0.5, 0.3])
    assert drawn.startswith("<svg")


@pytest.mark.parametrize("lines", [[100.0, 1.0, 0.01], [0.03, 0.031]])
def test_a_logarithmic_axis_has_numbers(lines: list[float]) -> None:
    drawn = curves([*range(len(lines))], {"loss": lines}, True, None)
    labels = re.findall(r"<text[^>]*>([^<]*)</text>", drawn)
    assert "mathdefault" not in drawn
    assert "0.01" in labels or len(lines) == 2
