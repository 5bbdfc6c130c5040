"""``brain plan`` from end to end: what it writes, what it records, and that planning on the true state succeeds."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from brain.cli import cli as brain
from brain.parts import COSTS, PLANNERS
from brain.planning import outcome
from brain.planning.actions import ActionSpace
from brain.planning.costs.base import WeightedSum
from brain.planning.dynamics import Copies, Counted, TrueState, true_dynamics
from brain.planning.evaluation import Evaluation, light
from brain.planning.job import default_planner
from factory.cli import cli as factory
from shared.cli.console import run
from shared.registry import Registry
from shared.store.reader import Store
from shared.worlds import make_world
from shared.worlds.car_racing import CarRacing
from shared.worlds.tasks import tasks
from tests.brain.planning.conftest import TINY, plan
from tests.support.planning import cost, planner, setting

FAST = [
    "--set",
    "samples=24",
    "--set",
    "iterations=2",
    "--set",
    "horizon=12",
    "--set",
    "block=4",
    "--set",
    "receding=4",
]


def test_planning_on_the_true_state_reaches_what_chance_does_not(trained: Path, tmp_path: Path) -> None:
    figures = plan(trained, tmp_path, "--dynamics", "true", "--episodes", "6", "--shown", "1", *FAST)
    assert figures["success"]["at_end"]["rate"] == figures["success"]["ever"]["rate"] == 1
    for name, most in (("random", 0.2), ("straight", 0.5)):
        assert figures["baselines"][name]["success"]["at_end"]["rate"] <= most
    assert figures["baselines"]["expert"]["success"]["held"]["rate"] == 1
    assert figures["imagined"]["impossible"]["count"] == 0 and figures["planner"]["kind"] == "cem"
    assert figures["decision"]["decisions"] == 6 * 200 / 4
    assert figures["decision"]["predictor_steps"]["mean"] == 24 * 2 * 12 + 12
    assert set(figures["groups"]) == {"seen", "unseen"} and figures["groups"]["seen"]["1.41"]["ever"]["episodes"] == 3


@pytest.mark.parametrize("kind", ["cem", "gradient", "inverse"])
def test_a_model_plans_and_everything_is_written(kind: str, trained: Path, tmp_path: Path) -> None:
    """Whether it gets anywhere is luck with two steps of training; how much it knows is not what is tested."""
    options = [] if kind == "inverse" else ["--set", "horizon=4", "--set", "samples=4", "--set", "iterations=1"]
    options += {"cem": ["--set", "elites=2"], "inverse": ["--set", "fit_steps=3"]}.get(kind, [])
    figures = plan(trained, tmp_path, "--planner", kind, "--episodes", "2", "--task", "lewm", *options)
    for one in (figures["success"], figures["radii"]["1.41"], figures["baselines"]["random"]["success"]):
        for name in ("at_end", "ever", "held"):
            assert 0 <= one[name]["low"] <= one[name]["rate"] <= one[name]["high"] <= 1 and one[name]["episodes"] == 2
    assert figures["decision"]["decisions"] == 100 and figures["decision"]["seconds"]["mean"] > 0
    assert len(figures["each"]) == 2 and figures["planner"]["kind"] == kind
    assert 0 <= figures["imagined"]["impossible"]["rate"] <= 1
    page = (tmp_path / "plan.html").read_text()
    assert "data:video/mp4" in page and "<svg" in page and (tmp_path / "plan.mp4").stat().st_size > 1000


def test_costs_are_added_up_and_learned_ones_are_fitted_once(trained: Path, tmp_path: Path) -> None:
    quick = ["--set", "horizon=2", "--set", "samples=4", "--set", "iterations=1", "--set", "elites=2"]
    costs = ["--cost", "goal-steps:fit_steps=3,when=last", "--cost", "control:weight=0.5", "--cost", "surprise"]
    common = ["--task", "lewm", "--planner", "cem", "--episodes", "1", "--shown", "0", "--no-baselines", *quick, *costs]
    first = plan(trained, tmp_path / "a", *common)
    head = trained / "run" / "planning-goal-steps.safetensors"
    made = head.stat().st_mtime_ns
    second = plan(trained, tmp_path / "b", *common)
    assert head.stat().st_mtime_ns == made
    assert [one["kind"] for one in first["costs"]] == ["goal-steps", "control", "surprise"]
    assert first["costs"][1]["weight"] == 0.5 and first["each"] == second["each"]


def test_the_planner_that_suits_the_task(trained: Path, tmp_path: Path) -> None:
    world = make_world("two-room")
    goal, score = tasks(world)["ours"], tasks(world)["reward"]
    assert [default_planner(task, tmp_path) for task in (goal, score)] == ["tree", "cem"]
    (tmp_path / "planning-policy.safetensors").touch()
    assert [default_planner(task, tmp_path) for task in (goal, score)] == ["tree", "prior"]
    assert [default_planner(task, tmp_path, "true") for task in (goal, score)] == ["cem", "cem"]
    short = ["--episodes", "1", "--shown", "0", "--no-baselines", "--set", "nodes=4", "--set", "receding=4"]
    assert plan(trained, tmp_path / "out", "--task", "lewm", *short)["planner"]["kind"] == "tree"


@pytest.mark.parametrize("kind", ["untrained", "pca"])
def test_baselines_are_planned_with_in_place_of_the_model(kind: str, trained: Path, tmp_path: Path) -> None:
    """With a predictor and heads of their own, which are kept beside the model's."""
    options = ["--task", "lewm", "--episodes", "2", "--shown", "1", "--no-baselines", "--planner", "guided"]
    options += ["--cost", "goal-steps:fit_steps=3", "--set", "fit_steps=3", "--set", "samples=4", "--set", "horizon=3"]
    figures = plan(trained, tmp_path / kind, "--dynamics", kind, *options)
    of_model = plan(trained, tmp_path / "model", *options)
    assert figures["dynamics"] == kind and of_model["dynamics"] == "model"
    assert figures["each"] == plan(trained, tmp_path / "again", "--dynamics", kind, *options)["each"]
    assert [one["seed"] for one in figures["each"]] == [one["seed"] for one in of_model["each"]]
    head = trained / "run" / f"planning-inverse-{kind}.safetensors"
    weights = head.read_bytes()
    plan(trained, tmp_path / "seed", "--dynamics", kind, *options, "--seed", "1")
    assert head.read_bytes() != weights, "other seeds make other latents"
    kept = {path.name for path in (trained / "run").glob("planning-*.safetensors")}
    assert {
        f"planning-{part}{suffix}.safetensors" for part in ("inverse", "goal-steps") for suffix in ("", f"-{kind}")
    } <= kept


