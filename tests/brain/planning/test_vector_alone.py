"""Planning on the vector beside a grid, without the cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from brain import recipes
from brain.models.world_model import WorldModel
from brain.parts import COSTS
from brain.planning.dynamics import Counted, Imagined, ImaginedVector
from brain.planning.job import Choices, Job
from brain.planning.learned import Examples, Head, fit
from brain.planning.planners.policy import advantage_weights, policy_loss
from factory.cli import cli as factory
from shared.cli.console import run
from shared.store.reader import Store

RECIPE = [
    "encoder.width=8", "encoder.dim=4", "encoder.registers=3", "prediction.predictor.width=8",
    "prediction.predictor.units=8", "objective.predictor.width=8", "objective.predictor.units=8",
]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("race") / "store"
    small = ["--local", "--quiet", "--episodes", "6", "--max-episode-steps", "24", "--frame-size", "16"]
    assert run(factory, "factory", ["collect", "--world", "car-racing", "--store", str(path), *small]) == 0
    return Store(path)


@pytest.fixture(scope="module")
def model(store: Store) -> WorldModel:
    torch.manual_seed(0)
    made = WorldModel(recipes.load("car-racing-grid-vector", RECIPE), store.spec).eval()
    for parameter in made.dynamics.predictor.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made


def test_the_vector_goes_on_as_it_does_beside_the_cells(model: WorldModel) -> None:
    whole, alone = Imagined(model), ImaginedVector(model)
    frames = np.random.default_rng(0).integers(0, 255, (2, 16, 16, 3), np.uint8)
    chunks = torch.randn(5, 4, model.action_dim)
    z, vector = whole.observe(frames, np.zeros(0)), alone.observe(frames, np.zeros(0))
    assert vector.shape == (1, 12) and alone.latent_shape == vector.shape[1:]
    torch.testing.assert_close(vector, model.space.split(z)[1])
    far = whole.rollout(z.expand(5, -1, -1), chunks)
    torch.testing.assert_close(alone.rollout(vector.expand(5, -1), chunks), model.space.split(far)[1])


@pytest.mark.parametrize(
    ("planner", "costs", "name"),
    [
        ("shooting", ("reward:fit_steps=2", "value:fit_steps=2", "control"), "model, vector alone"),
        ("prior", ("value:fit_steps=2",), "model, vector alone"),
        ("policy", (), "model, vector alone"),
        ("prior", ("value:fit_steps=2", "control"), "model"),
    ],
)
def test_the_cells_are_left_out_where_no_part_reads_them(
    planner: str,
    costs: tuple[str, ...],
    name: str,
    model: WorldModel,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(COSTS.get("control"), "vector_suffices", name.endswith("alone"))
    options = ("horizon=2", *(() if planner == "shooting" else ("fit_steps=2",)))
    options += ("samples=4",) if planner in ("shooting", "prior") else ()
    choices = Choices("reward", planner, options, costs, episodes=1, shown=0, baselines=False)
    job = Job(choices, tmp_path, model, store)
    assert isinstance(job.dynamics, Counted) and job.dynamics.name == name
    frame, _ = job.world.reset(seed=0)
    z = job.dynamics.observe(np.stack([frame] * job.dynamics.stack), job.world.state())
    assert z.ndim == (2 if name.endswith("alone") else 3)
    assert job.reader.sees(("lateral_offset",)) and not job.reader.sees(("x", "y")), "frames do not show them"
    if planner in ("prior", "policy"):
        figures, _ = job.evaluate(None, lambda line: None)
        assert figures["decision"]["decisions"] == -(-figures["each"][0]["steps"] // 4) and figures["dynamics"] == name


def test_a_head_of_other_latents_is_fitted_anew(
    model: WorldModel, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(COSTS.get("control"), "vector_suffices", False)
    quick = ("horizon=1", "samples=2")
    made = []
    for costs in (("value:fit_steps=2",), ("value:fit_steps=2", "control")):
        job = Job(Choices("race", "shooting", quick, costs), tmp_path, model, store)
        made.append(job.cost.costs[0]._head.reader.places)
    assert made == [(), made[1]] and len(made[1]) == 2


def test_the_policy_does_what_earned_more() -> None:
    """Two places: at each, one episode turned left and earned more than the other, which turned right. Turning right at
    the second earns more than turning left at the first: what counts is the place's own."""
    turn = torch.tensor([-1.0, 1.0, -1.0, 1.0]).repeat_interleave(40)[:, None]
    place = torch.tensor([0.0, 0.0, 1.0, 1.0]).repeat_interleave(40)
    rewards = (turn[:, 0] < 0).float() + 3 * place
    last = torch.tensor([39, 79, 119, 159]).repeat_interleave(40)
    z, ended = torch.stack([place, 1 - place], 1), torch.zeros(160, dtype=torch.bool)
    data = Examples(z, np.zeros((160, 0), np.float32), turn, rewards, last, ended, 2)
    weights = advantage_weights(data, 2.0, seed=0)
    assert min(weights[5], weights[85]) > 10 * max(weights[45], weights[125]), "left, at either place"
    assert weights[39] == weights[30] == 0, "what follows is not known"
    assert advantage_weights(data, 0.0, seed=0)[[5, 39, 45]].tolist() == [1, 0, 1]

    class Space:
        widths = ()

    head = Head(torch.Size((2,)), 1)
    fit(head, data, policy_loss(Space(), 2.0, 0), 150, seed=0)
    assert (head(torch.eye(2)) < -0.8).all()
