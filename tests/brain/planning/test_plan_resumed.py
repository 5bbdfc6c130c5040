"""``brain plan`` that is interrupted, killed or repeated: what is kept, and whose it is."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from brain.cli import cli as brain
from brain.models.world_model import WorldModel
from brain.planning.evaluation import Evaluation
from brain.planning.job import Choices, Job
from brain.planning.kept import Kept
from shared.cli.console import run
from shared.errors import TinyJEPAError
from shared.store.reader import Store
from shared.worlds.tasks import Case
from tests import ROOT
from tests.brain.planning.conftest import plan


def test_an_interrupt_keeps_what_was_recorded(trained: Path, tmp_path: Path) -> None:
    """And meanwhile nobody else can record the same run."""
    origin = Store(trained / "store")
    choices = Choices(planner="shooting", options=("samples=4", "horizon=4"), episodes=4, shown=0)
    model = WorldModel.load(trained / "run", origin.spec, torch.device("cpu"))
    job = Job(choices, trained / "run", model, origin)
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        with pytest.raises(TinyJEPAError, match="another collection makes this run"), job.keeper(tmp_path / "store"):
            pass
        if len(lines) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job.evaluate(tmp_path / "store", say)
    assert [ref.index for ref in Store(tmp_path / "store").episodes] == [0, 1]
    job.evaluate(tmp_path / "store", lines.append)
    assert [ref.index for ref in Store(tmp_path / "store").episodes] == [0, 1, 2, 3]


FEW = ["--task", "lewm", "--planner", "shooting", "--set", "samples=4", "--set", "horizon=4", "--no-baselines"]


def without_times(figures: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in figures.items() if key != "decision"}


KILLED = """
import os, signal, sys
from brain.cli import cli
from brain.planning.evaluation import Evaluation
from shared.cli.console import run
agent = Evaluation.agent
def play(self, cases, dynamics, planner, cost, first=0):
    if first == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return agent(self, cases, dynamics, planner, cost, first)
Evaluation.agent = play
run(cli, "brain", sys.argv[1:])
"""


@pytest.mark.system
def test_a_killed_plan_goes_on(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["plan", "--run", str(trained / "run"), "--out", str(out), "--episodes", "4", "--shown", "1", *FEW]
    assert subprocess.run([sys.executable, "-c", KILLED, *command], cwd=ROOT).returncode == -9
    (kept,) = out.iterdir()
    assert len(kept.read_text().splitlines()) == 2
    with kept.open("a") as file:
        file.write('\x00\x00\n{"number": 3, "rew')  # damaged, and cut off
    played: list[Case] = []
    play = Evaluation.agent

    def agent(self: Evaluation, cases: list[Case], *given: Any) -> Any:
        played.extend(cases)
        return play(self, cases, *given)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Evaluation, "agent", agent)
        figures = plan(trained, out, "--episodes", "4", "--shown", "1", *FEW)
    assert len(played) == 3, "what is kept is not played again, but for the video's"
    assert not kept.exists() and (out / "plan.mp4").exists()
    whole = plan(trained, tmp_path / "whole", "--episodes", "4", "--shown", "1", *FEW)
    assert without_times(figures) == without_times(whole)


def test_kept_episodes_of_another_agent_are_not_taken(trained: Path, tmp_path: Path) -> None:
    origin = Store(trained / "store")
    model = WorldModel.load(trained / "run", origin.spec, torch.device("cpu"))

    def job(seed: int, *options: str) -> Job:
        choices = Choices("lewm", "shooting", ("samples=4", "horizon=4", *options), seed=seed, episodes=1)
        return Job(choices, trained / "run", model, origin)

    ours, case = job(0), job(0).task.cases(2)
    kept = Kept(tmp_path, ours.identity())
    ours.evaluate(None, print, kept)
    assert Kept(tmp_path, job(0).identity()).get(0, case[0]) is not None
    assert Kept(tmp_path, job(0).identity()).get(0, case[1]) is None
    others = [job(1), job(0, "samples=5")]
    assert len({ours.identity(), *(other.identity() for other in others)}) == 3
    for other in others:
        theirs = Kept(tmp_path, other.identity())
        assert theirs.get(0, case[0]) is None
        other.evaluate(None, print, theirs)
        theirs.forget()
    assert Kept(tmp_path, ours.identity()).get(0, case[0]) is not None
    head = trained / "run" / "planning-inverse-pca.safetensors"
    head.write_bytes(b"of another agent")
    assert job(0).identity() == ours.identity()
    head.unlink()


def test_what_is_recorded_is_known_by_who_plays(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another task, or another model, has the same numbers and seeds."""
    store = tmp_path / "store"
    common = ["--episodes", "2", "--record", str(store), "--shown", "0"]
    plan(trained, tmp_path / "a", *common, *FEW)
    plan(trained, tmp_path / "b", *common, *FEW[2:], "--task", "pldm")
    assert len(Store(store).episodes) == 4 and {ref.policy for ref in Store(store).episodes} == {"plan-shooting"}
    capsys.readouterr()
    plan(trained, tmp_path / "a", *common, *FEW)
    assert "holds these 2 episodes already" in capsys.readouterr().out and len(Store(store).episodes) == 4