def test_learned_parts_are_kept_unless_another_store_is_chosen(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "at")
    here, other = tmp_path / "at", tmp_path / "other"
    assert (
        run(factory, "factory", ["edit", str(here / "store"), "--keep", "0-15", "--into", str(other), "--quiet"]) == 0
    )
    options = ["--task", "lewm", "--episodes", "1", "--shown", "0", "--no-baselines", "--planner", "inverse"]
    options += ["--set", "fit_steps=3"]
    chosen = plan(here, tmp_path / "a", *options, "--fit", str(other))
    head = here / "run" / "planning-inverse.safetensors"
    weights = head.read_bytes()
    both = {"inverse": str(other), "states": str(other)}
    assert chosen["fitted_to"] == plan(here, tmp_path / "b", *options)["fitted_to"] == both
    assert head.read_bytes() == weights
    assert plan(here, tmp_path / "c", *options, "--fit", str(here / "store"))["fitted_to"] != chosen["fitted_to"]
    assert head.read_bytes() != weights


def test_parts_of_a_chosen_store_are_not_replaced_by_those_of_the_runs_own(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was fitted is used as it is and plan.json says how; another fit needs --fit. Those of the own store are
    fitted anew."""
    shutil.copytree(trained, tmp_path / "at")
    here, other = tmp_path / "at", tmp_path / "other"
    edit = ["edit", str(here / "store"), "--keep", "0-15", "--into", str(other), "--quiet"]
    assert run(factory, "factory", edit) == 0
    head = here / "run" / "planning-policy.safetensors"
    options = ["--task", "reward", "--episodes", "1", "--shown", "0", "--no-baselines", "--planner", "policy"]
    three = ["--set", "fit_steps=3", "--set", "horizon=2", "--set", "receding=2"]
    plan(here, tmp_path / "a", *options, *three, "--fit", str(other), "--seed", "7")
    weights = head.read_bytes()
    plain = plan(here, tmp_path / "b", *options)
    assert head.read_bytes() == weights and plain["fitted_to"]["policy"] == str(other)
    rows = Store(other).rows
    assert plain["fitted_with"]["policy"] == {"step": 3, "advantage": 0.0, "rows": rows, "seed": 7}
    assert plain["planner"]["fit_steps"] != 3, "the default, which is not in effect"
    assert f"policy fitted to {other}, step 3, " in (tmp_path / "b" / "plan.html").read_text()
    command = ["plan", "--run", str(here / "run"), "--out", str(tmp_path / "c"), "--quiet", *options]
    capsys.readouterr()
    assert run(brain, "brain", [*command, "--set", "advantage=4"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"with advantage 0.0, not 4.0, to {other}: " in said and "give --fit STORE" in said
    assert head.read_bytes() == weights

    plan(here, tmp_path / "d", *options, *three, "--fit", str(trained / "store"))
    own = plan(here, tmp_path / "e", *options, "--set", "fit_steps=4")
    assert own["fitted_with"]["policy"]["step"] == 4 and own["fitted_to"]["policy"] == str(trained / "store")


def test_recorded_episodes_are_learned_from(trained: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(trained / "store", store)
    before = {(ref.run.policy, ref.index): ref.rows for ref in Store(store).episodes}
    common = ["--planner", "inverse", "--set", "fit_steps=3", "--record", str(store), "--shown", "0"]
    figures = plan(trained, tmp_path / "a", "--episodes", "3", *common)
    assert figures["list"] != "fixed" and figures["groups"].keys() == {"seen"}
    after = Store(store)
    added = [ref for ref in after.episodes if (ref.run.policy, ref.index) not in before]
    assert (
        len(added) == 3 and {ref.policy for ref in added} == {"plan-inverse"} and all(ref.rows == 201 for ref in added)
    )
    actions = after.read_episode(added[0], "action", "state")
    assert np.abs(actions["action"]).max() <= 2.45 and not actions["action"][-1].any()
    plan(trained, tmp_path / "b", "--episodes", "5", *common)
    assert len(Store(store).episodes) == len(before) + 5
    train = ["train", "--recipe", "two-room", "--store", str(store), "--run", str(tmp_path / "run"), "--quiet", *TINY]
    assert run(brain, "brain", train) == 0


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--task", "ourss"], "unknown task 'ourss'. Did you mean 'ours'?"),
        (["--planner", "cme"], "unknown planner 'cme'. Did you mean 'cem'?"),
        (["--set", "horizn=3"], "Did you mean 'horizon'?"),
        (["--set", "horizon=0"], "planner tree, horizon"),
        (["--set", "horizon"], "is no KEY=VALUE"),
        (["--planner", "cem", "--set", "kind=mppi"], "choose by --planner mppi"),
        (["--cost", "goal-distance:kind=value"], "choose by --cost value"),
        (["--planner", "tree", "--set", "receding=99"], "planner tree: receding"),
        (["--cost", "goal-distanze"], "unknown cost 'goal-distanze'. Did you mean 'goal-distance'?"),
        (["--cost", "true-distance"], "use it with --dynamics true"),
        (["--dynamics", "true", "--planner", "gradient"], "planner gradient needs a model"),
        (["--dynamics", "true", "--planner", "inverse"], "cannot be used with --dynamics true"),
        (["--task", "reward", "--cost", "goal-distance"], "needs a goal"),
        (["--planner", "inverse", "--set", "block=4"], "unknown option of planner inverse 'block'"),
        (["--planner", "guided", "--set", "warm_start=false"], "unknown option of planner guided 'warm_start'"),
        (["--planner", "icem", "--set", "kept=0"], "planner icem, kept"),
        (["--seed", str(2**64)], "--seed"),
    ],
)
def test_bad_choices_are_one_line(
    options: list[str], why: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["plan", "--run", str(trained / "run"), "--out", str(tmp_path), "--quiet", *options]
    assert run(brain, "brain", command) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert why in said and "Traceback" not in said


def test_an_episode_does_not_depend_on_the_others() -> None:
    world, other = make_world("two-room"), make_world("two-room")
    task, dynamics = tasks(world)["lewm"], Counted(true_dynamics(world))
    given = setting(dynamics, Path(), task=task)
    part = planner("icem", ActionSpace(world.action_space), given)
    total = WeightedSum([cost("true-distance", given)])
    cases = task.cases(4)
    evaluation = Evaluation(world, other, task, seed=5)
    together = list(evaluation.agent(cases, dynamics, part, total))
    (alone,) = evaluation.agent(cases[2:3], dynamics, part, total, first=2)
    assert np.array_equal(alone.recording.action, together[2].recording.action)
    assert np.array_equal(alone.recording.frame, together[2].recording.frame)
    assert not np.array_equal(together[1].recording.action, together[2].recording.action)
    assert len(light(alone).recording.frame) == 0 and len(light(alone).distances) == 50


def test_wilson_intervals() -> None:
    """Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3."""
    for k, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        found = outcome.rate([True] * k + [False] * (n - k))
        assert (found["low"], found["high"]) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
        assert found["rate"] == k / n and found["count"] == k


def test_at_the_end_ever_and_held() -> None:
    far, near = [9.0], [1.0]
    for distances, at_end, ever, held in (
        (far * 5, False, False, False),
        (far + near, True, True, False),
        (near * 3 + far, False, True, True),
        (near * 2 + far + near * 2, True, True, False),
        (near * 3, True, True, True),
    ):
        found = outcome.reached(np.array(distances), 2.0, 3)
        assert found == {"at_end": at_end, "ever": ever, "held": held}


class Drawn(CarRacing):
    """It counts its pictures, and those of its copies."""

    pictures = 0

    def frame(self) -> np.ndarray:
        Drawn.pictures += 1
        return super().frame()


def test_copies_of_a_world_foresee_what_it_does() -> None:
    world = Drawn(16)
    world.reset(seed=3)
    for _ in range(30):
        world.step(np.array([0.1, 0.5, 0.0], np.float32))
    dynamics = true_dynamics(world, stride=2)
    assert isinstance(dynamics, Copies) and isinstance(true_dynamics(make_world("two-room")), TrueState)
    z = dynamics.observe(np.zeros(0), world.state())
    plans = torch.tensor([[0.2, 0.3, 0.0], [-0.3, 0.0, 0.5]])[:, None].repeat(1, 3, 2)
    drawn = Drawn.pictures
    future = dynamics.rollout(z.expand(2, -1), plans)
    assert Drawn.pictures == drawn and world.drawing, "nobody looks at what copies do"
    earned = [world.step(np.array([0.2, 0.3, 0.0], np.float32))[1] for _ in range(6)]
    assert future[0, -1, 0].item() == pytest.approx(sum(earned), abs=1e-6)
    assert future[0, -1, 2:].numpy() == pytest.approx(world.state(), abs=1e-2)
    assert not np.allclose(future[1, -1, 2:], future[0, -1, 2:])


@pytest.mark.parametrize("registry", [PLANNERS, COSTS], ids=["planners", "costs"])
def test_every_option_is_explained(registry: Registry) -> None:
    for kind in registry:
        assert registry.get(kind).__doc__
        for name, field in registry.get(kind).Options.model_fields.items():
            assert field.description, f"{kind}.{name}"


def test_reports_show_how_a_run_plans(trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(trained / "run", copy)
    command = ["plan", "--run", str(copy), "--quiet", "--planner", "inverse", "--set", "fit_steps=3"]
    assert run(brain, "brain", [*command, "--task", "lewm", "--episodes", "2", "--shown", "0"]) == 0
    assert run(brain, "brain", ["report", "--run", str(copy)]) == 0
    page = (copy / "report.html").read_text()
    assert "inverse on the model" in page and "<td>straight</td>" in page
    compared = ["compare", str(copy), str(trained / "run"), "--out", str(tmp_path / "both.html")]
    assert run(brain, "brain", compared) == 0
    assert "planning, lewm: success at the end" in (tmp_path / "both.html").read_text()
    assert run(brain, "brain", ["report", "--run", str(trained / "run"), "--out", str(tmp_path / "other.html")]) == 0
    assert "Nobody planned with this model." in (tmp_path / "other.html").read_text()
    (copy / "plan.json").write_text('{"task": 3}')
    assert run(brain, "brain", ["report", "--run", str(copy)]) == 2


def test_any_world_is_planned_in_by_its_rewards(tmp_path: Path) -> None:
    """CartPole by a reward and a value head, two choices of action; recorded into the store that it came from."""
    store, folder = tmp_path / "store", tmp_path / "run"
    collect = ["collect", "--world", "CartPole-v1", "--episodes", "20", "--frame-size", "16", "--local", "--quiet"]
    assert run(factory, "factory", [*collect, "--store", str(store)]) == 0
    changes = [*TINY, "--set", "encoder.kind=mlp", "--set", "observation.stride=1", "--set", "objective.rollout=2"]
    train = ["train", "--recipe", "car-racing", "--store", str(store), "--run", str(folder), "--quiet", *changes]
    assert run(brain, "brain", train) == 0
    costs = ["--cost", "reward:fit_steps=5", "--cost", "value:fit_steps=5,weight=0.5"]
    options = ["--set", "horizon=4", "--set", "samples=6", "--set", "elites=2", "--record", str(store)]
    figures = plan(tmp_path, tmp_path / "out", "--task", "reward", "--episodes", "2", *costs, *options)
    assert figures["score"]["least"] >= 1 and figures["score"]["solved"] is None and "success" not in figures
    assert figures["each"][0]["score"] == figures["each"][0]["steps"]
    assert "score" in (tmp_path / "out" / "plan.html").read_text()
    added = [ref for ref in Store(store).episodes if ref.policy == "plan-cem"]
    assert len(added) == 2 and all(ref.terminated for ref in added)
