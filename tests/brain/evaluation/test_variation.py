"""``brain judge --vary``: conditions, repeatable figures, one table, and nothing written by halves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from brain.cli import cli as brain
from brain.data.place import open_store
from brain.evaluation.variation import Examiner, Sizes, chosen_factors, conditions
from brain.models.world_model import WorldModel
from brain.planning import variation as plans
from brain.runs.figures import judged
from brain.runs.folder import Run
from factory.cli import cli as factory
from shared.cli.console import run as run_command
from shared.errors import TinyJEPAError
from shared.store.reader import Store
from shared.store.schema import StoreSpec
from shared.worlds import world_class

TINY = [
    "--steps", "2", "--set", "encoder.width=8", "--set", "encoder.dim=8", "--set", "objective.batch=8",
    "--set", "prediction.batch=16", "--set", "prediction.steps=2", "--set", "energy.anchors=80",
    "--set", "energy.violation_pairs=6",
]  # fmt: skip


def trained(folder: Path, world: str) -> Path:
    """A run of a network that has hardly learned, and its store beside it."""
    store = folder / "store"
    assert run_command(factory, "factory", ["collect", "--local", "--quiet", "--world", world, "--episodes", "40",
                                            "--store", str(store)]) == 0  # fmt: skip
    command = ["train", "--store", str(store), "--run", str(folder / "run"), "--recipe", world, "--device", "cpu"]
    assert run_command(brain, "brain", [*command, "--quiet", *TINY]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("logos"), "bouncing-logo")


@pytest.fixture
def logos(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def vary(run: Path, *words: str, quiet: bool = True) -> int:
    told = ["--quiet"] if quiet else []
    return run_command(brain, "brain", ["judge", "--run", str(run), "--device", "cpu", *told, *words])


def test_conditions_change_one_factor_and_leave_what_the_store_sets() -> None:
    options = {"walls": "seen", "vary": ["dot_size"], "factors": {"contrast": 0.5}}
    spec = StoreSpec(world="two-room", frame_shape=(65, 65, 2), action_dim=2, control_rate=10, world_options=options)
    found = conditions(spec, chosen_factors(spec, ["contrast", "dot_size"]))
    assert [str(one) for one in found] == [
        "default", "contrast, inside", "contrast, outside", "dot_size, inside", "dot_size, outside",
    ]  # fmt: skip
    assert [one.options for one in found] == [
        {"walls": "seen", "factors": {"contrast": 0.5}},
        {"walls": "seen", "vary": ["contrast"]},
        {"walls": "seen", "vary": ["contrast@outside"]},
        {"walls": "seen", "factors": {"contrast": 0.5}, "vary": ["dot_size"]},
        {"walls": "seen", "factors": {"contrast": 0.5}, "vary": ["dot_size@outside"]},
    ]
    assert [factor.name for factor in chosen_factors(spec, [])] == [one.name for one in world_class("two-room").factors]
    with pytest.raises(TinyJEPAError, match=r"unknown factor 'contras'.*Did you mean 'contrast'"):
        chosen_factors(spec, ["contras"])
    with pytest.raises(TinyJEPAError, match="world 'CartPole-v1' has no factors of variation"):
        chosen_factors(spec.model_copy(update={"world": "CartPole-v1"}), [])


def test_one_table_in_the_terminal_the_file_and_the_report(logos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [factor.name for factor in world_class("bouncing-logo").factors]
    assert vary(logos, "--episodes", "8", "--vary") == 0
    told = capsys.readouterr().out
    found = judged(logos).variation
    assert list(found) == names
    page = (logos / "report.html").read_text()
    for name, factor in found.items():
        assert f"{name}, {factor.unit}: inside" in told and f"<h3>{name.replace('_', ' ')}</h3>" in page
        assert list(factor.places) == ["default", "inside", "outside"]
        for one in factor.places.values():
            assert one.episodes == 8 and one.transitions and one.plans is None
            assert {"hard", "teleport"} <= set(one.energy) and set(one.probes) == {"x", "y"}
            assert one.violations and one.violations.violations > 5 and one.violations.auc is not None
        assert factor.default == found[names[0]].default != factor.inside != factor.outside
    assert all(len(line) <= 80 for line in told.splitlines()[: -len(judged(logos).headline) - 1])
    strips = json.loads((logos / "judge-pictures.json").read_text())["variation"]
    assert list(strips) == names and all(strip in page and strip.count("<image") == 18 for strip in strips.values())

    before = json.loads((logos / "judge.json").read_text())["variation"]
    assert (
        vary(logos, "--episodes", "8", "--vary", "speed", quiet=False) == 0
    )  # again: nothing is judged, and the others stay
    said = capsys.readouterr()
    assert "1 of 1 factors are judged already" in said.err and "condition" not in said.err
    assert "speed, times the usual: inside" in said.out
    assert json.loads((logos / "judge.json").read_text())["variation"] == before
    assert vary(logos, "--episodes", "9", "--vary", "speed") == 0  # made in another way: the others go
    assert list(judged(logos).variation) == ["speed"]


def test_a_new_judgement_has_no_table_of_the_old_one(logos: Path) -> None:
    assert vary(logos, "--episodes", "8", "--vary", "speed") == 0 and judged(logos).variation
    assert vary(logos) == 0 and not judged(logos).variation


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--vary", "sped"], "unknown factor 'sped'. Did you mean 'speed'?"),
        (["--vary", "speed", "--video", "a.mp4"], "--vary and --video exclude each other"),
        (["--episodes", "9"], "--episodes and --plans count what --vary makes: add --vary"),
        (["--vary", "speed", "--episodes", "2"], "--episodes"),
    ],
)
def test_bad_input_is_one_line(made: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert vary(made, *words) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_interrupted_it_keeps_what_is_done_and_nothing_by_halves(
    logos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read = Examiner.read

    def stop(self: Examiner, condition):  # type: ignore[no-untyped-def]
        if condition.where == "outside" and condition.factor != "logo_size":
            raise KeyboardInterrupt
        return read(self, condition)

    monkeypatch.setattr(Examiner, "read", stop)
    before = {file: (logos / file).read_bytes() for file in ("judge.json", "judge-pictures.json", "report.html")}
    assert vary(logos, "--episodes", "8", "--vary", "speed") == 130
    assert {file: (logos / file).read_bytes() for file in before} == before
    assert vary(logos, "--episodes", "8", "--vary", "logo_size,speed") == 130
    assert list(judged(logos).variation) == ["logo_size"] and list(logos.glob("*.partial")) == []

    monkeypatch.setattr(Examiner, "read", read)
    capsys.readouterr()
    assert (
        vary(logos, "--episodes", "8", "--vary", "logo_size,speed", quiet=False) == 0
    )  # resumed: only what is missing
    told = capsys.readouterr().err
    assert "1 of 2 factors are judged already" in told and "speed, outside" in told and "logo_size, " not in told
    assert list(judged(logos).variation) == ["logo_size", "speed"]


def test_a_condition_is_a_function_of_its_seed(made: Path) -> None:
    store, _ = open_store(Run(made), None)
    model = WorldModel.load(made, store.spec, torch.device("cpu"))
    default, speed = conditions(store.spec, chosen_factors(store.spec, ["speed"]))[:2]
    examiner = Examiner(model, store, judged(made), Sizes(8, 2), 0)
    first, other = examiner.read(speed), examiner.read(default)
    again = Examiner(model, store, judged(made), Sizes(8, 2), 0).read(speed)
    assert first.figures == again.figures and np.array_equal(first.frames, again.frames)
    assert first.figures != other.figures and not np.array_equal(first.frames, other.frames)
    assert Examiner(model, store, judged(made), Sizes(8, 2), 1).read(speed).figures != first.figures


def test_plans_are_made_in_the_varied_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "OPTIONS", ("nodes=6", "branches=3", "receding=6", "samples=4", "elites=2"))
    run = trained(tmp_path, "two-room")
    store = Store(tmp_path / "store")
    model = WorldModel.load(run, store.spec, torch.device("cpu"))
    planning = plans.Planning(model, run, store, 1, 0)
    assert planning.possible
    for condition in conditions(store.spec, chosen_factors(store.spec, ["contrast"])):
        found = planning.read(condition.options)["plans"]
        assert found["planner"] == "tree" and found["episodes"] == 1 and 0 <= found["rate"] <= 1


def test_worlds_without_goals_or_actions_have_no_plans(made: Path) -> None:
    store, _ = open_store(Run(made), None)
    model = WorldModel.load(made, store.spec, torch.device("cpu"))
    assert not plans.Planning(model, made, store, 4, 0).possible
