"""Training on frames that never vary says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from brain import recipes
from brain.training.options import Effort
from brain.training.train import train
from shared.store.dataset import create_store
from shared.store.writer import StreamWriter
from tests.support.dots import RUN, dot_episode, dot_spec

SMALL = ["encoder.dim=8", "encoder.width=8", "objective.batch=16", "prediction.predictor.width=16"]


@pytest.mark.parametrize("still", [True, False])
def test_training_says_when_nothing_moves(still: bool, tmp_path: Path) -> None:
    spec = create_store(tmp_path / "store", dot_spec())
    with StreamWriter(tmp_path / "store", spec, RUN, 0) as writer:
        for index in range(12):
            episode = dot_episode(index)
            frame = np.broadcast_to(episode.frame[:1], episode.frame.shape) if still else episode.frame
            writer.append(replace(episode, frame=np.ascontiguousarray(frame)))
    recipe = recipes.load("car-racing", SMALL)
    effort = Effort(stage="encoder", steps=2)
    lines = train(tmp_path / "store", tmp_path / "run", recipe, effort=effort, device="cpu", quiet=True)
    assert sum("never vary" in line for line in lines) == still
