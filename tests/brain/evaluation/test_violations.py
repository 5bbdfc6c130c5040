"""Scores of violations: from constructed energies, by observers whose verdict is known, and through the whole judge."""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from brain import recipes
from brain.data.states import States
from brain.data.windows import Timing
from brain.evaluation.baselines import Fitted
from brain.evaluation.judge import assess
from brain.evaluation.observers import Observers, Surprise, observe
from brain.evaluation.pairs import Suite, Suites, fresh_seeds
from brain.evaluation.violations import assess_violations, choose_aggregates, means, scores
from brain.models.world_model import WorldModel
from brain.reports.evidence import judge
from brain.reports.report import write_report
from brain.runs.figures import read_judgement
from brain.runs.folder import Run
from brain.runs.judgement import UPPER_BOUND
from shared.store.dataset import create_store
from shared.store.reader import Store
from shared.store.schema import EpisodeRef, StoreSpec, split_by_seed
from shared.store.writer import StreamWriter
from shared.worlds import make_world
from shared.worlds.base import action_dim
from shared.worlds.frame_violations import FRAME_VIOLATIONS
from shared.worlds.violations import draw_pairs
from tests.support.dots import RUN, dot_episode, dot_spec, make_dot_store

TIMING = Timing(stack=2, stride=1)


def clips(values: list[float]) -> np.ndarray:
    return np.array(values, np.float64)


def test_scores_of_constructed_energies() -> None:
    true, impossible = clips([1, 2, 3, 4]), clips([2, 1, 3, 9])
    found = scores(true, impossible, np.arange(4), threshold=2.5)
    assert found["relative_accuracy"] == (1 + 0 + 0.5 + 1) / 4
    assert found["detection_rate"] == 0.5
    wins = sum((a < b) + 0.5 * (a == b) for a, b in itertools.product(true, impossible))
    assert found["auc"] == wins / 16
    for name, (low, high) in found["intervals"].items():
        assert 0 <= low <= found[name] <= high <= 1


