"""The public API: light to import, documented, and doing what the README says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import brain
import shared
from brain.models.world_model import WorldModel
from brain.runs.folder import Run
from shared.errors import MissingStoreError, TinyJEPAError
from shared.store.reader import Store
from tests import ROOT

HEAVY = ("torch", "ray", "zarr", "numcodecs", "numpy", "gymnasium", "pydantic", "cv2", "sklearn", "typer", "rich")


@pytest.mark.parametrize("package", ["brain", "factory", "shared"])
def test_importing_a_package_imports_nothing_heavy(package: str) -> None:
    code = (
        f"import sys; before = set(sys.modules); import {package}; new = set(sys.modules) - before\n"
        f"print(sorted(set({HEAVY}) & new), [m for m in new if m.startswith(('brain.', 'factory.', 'shared.'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] []"


@pytest.mark.parametrize("package", [brain, shared], ids=lambda package: package.__name__)
def test_every_public_name_is_documented(package: Any) -> None:
    assert package.__all__ == sorted(package.__all__)
    for name in package.__all__:
        function = getattr(package, name)
        assert "Raises" in function.__doc__ and "return" in function.__annotations__, name


def test_a_loaded_run_encodes_predicts_rolls_out_and_scores(logo: Path) -> None:
    model = brain.load(logo, device="cpu")
    assert isinstance(model, WorldModel) and not model.training
    assert not any(module.training for module in model.modules())
    stack, stride = model.recipe.observation.stack, model.recipe.observation.stride
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(256, (2, 9, *model.spec.frame_shape), dtype=torch.uint8, generator=generator)
    actions = torch.randn(2, 5, stride * model.spec.action_dim, generator=generator)
    z = model.encode(frames)
    assert z.shape[:2] == (2, 10 - stack) and z.dtype == torch.float32
    mean, log_variance = model.predict(z[:, 0], actions[:, 0])
    assert mean.shape == log_variance.shape == z[:, 0].shape and not mean.requires_grad
    future = model.rollout(z[:, 0], actions)
    assert future.shape == (2, 5, *z.shape[2:])
    assert torch.equal(z, brain.load(str(logo), device="cpu").encode(frames))
    for kind in ("scaled", "plain"):
        energy = model.energy(z[:, 0], actions[:, 0], z[:, 1], kind)  # type: ignore[arg-type]
        assert energy.shape == (2,) and (energy >= 0).all()


def test_a_run_loads_without_its_store_once_it_is_judged(logo: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(logo, bare)
    facts = bare / "run.json"
    facts.write_text(facts.read_text().replace(Run(logo).facts()["store"], str(tmp_path / "gone")))
    spec = brain.load(bare, device="cpu").spec
    assert spec == Store(logo.parent / "store").spec
    (bare / "judge.json").unlink()
    with pytest.raises(MissingStoreError, match="gone"):
        brain.load(bare)
    assert brain.load(bare, store=logo.parent / "store", device="cpu").spec == spec


def test_what_cannot_be_loaded_is_refused_in_one_line(logo: Path, dots: Path, tmp_path: Path) -> None:
    for arguments, options, words in (
        (tmp_path / "nothing", {}, "is no run folder"),
        (logo, {"device": "tpu"}, "unknown device 'tpu'"),
        (logo, {"store": dots}, "has world dots"),
    ):
        with pytest.raises(TinyJEPAError, match=words) as raised:
            brain.load(arguments, **options)
        assert "\n" not in str(raised.value)
    with pytest.raises(MissingStoreError):
        shared.open_store(tmp_path / "nothing")
    with pytest.raises(TinyJEPAError, match="Did you mean 'car-racing'"):
        shared.make_world("car-racin")


def test_stores_and_worlds(dots: Path) -> None:
    store = shared.open_store(dots)
    assert isinstance(store, Store) and store.spec.world == "dots"
    world = shared.make_world("bouncing-logo", 32)
    assert isinstance(world, gym.Env)
    observation, _ = world.reset(seed=0)
    assert observation.shape == (32, 32, 1) and observation.dtype == np.uint8
    world.close()


def test_the_example_of_the_readme_runs(logo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = [text for text in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
                if "brain.load" in text]  # fmt: skip
    for name in ("brain.load", "shared.open_store", "shared.make_world", "encode", "predict", "rollout", "energy"):
        assert name in block, name
    code = block.replace("runs/car-racing", str(logo)).replace("data/car-racing", str(logo.parent / "store"))
    found: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), found)
    stack = found["model"].recipe.observation.stack
    assert found["energies"].shape == (found["steps"] + 1 - stack,)
    assert found["future"].shape[:2] == (1, 12)
