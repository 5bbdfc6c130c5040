"""Training that diverges or is interrupted: one line, no file of weights that are not finite, no thread left behind."""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from brain import recipes
from brain.data.source import Feed
from brain.models.world_model import WorldModel
from brain.runs import checkpoint
from brain.runs.folder import Compute, Run
from brain.training.encoder import train_encoder
from brain.training.loop import Budget
from brain.training.options import Effort
from brain.training.train import train
from shared.errors import TinyJEPAError
from shared.store.reader import Store
from tests.support.once import once
from tests.support.training import RECIPE, command, here, make_undisturbed

STEPS = 4


@pytest.fixture(scope="module")
def source(dots: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 120 steps a stage; only to be read."""
    return once(tmp_path_factory, "undisturbed", lambda folder: make_undisturbed(folder, dots)) / "undisturbed"


@pytest.mark.parametrize(
    ("every", "words"), [("1h", "the encoder's loss became "), ("0.001s", "the encoder's weights are no longer fini")]
)
def test_an_encoder_that_diverges_is_one_line(dots: Path, tmp_path: Path, every: str, words: str) -> None:
    (tmp_path / "small.toml").write_text(RECIPE)
    run = Run(tmp_path / "run")
    arguments = command(dots, tmp_path / "small.toml", run.path, "--steps", "3000", "--checkpoint-every", every)
    for _ in range(2):
        done = here([*arguments, "--set", "objective.learning_rate=1e30"])
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and words in done.stderr, done.stderr
        assert "give another --run and a lower objective.learning_rate than 1e+30" in done.stderr
        assert not run.encoder.exists()
        if run.checkpoint("encoder").exists():
            assert all(tensor.isfinite().all() for tensor in checkpoint.load(run.checkpoint("encoder"))[0].values())


def test_a_predictor_that_diverges_is_one_line(dots: Path, source: Path, tmp_path: Path) -> None:
    words = ("--encoder", str(source), "--steps", "3000", "--set", "prediction.learning_rate=1e30")
    done = here(command(dots, source.parent / "small.toml", tmp_path / "run", *words))
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "the predictor's " in done.stderr and "a lower prediction.learning_rate than 1e+30" in done.stderr
    assert not Run(tmp_path / "run").predictor.exists()


def test_threads_that_read_end_with_a_training_that_fails(dots: Path, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(RECIPE)
    recipe = recipes.load(str(tmp_path / "small.toml"), ["objective.learning_rate=1e30"])
    with pytest.raises(TinyJEPAError, match="the encoder's") as caught:  # it holds on to all that failed
        train(dots, tmp_path / "run", recipe, effort=Effort(steps=3000), device="cpu", quiet=True)
    running = [thread.name for thread in threading.enumerate()]
    assert caught.value and not [name for name in running if name.startswith(("block", "pool", "batch"))], running


class CtrlC:
    """A receiver of the curves at which the user interrupts the last step."""

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        if step == STEPS - 1:
            signal.raise_signal(signal.SIGINT)

    def close(self) -> None:
        """Nothing is open."""


def test_what_is_said_of_the_latents_outlives_an_interrupted_last_step(dots: Path, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(RECIPE)
    recipe, store = recipes.load(str(tmp_path / "small.toml"), ["world=dots"]), Store(dots)

    def stage_one(run: Run) -> None:
        run.begin(recipe, store.spec, store.address, 0)
        torch.manual_seed(0)
        train_encoder(
            run, WorldModel(recipe, store.spec), Feed(store), Budget(steps=STEPS),
            compute=Compute(), seed=0, checkpoint_seconds=99, quiet=True,
        )  # fmt: skip

    run = Run(tmp_path / "run")
    run.logs.append(CtrlC())
    with pytest.raises(KeyboardInterrupt):
        stage_one(run)
    assert checkpoint.read_facts(run.checkpoint("encoder"))["step"] == STEPS and not run.encoder.exists()
    stage_one(Run(run.path))
    assert checkpoint.read_facts(run.encoder)["health"]["effective_rank"] > 1
