"""The reward head: what it is taught, that it beats the baselines where the latent knows, and that it is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from brain import recipes
from brain.cli import cli
from brain.data.sampling import dense
from brain.data.windows import Timing
from brain.evaluation.probe import Probe
from brain.evaluation.reward import SAMPLES, Steps
from brain.evaluation.samples import draw_samples
from brain.models.latents import LatentTable, embed
from brain.models.reward_head import RewardHead
from brain.models.world_model import WorldModel
from brain.runs.folder import Run
from shared.cli.console import run
from shared.errors import TinyJEPAError
from shared.store.dataset import create_store
from shared.store.reader import Store
from shared.store.writer import StreamWriter
from tests.support.dots import RUN, dot_episode, dot_spec

SMALL = ["encoder.kind=mlp", "encoder.dim=16", "encoder.width=32", "prediction.predictor.width=16"]


@pytest.fixture(scope="module")
def paid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dots; a frame pays for how far right the square is, and costs the square of the action."""
    path = tmp_path_factory.mktemp("store") / "paid"
    spec = create_store(path, dot_spec())
    with StreamWriter(path, spec, RUN, 0) as writer:
        for index in range(40):
            episode = dot_episode(index)
            reward = episode.state[:, 0] / 16 - 0.1 * np.square(episode.action).sum(1)
            reward[-1] = 0  # as in every store: nothing is earned there
            writer.append(replace(episode, reward=reward.astype(np.float32)))
    return path


def test_a_step_earns_the_sum_over_its_frames(paid: Path) -> None:
    store, timing = Store(paid), Timing(stack=2, stride=3)
    refs = store.split("test")
    table = LatentTable(store.spec, refs, timing, [dense(ref, timing) for ref in refs])
    embed(store, table, {})
    steps = Steps.of(table, 100_000)
    assert len(steps.rewards) == sum(ref.rows - 3 - 3 for ref in refs)
    wanted = []
    for ref in refs:
        read = store.read_episode(ref)
        for t in range(3, ref.rows - 3):
            whole = (read["state"][t], read["action"][t : t + 3].ravel())
            wanted.append((*(part.tobytes() for part in whole), f"{read['reward'][t : t + 3].sum():.4f}"))
    parts = zip(table.state[steps.rows], steps.chunks, steps.rewards)
    assert [(s.tobytes(), c.tobytes(), f"{r:.4f}") for s, c, r in parts] == wanted


def test_it_reads_what_the_latent_knows(paid: Path, dots: Path) -> None:
    store, recipe = Store(paid), recipes.load("car-racing", SMALL)
    torch.manual_seed(0)
    model = WorldModel(recipe, store.spec).eval()
    found = Probe(model, store, 0, lambda line: None).reward(300)
    assert found is not None
    scores, _ = found
    assert list(scores) == ["model", "mean", "actions", "random-encoder", "pca", "state"]
    assert scores["state"].r2 > 0.9 and scores["mean"].r2 <= 0 and scores["actions"].r2 < 0.5
    assert scores["state"].r2 > scores["model"].r2 > scores["actions"].r2 + 0.1
    assert Probe(model, Store(dots), 0, lambda line: None).reward(10) is None  # these pay nothing


def test_the_command_keeps_it(paid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    words = [word for change in SMALL for word in ("--set", change)]
    for stage in ("encoder", "predictor"):
        train = ["train", "--store", str(paid), "--run", str(folder), "--stage", stage, "--steps", "10", "--quiet"]
        assert run(cli, "brain", [*train, *words]) == 0
    model = WorldModel.load(folder, Store(paid).spec, torch.device("cpu"))
    with pytest.raises(TinyJEPAError, match="no reward head"):
        RewardHead.load(Run(folder), model)
    capsys.readouterr()
    assert run(cli, "brain", ["probe", "--run", str(folder), "--steps", "40", "--quiet"]) == 0
    assert "R2 of a model step's reward: model " in capsys.readouterr().out
    rewards = json.loads((folder / "probe.json").read_text())["reward"]
    head = RewardHead.load(Run(folder), model)
    store, timing = Store(paid), Timing(2, 4)
    table = draw_samples(store, model, 0, every=4).test
    frames: list[np.ndarray] = []
    embed(store, table, {}, visitors=(lambda episode, shown: frames.append(shown),))
    steps = Steps.of(table, SAMPLES["test"])
    observations = np.concatenate(frames)[timing.window(steps.rows)]
    with torch.no_grad():
        guess = head(model.encode(torch.from_numpy(observations))[:, 0], torch.from_numpy(steps.chunks)).numpy()
    assert np.sqrt(np.mean((guess - steps.rewards) ** 2)) == pytest.approx(rewards["model"]["rmse"], rel=1e-3)
