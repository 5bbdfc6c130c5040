"""``brain dream``: a decoder on frozen latents, and forecasts that can be looked at."""

from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from brain import recipes
from brain.cli import cli
from brain.models.decoders.trained import decoder_kind, kind_of_run, load_decoder, make_decoder
from brain.models.space import LatentSpace
from brain.models.world_model import WorldModel
from brain.parts import DECODERS
from brain.runs import checkpoint
from brain.runs.folder import Run
from shared.cli.console import run
from shared.store.schema import StoreSpec
from shared.video import heads, tile


@pytest.mark.parametrize("kind", DECODERS.names())
@pytest.mark.parametrize("shape", [(16, 16, 1), (65, 65, 2), (40, 24, 3)])
def test_decoder(kind: str, shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    space = LatentSpace(12, (5, 4) if DECODERS.get(kind).takes_grid else None)
    decoder = DECODERS.get(kind)(space, shape)
    frames = decoder(torch.randn(3, *space.shape))
    assert frames.shape == (3, *shape) and frames.min() >= 0 and frames.max() <= 1
    frames.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in decoder.parameters())


def test_a_decoder_starts_from_the_mean_frame() -> None:
    torch.manual_seed(0)
    decoder = make_decoder(LatentSpace(12), (40, 24, 3), "sub-pixel").eval()
    for weight in (decoder.get_parameter("pixels.weight"), decoder.get_parameter("pixels.bias")):
        torch.nn.init.zeros_(weight)
    mean = torch.rand(40, 24, 3) * 0.9 + 0.05
    decoder.begin(mean)
    torch.testing.assert_close(decoder(torch.randn(2, 12)), mean.expand(2, -1, -1, -1))


def test_dream_writes_what_can_be_looked_at(dots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    small = ["--set", "encoder.dim=16", "--set", "encoder.width=8", "--set", "objective.batch=32", "--steps", "30"]
    for stage in ("encoder", "predictor"):
        assert run(cli, "brain", ["train", "--store", str(dots), "--run", str(folder), *small, "--stage", stage]) == 0
    before = {file.name: file.read_bytes() for file in folder.glob("*or.safetensors")}
    assert run(cli, "brain", ["dream", "--run", str(folder), "--steps", "500", "--decoder-steps", "1", "--quiet"]) == 2
    error = capsys.readouterr().err
    assert "no test episode" in error and error.count("\n") == 1
    assert not (folder / "decoder.safetensors").exists(), "refused before a decoder is trained"
    command = ["dream", "--run", str(folder), "--steps", "5", "--decoder-steps", "150", "--quiet"]
    assert run(cli, "brain", command) == 0
    printed = capsys.readouterr().out
    assert "forecast.mp4" in printed
    facts = json.loads((folder / "dream.json").read_text())
    lines = [line for line in printed.splitlines() if line.startswith("  step")]
    assert len(lines) == 4, "steps 1, 2, 4 and 5"
    for name in ("forecast", "reconstruction", "persistence"):
        error = facts[f"{name}_mse"][-1]
        assert f"{name} {-10 * np.log10(error):.1f} ({error:.5f})" in lines[-1]
    assert [len(facts[f"{name}_mse"]) for name in ("forecast", "reconstruction", "persistence")] == [5, 5, 5]
    assert facts["reconstruction_psnr_db"] > 8
    with av.open(str(folder / "forecast.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 6
    for name in ("reconstruction.png", "dream.png"):
        picture = cv2.imread(str(folder / name))
        assert picture is not None and picture.std() > 5
    sheet = cv2.imread(str(folder / "reconstruction.png"))
    width = tile(np.zeros((16, 16, 3), np.uint8)).shape[1]
    assert sheet is not None and sheet.shape[1] == 6 * width
    head = heads([f"step {k}: {k * 0.4:.2g} s" if k else "step 0: now" for k in range(6)], width)
    assert np.array_equal(sheet[: len(head), :, ::-1], head), "the columns are numbered"
    assert {name: (folder / name).read_bytes() for name in before} == before, "the model did not change"
    decoder = (folder / "decoder.safetensors").read_bytes()
    assert run(cli, "brain", [*command, "--decoder-steps", "9"]) == 0
    assert (folder / "decoder.safetensors").read_bytes() == decoder, "trained once"
    capsys.readouterr()
    for kind, problem in (("conv", "is a decoder mlp, not conv: delete it"), ("grid", "does not read the latents")):
        assert run(cli, "brain", [*command, "--decoder", kind]) == 2
        error = capsys.readouterr().err
        assert problem in error and error.count("\n") == 1
    (folder / "decoder.safetensors").unlink()
    assert run(cli, "brain", [*command, "--decoder", "conv", "--decoder-steps", "1"]) == 0
    assert checkpoint.read_facts(folder / "decoder.safetensors")["decoder"] == "conv"


def test_a_decoder_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    """Files name their decoder; those that name none hold what vectors and large frames had then."""
    spec = StoreSpec(world="x", frame_shape=(40, 40, 1), action_dim=1, control_rate=10)
    model = WorldModel(recipes.load("car-racing", ["encoder.dim=12", "encoder.width=16"]), spec)
    folder = Run(tmp_path)
    z = torch.randn(2, *model.latent_shape)
    for kind, facts in (("conv", {}), ("conv", {"decoder": "conv"}), ("sub-pixel", {"decoder": "sub-pixel"})):
        decoder = make_decoder(model.space, spec.frame_shape, kind).eval()
        checkpoint.save(folder.decoder, checkpoint.state(model=decoder), facts)
        assert torch.equal(load_decoder(folder, model)(z), decoder(z))
    folder.decoder.unlink()
    decoder = make_decoder(model.space, spec.frame_shape, "conv")
    checkpoint.save(folder.checkpoint("decoder"), checkpoint.state(model=decoder), {"step": 3})
    assert kind_of_run(folder, model, None) == "conv", "half trained by an earlier version, it resumes"
    folder.checkpoint("decoder").unlink()
    assert kind_of_run(folder, model, None) == decoder_kind(model.space, spec.frame_shape) == "sub-pixel"
    assert decoder_kind(model.space, (16, 16, 1)) == "mlp"
