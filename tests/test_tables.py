"""The tables of results: which figures they mark, and that runs of other budgets are not mixed in."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.field import Figure, begin, overrides, table
from benchmarks.forecasts import rows
from brain import recipes
from brain.runs.judgement import ForecastFigures
from shared.errors import TinyJEPAError


def test_what_a_baseline_beats_is_bold() -> None:
    runs = {
        "a": [{"AUC, hard": Figure(0.6, 0.7, "pixel", 0.9), "error of x, 4 steps": Figure(1.0, 2.0, "persistence")}],
        "b": [
            {
                "AUC, hard": Figure(0.8, 0.65, "no-predictor", 0.9),
                "error of x, 4 steps": Figure(3.0, 2.0, "persistence"),
            }
        ],
        "c": [],
    }
    assert table(runs).splitlines() == [
        "|  | a | b | best baseline | true state |",
        "| --- | --- | --- | --- | --- |",
        "| AUC, hard | **0.6** | 0.8 | 0.7 pixel | 0.9 |",
        "| error of x, 4 steps | 1 | **3** | 2 persistence |  |",
        "| seeds | 1 | 1 |  |  |",
    ]


def test_a_mean_over_seeds_shows_its_range() -> None:
    rows = table({"a": [{"R2 of x": Figure(0.5, 0.2, "pca")}, {"R2 of x": Figure(0.7, 0.4, "pca")}]}).splitlines()
    assert rows[2] == "| R2 of x | 0.6 [0.5–0.7] | 0.3 pca |  |"


def test_recipes_without_a_world_see_what_the_worlds_own_recipe_sees() -> None:
    seen = recipes.load("two-room-grid").observation
    assert overrides("lewm", "two-room-grid") == [
        f"observation.stack={seen.stack}", f"observation.stride={seen.stride}"
    ]  # fmt: skip
    assert overrides("tiny-jepa", "two-room-grid") == []


def test_runs_of_another_budget_are_not_mixed_in(tmp_path: Path) -> None:
    begin(tmp_path / "out", tmp_path, "2m", [])
    begin(tmp_path / "out", tmp_path, "120s", [])
    with pytest.raises(TinyJEPAError, match="give the same again, or another --out"):
        begin(tmp_path / "out", tmp_path, "150s", [])


def test_forecasts_that_lose_to_a_baseline_are_bold() -> None:
    errors: dict[str, list[float | None]] = {
        "model": [1.0, 3.0], "probe": [0.5, 0.5], "persistence": [2.0, 2.5], "constant-velocity": [1.5, 4.0],
        "state-oracle": [None, None],
    }  # fmt: skip
    runs = [ForecastFigures(steps=[1, 2], starts=5, states={"x": errors})]
    assert list(rows(runs, "x")) == [
        ["x", "model", "1", "**3**"],
        ["", "persistence", "2", "2.5"],
        ["", "constant velocity", "1.5", "4"],
        ["", "probe", "0.5", "0.5"],
    ]
