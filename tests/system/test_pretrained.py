"""Pretrained runs, on episodes collected or driven here and now, are as good as their cards say."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

from brain import pretrained
from brain.runs.figures import judged
from brain.runs.folder import Run

NEAR = 0.05
"""A teleport's AUC over some hundred transitions of 60 other episodes: this is many times its standard error."""

TRACKS, SCORES = 10, 100.0
"""The mean of so many tracks against a hundred's. Scores differ by about 17; a car that spins, as on one track of a
hundred, loses up to 500, which is 50 of the mean."""


def test_the_logo_judged_on_fresh_episodes_gives_the_figures_of_its_card(tmp_path: Path) -> None:
    facts = Run(pretrained.folder("bouncing-logo")).facts()
    words = shlex.split(facts["collect"])
    words[words.index("--episodes") + 1] = "60"
    words[words.index("--seed") + 1] = "4242"
    for module, arguments in (
        ("factory.cli", [*words[1:], "--local", "--quiet"]),
        ("brain.cli", ["judge", "--pretrained", "bouncing-logo", "--quiet"]),  # it looks where `collect` writes
    ):
        done = subprocess.run([sys.executable, "-m", module, *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    copy = tmp_path / "runs" / "pretrained-bouncing-logo"
    fresh, card = judged(copy), judged(pretrained.folder("bouncing-logo"))
    assert json.loads((copy / "judge.json").read_text())["data"]["test"]["episodes"] < 60
    for label in ("teleport_auc", "hard_auc"):
        now, then = fresh.headline[label].value, card.headline[label].value
        assert now is not None and then is not None and abs(now - then) < NEAR, label
    assert (copy / "report.html").exists()


def test_the_car_drives_as_its_card_says_without_data(tmp_path: Path) -> None:
    command = [
        "plan",
        "--pretrained",
        "car-racing",
        "--episodes",
        str(TRACKS),
        "--shown",
        "1",
        "--no-baselines",
        "--quiet",
    ]
    line = [sys.executable, "-m", "brain.cli", *command, "--out", str(tmp_path / "out")]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    card = json.loads((pretrained.folder("car-racing") / "plan.json").read_text())
    driven = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert driven["planner"] == card["planner"] and driven["costs"] == card["costs"]
    assert [one["seed"] for one in driven["each"]] == [one["seed"] for one in card["each"][:TRACKS]]
    assert abs(driven["score"]["mean"] - card["score"]["mean"]) < SCORES