def test_intervals_are_over_episodes_not_over_pairs() -> None:
    """A hundred pairs of two episodes that disagree say no more than the two episodes."""
    true = np.zeros(100)
    impossible = np.where(np.arange(100) < 50, 1.0, -1.0)
    apart = scores(true, impossible, np.arange(100), 0.0)["intervals"]["relative_accuracy"]
    two = scores(true, impossible, np.arange(100) // 50, 0.0)["intervals"]["relative_accuracy"]
    assert apart[1] - apart[0] < 0.3 and two == [0.0, 1.0]
    sure = scores(true, np.ones(100), np.arange(100) // 10, 0.0)["intervals"]["relative_accuracy"]
    assert 0.6 < sure[0] < 0.8 and sure[1] == 1.0  # Wilson's interval of 10 of 10


def test_surprises_that_are_not_numbers_have_no_scores() -> None:
    known, lost = clips([1, 2, 3]), clips([1, 2, np.nan])
    for both in ((known, lost), (lost, known)):
        found = scores(*both, np.arange(3), 2.5)
        assert all(np.isnan(found[name]) and np.isnan(found["intervals"][name]).all() for name in found["intervals"])
    found = scores(known, known + 1, np.arange(3), threshold=np.nan)
    assert found["auc"] > 0.5 and np.isnan(found["detection_rate"])


def test_the_aggregate_is_chosen_on_validation() -> None:
    """One high step among low ones speaks for the maximum; a small rise everywhere, under noise, for the mean."""
    rng = np.random.default_rng(0)
    true = rng.uniform(0, 1, (60, 8))
    spike, rise = true.copy(), rng.uniform(0, 1, (60, 8)) + 0.3
    spike[:, 3] = 1.5
    rise = np.minimum(rise, 1.0)
    episode = np.arange(60)
    assert choose_aggregates([{"model": Surprise(true, spike, episode)}]) == {"model": "max"}
    noisy = np.where(rng.random((60, 8)) < 0.2, 5.0, true)
    lifted = np.where(rng.random((60, 8)) < 0.2, 5.0, true + 0.9)
    assert choose_aggregates([{"model": Surprise(noisy, lifted, episode)}]) == {"model": "mean"}


def test_means_by_principle_and_of_what_is_unseen() -> None:
    def one(principle: str, value: float) -> dict[str, Any]:
        return {"principle": principle} | dict.fromkeys(("relative_accuracy", "auc", "detection_rate"), value)

    found = means(
        {"a": one("solidity", 1.0), "b": one("solidity", 0.5), "c": one("agency", 0.0), "a@walls": one("solidity", 0.2)}
    )
    assert found["auc"] == 0.5
    assert {principle: mean["auc"] for principle, mean in found["principles"].items()} == {
        "solidity": 0.75,
        "agency": 0.0,
    }
    assert found["unseen"]["walls"]["relative_accuracy"] == 0.2


class Rooms:
    """Knows two rooms perfectly: encodes a frame to where the dot and the wall are, predicts by the rules."""

    device = torch.device("cpu")

    def __init__(self, memory: int = 1) -> None:
        self.recipe = recipes.load("two-room", ["observation.stack=2", f"energy.memory={memory}"])

    def rollout(self, z: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        return z[:, None] + actions.double().cumsum(1)[..., None, None]

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        """A grid, (N, T - 1, 2, 1, 1), as of a latent that is no vector: the dot's place; (0, 0) without one."""
        dots = frames[:, 1:, :, :, 0].double()
        total = dots.sum((2, 3)).clamp(min=1)
        place = torch.arange(65, dtype=torch.float64)
        x, y = (dots.sum(2) * place).sum(2) / total, (dots.sum(3) * place).sum(2) / total
        return torch.stack([x, y], 2)[..., None, None]

    def predict(self, z: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return z + action.double()[:, :, None, None], torch.zeros_like(z)

    def compare(
        self, mean: torch.Tensor, log_variance: torch.Tensor, proposal: torch.Tensor, kind: str, steps: int = 1
    ) -> torch.Tensor:
        return (proposal - mean).square().flatten(1).mean(1)

    def energy(
        self, z: torch.Tensor, action: torch.Tensor, proposal: torch.Tensor, kind: str, steps: int = 1
    ) -> torch.Tensor:
        return self.compare(*self.predict(z, action), proposal, kind, steps)


def test_who_knows_what_an_action_does_sees_what_is_wrong_with_it() -> None:
    """Latents of any shape; an observer that adds the action is never fooled in free space, and always at the wall."""
    world = make_world("two-room")
    names = ("stopped-in-free-space", "against-the-action", "jumps-12-pixels", "through-the-wall")
    violations = [violation for violation in world.violations if violation.name in names]
    pairs = draw_pairs(world, violations, itertools.count(1), 12, steps=6, past=3)
    observers = Observers(Rooms(), "plain", states=States(world.state_names))  # type: ignore[arg-type]
    seen, honest = observe(pairs, observers)
    assert honest.shape[1] == 6
    for violation, told in zip((one.violation.name for one in pairs), seen):
        surprise = told["model"]
        right = surprise.true.max(1) < surprise.impossible.max(1)
        assert right.all() if violation != "through-the-wall" else not right.any(), violation
        still = told["persistence"]
        if violation == "stopped-in-free-space":
            assert (still.impossible.max(1) < still.true.max(1)).all()
        assert surprise.true.shape == surprise.impossible.shape == (12, 6)
    suite = Suite("", False, pairs, pairs)
    found = assess_violations([suite, replace(suite, label="new", unseen=True)], observers, 0.01)
    assert found.violations["against-the-action"]["auc"] == 1.0
    assert found.violations["through-the-wall@new"]["unseen"] and found.setup["simulated"]
    assert [strip.name for strip in found.strips] == [one.violation.name for one in pairs]


def test_a_memory_of_several_steps_is_surprised_as_often() -> None:
    """After a jump the dot goes on as it should: only who remembers where it was is surprised again."""
    world = make_world("two-room")
    violations = [violation for violation in world.violations if violation.name == "jumps-12-pixels"]
    pairs = draw_pairs(world, violations, itertools.count(1), 12, steps=6, past=3)
    for memory in (1, 3):
        observers = Observers(Rooms(memory), "plain", states=States(world.state_names))  # type: ignore[arg-type]
        surprise = observe(pairs, observers)[0][0]["model"]
        assert surprise.impossible.shape == (12, 6)
        free = surprise.true.max(1) < 1  # neither wall nor border stops the true dot, which these rules do not know
        wrong = surprise.impossible[free] > 1
        assert free.any() and wrong[:, :memory].all() and (wrong[:, memory:].mean() < 0.2), memory


class TrueState(Fitted):
    """The oracle's part with the world's own rule in place of a fit: the dot moves unless it is stopped."""

    def __init__(self) -> None:
        self.world = make_world("two-room")

    def standardise(self, latents: np.ndarray) -> np.ndarray:
        return latents

    def predict(self, z: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        from shared.worlds.two_room.geometry import advance

        x, y, wall, door = z.double().numpy().T
        moved = torch.from_numpy(advance(np.stack([x, y], 1), action.numpy(), wall, door))
        return torch.cat([moved, z[:, 2:].double()], 1), torch.zeros_like(z)

    def compare(
        self, mean: torch.Tensor, log_variance: torch.Tensor, proposal: torch.Tensor, kind: Any, steps: int = 1
    ) -> torch.Tensor:
        return (proposal - mean).square().mean(1)

    def energy(
        self, z: torch.Tensor, action: torch.Tensor, proposal: torch.Tensor, kind: Any, steps: int = 1
    ) -> torch.Tensor:
        return self.compare(*self.predict(z, action), proposal, kind, steps)


def test_the_upper_bound_is_right_wherever_the_state_tells() -> None:
    world = make_world("two-room")
    pairs = draw_pairs(world, world.violations, itertools.count(5), 8, steps=8, past=3)
    observers = Observers(Rooms(), "plain", oracle=TrueState(), states=States(world.state_names))  # type: ignore[arg-type]
    seen, _ = observe(pairs, observers)
    told = {one.violation.name: surprises.get(UPPER_BOUND) for one, surprises in zip(pairs, seen)}
    silent = {name for name, surprise in told.items() if surprise is None}
    assert silent == {"dot-vanishes", "dot-doubles", "dot-grows", "wall-vanishes", "door-vanishes"}
    for name, surprise in told.items():
        if surprise is not None:
            assert (surprise.true.max(1) < surprise.impossible.max(1)).all(), name


def test_seeds_are_of_their_split_and_of_no_stored_episode(tmp_path: Path) -> None:
    store = Store(make_dot_store(tmp_path / "dots", episodes=12))
    for split in ("test", "validation"):
        drawn = list(itertools.islice(fresh_seeds(store, split, [1]), 200))  # type: ignore[arg-type]
        assert {split_by_seed(seed) for seed in drawn} == {split}
        taken = [replace(ref, seed=seed) for ref, seed in zip(store.episodes, drawn)]
        without = Holding(taken)
        again = list(itertools.islice(fresh_seeds(without, split, [1]), 200))  # type: ignore[arg-type]
        assert again[:100] == drawn[len(taken) : len(taken) + 100]


@dataclass
class Holding:
    """What is asked of a store: its episodes."""

    episodes: list[EpisodeRef]


@pytest.mark.parametrize(("options", "labels"), [({}, ["", "held-out"]), ({"walls": "random"}, [""])])
def test_layouts_that_training_may_have_shown_are_not_called_unseen(
    tmp_path: Path, options: dict[str, Any], labels: list[str]
) -> None:
    spec = StoreSpec(
        world="two-room", world_options=options, frame_shape=(65, 65, 2), action_dim=2,
        state_names=("x", "y", "wall_x", "door_y"), control_rate=10.0,
    )  # fmt: skip
    create_store(tmp_path / "rooms", spec)
    with Suites(Store(tmp_path / "rooms"), TIMING, 8, 0) as drawing:
        suites = drawing.draw()
    assert [suite.label for suite in suites] == labels
    assert [suite.unseen for suite in suites] == [label != "" for label in labels]
    for suite in suites:
        episodes = [
            {int(seed) for one in part for seed in one.moments.episode} for part in (suite.validation, suite.test)
        ]
        assert {split_by_seed(seed) for seed in episodes[0]} == (set() if suite.label else {"validation"})
        assert {split_by_seed(seed) for seed in episodes[1]} == {"test"}


def test_a_clip_that_outlasts_the_worlds_violations_has_none_of_them(tmp_path: Path) -> None:
    world = make_world("bouncing-logo", 16)
    shape, names = world.observation_space.shape, tuple(world.state_names)
    assert shape is not None
    spec = StoreSpec(
        world="bouncing-logo", frame_shape=shape, action_dim=action_dim(world.action_space), state_names=names,
        control_rate=10.0,
    )  # fmt: skip
    create_store(tmp_path / "logo", spec)
    for stride, count in ((1, 1), (6, 0)):
        with Suites(Store(tmp_path / "logo"), Timing(stack=2, stride=stride), 8, 0) as drawing:
            assert len(drawing.draw()) == count


@pytest.fixture(scope="module")
def dots(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(make_dot_store(tmp_path_factory.mktemp("violations") / "dots", episodes=40))


@pytest.fixture(scope="module")
def judged(dots: Store, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    small = ["encoder.dim=8", "encoder.width=4", "prediction.steps=30", "prediction.batch=64", "energy.anchors=90"]
    recipe = recipes.load("car-racing", [*small, "observation.stride=2", "energy.violation_pairs=10"])
    torch.manual_seed(0)
    run = Run(tmp_path_factory.mktemp("run"))
    run.begin(recipe, dots.spec, dots.address, 0)
    return judge(WorldModel(recipe, dots.spec).eval(), dots, run, quiet=True), run.path


def test_the_judge_writes_generic_violations_for_a_world_of_frames(judged: tuple[dict[str, Any], Path]) -> None:
    _, run = judged
    kept = json.loads((run / "judge.json").read_text())
    assert set(kept["violations"]) == {violation.name for violation in FRAME_VIOLATIONS}
    for name, found in kept["violations"].items():
        assert found["principle"] and found["unseen"] is False and found["pairs"] == 10, name
        for key in ("relative_accuracy", "auc", "detection_rate"):
            low, high = found["intervals"][key]
            assert 0 <= low <= found[key] <= high <= 1
        assert set(found["baselines"]) == {"pixel", "no-predictor", "persistence", "free-motion", "random-encoder"}
        assert found["upper_bound"] is None
    typed = read_judgement(Run(run))
    assert typed is not None and typed.violations_setup is not None and typed.violations_mean is not None
    assert typed.violations.keys() == kept["violations"].keys()
    assert set(kept["violations_mean"]) >= {"relative_accuracy", "auc", "detection_rate", "principles"}
    assert kept["violations_setup"]["aggregate"] in ("max", "mean") and not kept["violations_setup"]["simulated"]


def test_the_report_shows_a_row_and_a_strip_for_each(judged: tuple[dict[str, Any], Path]) -> None:
    figures, run = judged
    page = (run / "report.html").read_text()
    section = page[page.index("Violations of expectation") :]
    for name, found in figures["violations"].items():
        assert f"<h3>{name.replace('-', ' ')}</h3>" in section and found["summary"] in section
    frames = 2 + figures["violations_setup"]["steps"]
    assert section.count("image-rendering: pixelated") == 2 * frames * len(figures["violations"])


def test_a_baseline_that_diverged_has_no_figures_and_is_not_beaten(dots: Store, tmp_path: Path) -> None:
    small = ["encoder.dim=8", "encoder.width=4", "prediction.steps=30", "prediction.batch=64", "energy.anchors=90"]
    recipe = recipes.load("car-racing", [*small, "energy.violation_pairs=6", "prediction.learning_rate=1e30"])
    run = Run(tmp_path)
    run.begin(recipe, dots.spec, dots.address, 0)
    judge(WorldModel(recipe, dots.spec).eval(), dots, run, quiet=True)
    kept = json.loads(run.judgement.read_text())
    for found in kept["violations"].values():
        assert found["baselines"]["random-encoder"] == {"relative_accuracy": None, "auc": None}
        assert 0 <= found["auc"] <= 1 and 0 <= found["baselines"]["pixel"]["relative_accuracy"] <= 1
    for kind in kept["energy"]["kinds"].values():
        assert kind["pair_accuracy"]["random-encoder"] is kind["auc"]["random-encoder"] is None
        assert 0 <= kind["pair_accuracy"]["model"] <= 1
    page = run.report.read_text()
    assert "Violations of expectation" in page and ">nan" not in page


def test_a_report_of_violations_without_scores(judged: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    _, run = judged
    shutil.copytree(run, tmp_path / "run")
    kept = json.loads((run / "judge.json").read_text())
    missing = dict.fromkeys(("relative_accuracy", "auc", "detection_rate", "false_alarm_rate"))
    for found in (*kept["violations"].values(), kept["violations_mean"], kept["violations_setup"]):
        found |= missing
    kept["violations_mean"]["principles"] = {"permanence": missing}
    (tmp_path / "run" / "judge.json").write_text(json.dumps(kept))
    write_report(tmp_path / "run", tmp_path / "page.html")
    assert "exceed; – of true test clips do" in (tmp_path / "page.html").read_text()


def test_episodes_shorter_than_a_clip_have_no_violations(tmp_path: Path) -> None:
    """The median episode is shorter than an observation; a few longer ones are judged."""
    spec = dot_spec()
    create_store(tmp_path / "store", spec)
    with StreamWriter(tmp_path / "store", spec, RUN, 0) as writer:
        for index in range(60):
            writer.append(dot_episode(index, 12 if index % 3 == 2 else 8))
    store = Store(tmp_path / "store")
    small = ["encoder.dim=8", "encoder.width=4", "prediction.steps=5", "prediction.rollout=1", "energy.anchors=50"]
    recipe = recipes.load("car-racing", [*small, "observation.stack=2", "observation.stride=4"])
    run = Run(tmp_path / "run")
    run.begin(recipe, spec, store.address, 0)
    figures = judge(WorldModel(recipe, spec).eval(), store, run, quiet=True)
    assert "violations" not in figures and figures["energy"]["kinds"]["teleport"]["transitions"] > 0
    assert run.report.exists()


def test_no_pairs_no_violations(dots: Store) -> None:
    small = ["encoder.dim=8", "encoder.width=4", "prediction.steps=30", "prediction.batch=64", "energy.anchors=90"]
    recipe = recipes.load("car-racing", [*small, "energy.violation_pairs=0"])
    torch.manual_seed(0)
    figures, evidence = assess(WorldModel(recipe, dots.spec).eval(), dots, quiet=True)
    assert "violations" not in figures and not evidence.strips
