"""``brain export --onnx``: the graphs say what torch says, for every registered network, and bad input is one line."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from brain import recipes
from brain.cli import cli
from brain.export import graphs
from brain.export.graphs import describe, write_graphs
from brain.models.decoders.trained import make_decoder
from brain.models.world_model import EnergyKind, WorldModel
from brain.parts import DECODERS, ENCODERS, OBJECTIVES, PREDICTORS
from brain.runs import checkpoint
from brain.runs.folder import Run
from brain.runs.judgement import Judgement
from shared.cli.console import run
from shared.errors import TinyJEPAError
from shared.store.schema import StoreSpec
from tests.support.dots import dot_spec, make_dot_store

onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'tinyjepa[onnx]'")
pytest.importorskip("onnx", reason="pip install 'tinyjepa[onnx]'")

SMALL = ("encoder.dim=12", "encoder.width=16", "prediction.predictor.width=32")


def suited(encoder: str = "", predictor: str = "") -> list[str]:
    """Overrides of the given part, and of others that suit its kind of latents."""
    latents = ENCODERS.get(encoder).latents if encoder else PREDICTORS.get(predictor).latents
    encoder = encoder or next(kind for kind in ENCODERS if ENCODERS.get(kind).latents == latents)
    predictor = predictor or next(kind for kind in PREDICTORS if PREDICTORS.get(kind).latents == latents)
    views = next(kind for kind in OBJECTIVES if latents in OBJECTIVES.get(kind).takes)
    stages = ("objective", "prediction")
    parts = [f"encoder.kind={encoder}", *(f"{stage}.predictor.kind={predictor}" for stage in stages)]
    return [*parts, f"objective.views={views}"]


def make_model(spec: StoreSpec, *overrides: str) -> WorldModel:
    torch.manual_seed(0)
    return WorldModel(recipes.load("car-racing", [*SMALL, *overrides]), spec).eval()


def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("encoder", ENCODERS.names())
def test_every_encoder(encoder: str, tmp_path: Path) -> None:
    spec = StoreSpec(world="x", frame_shape=(24, 40, 2), action_dim=1, control_rate=10)
    model = make_model(spec, *suited(encoder=encoder), "observation.stack=4")
    model.dynamics.latent_mean.fill_(0.2)
    model.dynamics.latent_std.fill_(0.5)
    if encoder == "video":
        with pytest.raises(TinyJEPAError, match="does not go through ONNX yet"):
            write_graphs(tmp_path, model, None, None)
        return
    facts = write_graphs(tmp_path, model, None, None)
    assert facts["files"] == {"encoder": "encoder.onnx", "predictor": "predictor.onnx"}
    frames = np.random.default_rng(1).integers(0, 256, (5, 4, 24, 40, 2), np.uint8)
    (z,) = session(tmp_path / "encoder.onnx").run(["z"], {"frames": frames})
    assert np.abs(z - model.encode(torch.from_numpy(frames))[:, 0].numpy()).max() < 2e-5
    assert not model.training and not any(module.training for module in model.modules())


@pytest.mark.parametrize("decoder", [name for name in DECODERS if not DECODERS.get(name).takes_grid])
def test_every_decoder_of_vectors(decoder: str, tmp_path: Path) -> None:
    spec = StoreSpec(world="x", frame_shape=(24, 40, 2), action_dim=1, control_rate=10)
    model = make_model(spec)
    made = make_decoder(model.space, spec.frame_shape, decoder).eval()
    write_graphs(tmp_path, model, made, None)
    z = torch.randn(5, *model.latent_shape)
    (frame,) = session(tmp_path / "decoder.onnx").run(["frame"], {"z": z.numpy()})
    assert np.abs(frame - made(z).detach().numpy()).max() < 2e-5


@pytest.mark.parametrize("action_dim", [0, 3])
@pytest.mark.parametrize("predictor", PREDICTORS.names())
def test_every_predictor(predictor: str, action_dim: int, tmp_path: Path) -> None:
    spec = StoreSpec(world="x", frame_shape=(16, 16, 1), action_dim=action_dim, control_rate=10)
    model = make_model(spec, *suited(predictor=predictor))
    facts = write_graphs(tmp_path, model, make_decoder(model.space, spec.frame_shape), None)
    assert facts["remembers"] is (predictor == "transformer")
    z, action = torch.randn(5, *model.latent_shape), torch.randn(5, model.action_dim)
    feeds = {"z": z.numpy()} | ({"action": action.numpy()} if action_dim else {})
    found = session(tmp_path / "predictor.onnx").run(["mean", "log_variance"], feeds)
    for one, other in zip(model.predict(z, action), found):
        assert np.abs(one.numpy() - other).max() < 2e-5
    assert max(facts["largest_error"].values()) < 2e-5


def test_a_graph_that_differs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model(dot_spec(), "encoder.kind=mlp")
    write_graphs(tmp_path, model, None, None)
    before = (tmp_path / "encoder.onnx").read_bytes()
    monkeypatch.setattr(graphs, "TOLERANCE", -1.0)
    with pytest.raises(TinyJEPAError, match="the encoder as ONNX differs from torch by"):
        write_graphs(tmp_path, model, None, None)
    assert (tmp_path / "encoder.onnx").read_bytes() == before and not list(tmp_path.glob("*.partial"))


def judged_as(form: EnergyKind) -> Judgement:
    judgement = {
        "energy": {
            "form": form,
            "false_alarm_target": 0.02,
            "kinds": {},
            "validation": {"plain": {"thresholds": {"1": 0.5, "4": 0.9}}, "scaled": {"thresholds": {"1": 7.0}}},
        }
    }
    return Judgement.model_validate(judgement)


def test_the_threshold_is_the_judges() -> None:
    facts = describe(make_model(dot_spec()), judged_as("plain"))
    assert facts["energy"] == {"form": "plain", "threshold": 0.5, "false_alarm_target": 0.02}
    assert (facts["world"], facts["stack"], facts["stride"], facts["action_dim"]) == ("dots", 2, 4, 2)


@pytest.mark.parametrize("form", ["plain", "scaled"])
@pytest.mark.parametrize("name, worst", [("car-racing", 0), ("two-room-grid", 3), ("car-racing-grid-vector", 0)])
def test_the_energy_of_every_kind_of_latent(name: str, worst: int, form: EnergyKind, tmp_path: Path) -> None:
    """Encoder, predictor and energy, one after the other, give what the model gives."""
    recipe = recipes.load(name, ["energy.worst=" + str(worst)] if worst else [])
    spec = StoreSpec(world="made-up", frame_shape=(64, 64, 3), action_dim=2, control_rate=10.0, state_names=("x", "y"))
    torch.manual_seed(0)
    model = WorldModel(recipe, spec).eval()
    if model.dynamics.calibration is not None:
        model.dynamics.calibration.median.normal_()
        model.dynamics.calibration.cells.uniform_(0.5, 2.0)
    facts = write_graphs(tmp_path, model, None, judged_as(form))
    assert facts["files"]["energy"] == "energy.onnx"
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (2, 5, recipe.observation.stack, 64, 64, 3), np.uint8)
    action = rng.normal(size=(5, model.action_dim)).astype(np.float32)
    run_graph = {stem: onnxruntime.InferenceSession(tmp_path / f"{stem}.onnx") for stem in facts["files"]}
    now, after = (run_graph["encoder"].run(None, {"frames": shown})[0] for shown in frames)
    mean, log_variance = run_graph["predictor"].run(None, {"z": now, "action": action})
    given = {"mean": mean, "next": after} | ({"log_variance": log_variance} if form == "scaled" else {})
    energy = run_graph["energy"].run(None, given)[0]
    z, then = (model.encode(torch.from_numpy(shown))[:, 0] for shown in frames)
    with torch.no_grad():
        expected = model.energy(z, torch.from_numpy(action), then, form)
    np.testing.assert_allclose(energy, expected.numpy(), rtol=2e-3, atol=2e-4)
    write_graphs(tmp_path, model, None, None)
    assert not (tmp_path / "energy.onnx").exists()


def write_run(folder: Path, store: Path) -> Path:
    """A run that was trained by nobody: fresh weights in the files of a finished one."""
    recipe = recipes.load("car-racing", [*SMALL, "encoder.kind=mlp"])
    model = make_model(dot_spec(), "encoder.kind=mlp")
    Run(folder).begin(recipe, dot_spec(), str(store), 0)
    checkpoint.save(Run(folder).encoder, checkpoint.state(model=model.encoder), {})
    checkpoint.save(Run(folder).predictor, checkpoint.state(model=model.dynamics), {})
    return folder


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = make_dot_store(tmp_path / "store", episodes=2, rows=9)
    folder = write_run(tmp_path / "run", store)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert run(cli, "brain", ["export", "--run", str(folder), "--onnx"]) == 0
    output = capsys.readouterr()
    assert "encoder.onnx: differs from torch by" in output.out and "the run has none" in output.out
    assert output.err == ""
    facts = json.loads((folder / "onnx" / "model.json").read_text())
    assert facts["energy"] is None and facts["frame_shape"] == [16, 16, 3]
    assert run(cli, "brain", ["export", "--run", str(folder), "--onnx", "--out", str(tmp_path / "o")]) == 0
    assert (tmp_path / "o" / "predictor.onnx").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--run", "RUN"], "say what to write"),
        (["--run", "RUN", "--run", "RUN", "--onnx", "--out", "o"], "--out is the folder of one run's graphs"),
        (["--run", "RUN", "--onnx", "--ort", "RUN"], "--ort is the runtime of the page"),
        (["--run", "RUN", "--web", "w"], "is of the world dots (16x16x3, options {}), which the page cannot simulate"),
        (["--run", "nowhere", "--onnx"], "is no run folder"),
        (["--run", "DAMAGED", "--onnx"], "judge.json is damaged"),
        (["--run", "EMPTY", "--onnx"], "no checkpoint"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    store = make_dot_store(tmp_path / "store", episodes=2, rows=9)
    for name in ("RUN", "DAMAGED", "EMPTY"):
        write_run(tmp_path / name, store)
    Run(tmp_path / "DAMAGED").judgement.write_text('{"energy": {}}')
    Run(tmp_path / "EMPTY").encoder.unlink()
    assert run(cli, "brain", ["export", *arguments]) == 2
    output = capsys.readouterr()
    assert line in output.err and output.err.count("\n") == 1 and "Traceback" not in output.err
    assert not (tmp_path / "w").exists()
