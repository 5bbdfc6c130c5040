"""``observation.mode`` state: one store serves models of pixels and models of coordinates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from brain import recipes
from brain.cli import cli
from brain.data.loader import Stream
from brain.data.state_mode import Scale, StateStore, pictures
from brain.runs.folder import Run
from shared.cli.console import run
from shared.errors import TinyJEPAError
from shared.store.dataset import create_store
from shared.store.reader import Store
from shared.store.writer import StreamWriter
from tests.support.dots import RUN, dot_episode, dot_spec

SMALL = ["encoder.dim=8", "encoder.width=8", "objective.batch=16", "prediction.batch=32", "objective.rollout=2"]
SMALL += ["objective.predictor.width=16", "prediction.predictor.width=16", "prediction.rollout=2", "energy.anchors=100"]
PLAIN = ["train", "--recipe", "double-pendulum-state", "--device", "cpu", "--quiet"]
TRAIN = PLAIN + [word for change in SMALL for word in ("--set", change)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dots under the name of a world whose first state is an angle."""
    return make(tmp_path_factory.mktemp("store") / "angles", ("theta1", "y", "vx", "vy"))


def make(path: Path, names: tuple[str, ...]) -> Path:
    spec = create_store(path, dot_spec().model_copy(update={"state_names": names, "world": "double-pendulum"}))
    with StreamWriter(path, spec, RUN, 0) as writer:
        for index in range(40):
            episode = dot_episode(index, 41)
            episode.state.resize((41, len(names)), refcheck=False)
            writer.append(episode)
    return path


def opened(place: Path) -> StateStore:
    store = StateStore(place)
    store.scale = store.measure()
    return store


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line with which a command is refused."""
    capsys.readouterr()
    assert run(cli, "brain", list(arguments)) == 2
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0, error
    return error


def test_a_frame_is_the_standardised_state(place: Path) -> None:
    store, plain = opened(place), Store(place)
    assert store.spec.frame_shape == (1, 1, 5) and store.spec.picture_shape == plain.spec.frame_shape == (16, 16, 3)

    def coordinates(ref_states: np.ndarray) -> np.ndarray:
        angle, *others = ref_states.astype(np.float64).T
        return np.stack([np.sin(angle), np.cos(angle), *others], 1)

    train = np.concatenate([coordinates(plain.read_episode(ref, "state")["state"]) for ref in plain.split("train")])
    for ref in store.episodes:
        both = store.read_episode(ref, "frame", "state")
        assert both["frame"].dtype == np.float32 and both["frame"].shape == (ref.rows, 1, 1, 5)
        expected = (coordinates(both["state"]) - train.mean(0)) / train.std(0)
        np.testing.assert_allclose(both["frame"][:, 0, 0], expected, rtol=1e-5, atol=1e-5)
        shown = pictures(store, ref.stream, ref.first, ref.first + ref.rows)
        assert np.array_equal(shown, plain.read_episode(ref, "frame")["frame"])


def test_batches_follow_the_seed_and_go_on(place: Path) -> None:
    def stream(seed: int, **more: Any) -> Stream:
        return Stream(
            opened(place), "train", stack=2, stride=3, steps=2, batch=16, seed=seed, device=torch.device("cpu"),
            memory=4 * 5 * 800, **more,
        )  # fmt: skip

    first, again, other = stream(0), stream(0), stream(1)
    batches = [first.batch(number) for number in range(60)]
    assert batches[0].frames.dtype == torch.float32 and batches[0].frames.shape == (16, 4, 1, 1, 5)
    assert all(torch.equal(again.batch(number).frames, batches[number].frames) for number in range(60))
    assert not torch.equal(other.batch(0).frames, batches[0].frames)
    resumed = stream(0, state=json.loads(json.dumps(first.state(40))))
    assert all(torch.equal(resumed.batch(number).frames, batches[number].frames) for number in range(40, 60))
    store = opened(place)
    rows = np.concatenate([store.read_episode(ref, "frame")["frame"].reshape(-1, 5) for ref in store.split("train")])
    known = {row.tobytes() for row in rows}
    assert all(row.numpy().tobytes() in known for batch in batches for row in batch.frames.reshape(-1, 5))
    for each in (first, again, other, resumed):
        each.close()


def test_a_run_of_coordinates_goes_through_every_command(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    train = [*TRAIN, "--store", str(place), "--run", str(folder), "--steps", "40"]
    for stage in ("encoder", "predictor"):
        assert run(cli, "brain", [*train, "--stage", stage]) == 0
    assert run(cli, "brain", ["judge", "--run", str(folder), "--quiet"]) == 0
    kinds = json.loads((folder / "judge.json").read_text())["energy"]["kinds"]
    assert 0.5 < kinds["teleport"]["auc"]["pixel"] <= 1 and kinds["teleport"]["auc"]["model"] > 0.5
    kept = json.loads((folder / "coordinates.json").read_text())
    assert Scale(*(tuple(kept[key]) for key in ("names", "mean", "std"))) == opened(place).scale
    assert "<image" in (folder / "report.html").read_text(), "the picture strip shows pictures"
    assert run(cli, "brain", ["probe", "--run", str(folder), "--steps", "20", "--quiet"]) == 0
    scores = json.loads((folder / "probe.json").read_text())["scores"]
    assert list(scores["linear"]) == ["theta1", "y", "vx", "vy"]
    assert scores["pixels"]["y"]["r2"] > 0.99, "the coordinates themselves"
    dream = ["dream", "--run", str(folder), "--steps", "4", "--episodes", "2", "--decoder-steps", "60", "--quiet"]
    assert run(cli, "brain", dream) == 0
    with av.open(str(folder / "forecast.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 5
    assert json.loads((folder / "dream.json").read_text())["reconstruction_psnr_db"] > 8

    others = make(tmp_path / "others", ("theta1", "y", "vx", "wind"))
    assert "has the states" in said(capsys, "judge", "--run", str(folder), "--store", str(others), "--quiet")
    narrow = {name: values[: 3 + (name == "names")] for name, values in kept.items()}
    Run(folder).coordinates.write_text(json.dumps(narrow))
    assert "other angles" in said(capsys, "judge", "--run", str(folder), "--quiet")
    Run(folder).coordinates.write_text("{")
    assert "is damaged" in said(capsys, "judge", "--run", str(folder), "--quiet")


def test_what_needs_pictures_is_refused(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = [*PLAIN, "--store", str(place), "--run", str(tmp_path / "run")]
    for kind in ("cnn", "resnet18", "two-branch", "vit"):
        assert f"encoder {kind} needs pictures" in said(capsys, *train, "--set", f"encoder.kind={kind}")
    temporal = ["--set", "objective.views=temporal"]
    assert "augmentations need pictures" in said(
        capsys, *train, *temporal, "--set", 'objective.augmentations=["noise"]'
    )
    assert "augmentations need pictures" in said(capsys, *train, "--set", "objective.views=augment")
    blind = make(tmp_path / "blind", ())
    refused = said(capsys, *TRAIN, "--store", str(blind), "--run", str(tmp_path / "run"))
    assert "has no state columns" in refused and "observation.mode=pixels" in refused
    assert not (tmp_path / "run").exists()


def test_pixels_are_the_default() -> None:
    assert recipes.load("double-pendulum").observation.mode == "pixels"
    with pytest.raises(TinyJEPAError, match="pixel"):
        recipes.load("double-pendulum", ["observation.mode=pixel"])