def test_a_recording_that_goes_on_is_described_whole(trained: Path, tmp_path: Path) -> None:
    """But for the cost of decisions, which the store does not hold."""
    common = ["--record", str(tmp_path / "store"), "--shown", "0", *FEW]
    plan(trained, tmp_path / "a", "--episodes", "2", *common)
    extended = plan(trained, tmp_path / "a", "--episodes", "3", *common)
    common[1] = str(tmp_path / "other")
    at_once = plan(trained, tmp_path / "b", "--episodes", "3", *common)
    assert extended["episodes"] == len(extended["each"]) == 3
    assert extended["decision"]["episodes"] == 1 and at_once["decision"]["episodes"] == 3
    assert extended["decision"]["predictor_steps"] == at_once["decision"]["predictor_steps"]
    for figures in (extended, at_once):
        del figures["imagined"]
    assert without_times(extended) == without_times(at_once)
    assert "decisions in the 1 episodes that" in (tmp_path / "a" / "plan.html").read_text()


def test_a_baseline_does_not_record_into_the_store_that_it_is_fitted_to(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rerun, it would be fitted to other episodes, and be another agent."""
    shutil.copytree(trained, tmp_path / "at")
    store = tmp_path / "at" / "store"
    before = len(Store(store).episodes)
    command = ["plan", "--run", str(tmp_path / "at" / "run"), "--quiet", *FEW, "--fit", str(store), "--dynamics", "pca"]
    assert run(brain, "brain", [*command, "--episodes", "1", "--record", str(store)]) == 2
    assert "give another --record" in capsys.readouterr().err
    assert len(Store(store).episodes) == before


def test_a_new_threshold_makes_another_agent_where_a_cost_reads_it(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "run", tmp_path / "run")
    origin, judgement = Store(trained / "store"), tmp_path / "run" / "judge.json"
    model = WorldModel.load(tmp_path / "run", origin.spec, torch.device("cpu"))

    def identities() -> list[str]:
        options = ("samples=4", "horizon=4")
        each = [Choices("lewm", "shooting", options, costs) for costs in ((), ("goal-distance", "surprise"))]
        return [Job(choices, tmp_path / "run", model, origin).identity() for choices in each]

    first = identities()
    assert identities() == first
    judged = json.loads(judgement.read_text())
    judged["energy"]["validation"]["scaled"]["thresholds"]["1"] *= 2
    judgement.write_text(json.dumps(judged))
    second = identities()
    assert first[0] == second[0] and first[1] != second[1]


def test_what_is_not_the_model_on_the_list_does_not_replace_its_result(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "at")
    folder = tmp_path / "at" / "run"
    command = ["plan", "--run", str(folder), "--quiet", *FEW, "--episodes", "1"]
    assert run(brain, "brain", command) == 0
    files = {name: (folder / name).read_bytes() for name in ("plan.json", "plan.html", "plan.mp4")}
    assert run(brain, "brain", [*command, "--dynamics", "true", "--shown", "0"]) == 0
    assert run(brain, "brain", [*command, "--record", str(tmp_path / "store"), "--shown", "0"]) == 0
    assert files == {name: (folder / name).read_bytes() for name in files}
    for name in ("plan-true", "recorded"):
        assert {file.name for file in (folder / name).iterdir()} == {"plan.json", "plan.html"}
    assert run(brain, "brain", [*command, "--shown", "0"]) == 0
    assert not (folder / "plan.mp4").exists(), "of earlier episodes"


def test_a_store_to_fit_to_is_not_the_runs(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(trained, tmp_path / "at")
    here = tmp_path / "at"
    facts = json.loads((here / "run" / "run.json").read_text())
    (here / "run" / "run.json").write_text(json.dumps(facts | {"store": str(tmp_path / "gone")}))
    options = ["--task", "lewm", "--episodes", "1", "--shown", "0", "--no-baselines", "--planner", "inverse"]
    plan(here, tmp_path / "a", *options, "--set", "fit_steps=3", "--fit", str(here / "store"))
    assert json.loads((here / "run" / "run.json").read_text())["store"] == str(tmp_path / "gone")
    plan(here, tmp_path / "b", *options, "--set", "fit_steps=3")
    command = ["plan", "--run", str(here / "run"), "--out", str(tmp_path / "c"), "--quiet", *options]
    assert run(brain, "brain", command) == 0, "nobody asked for another"
    capsys.readouterr()
    assert run(brain, "brain", [*command, "--set", "fit_steps=4"]) == 2
    assert "was fitted with step 3, not 4" in capsys.readouterr().err


def test_a_recording_that_its_parts_are_fitted_to_is_resumed(trained: Path, tmp_path: Path) -> None:
    """They are fitted anew, to what was recorded, and the run is the same."""
    shutil.copytree(trained, tmp_path / "at")
    store = tmp_path / "at" / "store"
    before = len(Store(store).episodes)
    options = ["--task", "lewm", "--planner", "inverse", "--set", "fit_steps=3", "--shown", "0"]
    command = ["plan", "--run", str(tmp_path / "at" / "run"), "--quiet", *options, "--fit", str(store)]
    for episodes in ("1", "1", "2"):
        assert run(brain, "brain", [*command, "--record", str(store), "--episodes", episodes]) == 0
    assert len(Store(store).episodes) == before + 2 and len(Store(store).runs) == 2


def test_a_baseline_is_known_by_the_store_that_it_is_fitted_to(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "store", tmp_path / "store")
    model = WorldModel.load(trained / "run", Store(trained / "store").spec, torch.device("cpu"))
    identities = set()
    for store in (trained / "store", tmp_path / "store"):
        for dynamics in ("model", "pca"):
            choices = Choices("lewm", "shooting", ("samples=4", "horizon=4"), dynamics=dynamics, episodes=1)
            identities.add(Job(choices, trained / "run", model, Store(store)).identity())
    assert len(identities) == 3, "the model plays as it does whatever the store"
