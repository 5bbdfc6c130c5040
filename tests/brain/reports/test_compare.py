"""``brain compare``: one page from the folders of several runs, whatever each of them holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from brain import recipes
from brain.cli import cli
from brain.reports.compare import differences, headline, read_run
from brain.runs.folder import Run
from shared.cli.console import run
from tests.support.dots import dot_spec


def made_run(path: Path, seed: int, auc: float | None, *overrides: str) -> Path:
    """A run folder with curves and, where ``auc`` is given, a judgement; nobody trained it."""
    made = Run(path)
    made.begin(recipes.load("car-racing", overrides), dot_spec(), "gone", seed)
    for step in range(0, 100, 20):
        made.log("encoder", step, loss=1 / (1 + step) + seed, lr=0.1)
    with (path / "metrics.jsonl").open("a") as file:
        file.write('{"stage": "enc')  # cut short by a kill
    if auc is not None:
        found = {"auc": {"model": auc}, "detection_rate": 0.5}
        judgement = {
            "headline": {
                "teleport_auc": {"label": "AUC, teleport", "value": auc, "floor": 0.5},
                "rollout_4_nmse": {"label": "rollout error", "value": 1 - auc, "floor": 1.0},
            },
            "energy": {"form": "scaled", "validation": {}, "kinds": {"teleport": found}},
            "rollout": {"steps": [1, 2], "model": [0.1, 0.2], "persistence": [0.5, 1.0]},
        }
        made.judgement.write_text(json.dumps(judgement))
    return path


def test_a_page_of_three_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = made_run(tmp_path / "a", 0, 0.9)
    b = made_run(tmp_path / "b", 1, 0.8, "encoder.width=16")
    c = made_run(tmp_path / "<c>", 1, None)
    (b / "forecast.mp4").write_bytes(b"video")
    assert run(cli, "brain", ["compare", str(a), str(b), str(c), "--out", str(tmp_path / "new" / "page.html")]) == 0
    page = (tmp_path / "new" / "page.html").read_text()
    assert "3 runs side by side" in page and "&lt;c&gt;" in page and "<c>" not in page
    assert page.count("<svg") == 3 and page.count("<video") == 1 and "not judged" in page
    assert "http://" not in page and "https://" not in page, "one file that needs no other"
    assert "page.html" in capsys.readouterr().out


def test_the_best_and_the_differences(tmp_path: Path) -> None:
    a = read_run(made_run(tmp_path / "a", 0, 0.9), "a")
    b = read_run(made_run(tmp_path / "b", 1, 0.8, "encoder.width=16"), "b")
    rows = headline([a, b])
    assert [row["cells"][name]["best"] for row in rows for name in "ab"] == [True, False, True, False]
    width = str(a.recipe.encoder.width)
    assert dict(differences([a, b])) == {"encoder.width": [width, "16"], "seed": ["0", "1"]}
    assert not differences([a, a])
    for name, kind in (("logo", "bouncing-logo"), ("car", "car-racing")):
        Run(tmp_path / name).begin(recipes.load(kind), dot_spec(), "store", 0)
    logo, car = (read_run(tmp_path / name, name) for name in ("logo", "car"))
    assert dict(differences([logo, car])).keys() == dict(differences([car, logo])).keys()


def test_only_plans_of_the_same_kind_are_ranked(tmp_path: Path) -> None:
    runs = []
    for name, rate, changes in (
        ("a", 0.5, {}),
        ("b", 0.9, {}),
        ("c", 1.0, {"dynamics": "true state"}),
        ("d", 1.0, {"episodes": 1}),
    ):
        path = made_run(tmp_path / name, 0, None)
        success = {"at_end": {"rate": rate, "low": 0.0, "high": 1.0, "count": 1, "episodes": 4}}
        facts = {"task": "ours", "episodes": 4, "planner": {"kind": "cem"}, "dynamics": "model", "success": success}
        (path / "plan.json").write_text(json.dumps(facts | changes))
        runs.append(read_run(path, name))
    rows = headline(runs)
    assert [sorted(row["cells"]) for row in rows] == [["a", "b"], ["c"], ["d"]]
    assert [row["cells"][name]["best"] for row in rows for name in sorted(row["cells"])] == [False, True, False, False]


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = made_run(tmp_path / "good", 0, 0.9)
    damaged = made_run(tmp_path / "damaged", 0, 0.9)
    Run(damaged).judgement.write_text("{")
    for paths, line in (
        ([good, tmp_path / "none"], "is no run folder"),
        ([good, damaged], "judge.json is damaged"),
        ([], "Missing argument"),
    ):
        assert run(cli, "brain", ["compare", *map(str, paths), "--out", str(tmp_path / "page.html")]) == 2
        error = capsys.readouterr().err
        assert line in error and error.count("\n") == 1
    assert not (tmp_path / "page.html").exists()
