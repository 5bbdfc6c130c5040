"""stable-worldmodel's LeWM (``scripts/train/lewm.py``) for ``benchmarks.peers``: its loop, and its network in ours.

Its ``run`` is called as it is, on the CPU: its HDF5 data set and ``DataLoader``, transforms, LeWM's loss, AdamW, its
trainer. Only options of its configuration are set. Its vision transformer with projector, and its predictor, become an
encoder and a predictor of ours; the recipe ``lewm`` has its two terms. Both read the same episodes of CarRacing:
ours from a store, it from a file that its own writer made of them.

Ours unrolls its own predictions, three steps one after another; theirs predicts the same three from true embeddings at
once, which costs it less. Its SIGReg has 1,024 directions for each of the four times, ours 256 for all.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.peers_meter import METER, our_loop, our_steps, silence
from benchmarks.training_steps import make_store
from brain import recipes
from brain.models.encoders.base import Encoder, Frames
from brain.models.predictors.base import Predictor
from brain.models.space import LatentSpace
from brain.parts import ENCODERS, PREDICTORS
from brain.recipes.schema import EncoderOptions, PredictorOptions, Recipe
from shared.store.reader import Store

FRAMES, SKIP = 4, 5
"""Of a window, as there: three of the past and the one to predict, five rows apart."""
PATCH = 8

ENCODERS.register("lewm-vit", "benchmarks.peers_stable_worldmodel:TheirViT", "stable-worldmodel's ViT and projector")
PREDICTORS.register("lewm-predictor", "benchmarks.peers_stable_worldmodel:TheirPredictor", "stable-worldmodel's")


@cache
def configuration(checkout: Path, batch: int) -> Any:
    """Their ``lewm.yaml`` for frames of 64x64 on a CPU."""
    hydra = importlib.import_module("hydra")
    settings = [
        "data=tworoom", "data.dataset.name=cars.h5", "subdir=peers", "img_size=64", f"patch_size={PATCH}",
        f"loader.batch_size={batch}", "num_workers=0", "loader.persistent_workers=false", "loader.prefetch_factor=null",
        "loader.pin_memory=false",
        "trainer.accelerator=cpu", "trainer.devices=1", "trainer.precision=32",
        "+trainer.enable_progress_bar=false", "+trainer.enable_model_summary=false",
    ]  # fmt: skip
    with hydra.initialize_config_dir(str(checkout / "scripts/train/config"), version_base=None):
        return hydra.compose("lewm", settings)


def part(name: str, **changes: Any) -> Any:
    """A part of the network that their configuration names."""
    configured = importlib.import_module("omegaconf").OmegaConf.merge(CONFIGURATION[0].model[name], changes)
    return importlib.import_module("hydra").utils.instantiate(configured)


CONFIGURATION: list[Any] = []
"""The one in use."""


def declare_kernels() -> None:
    """Have torchvision import where its compiled part does not load, as beside a torch of another build.

    Its kernels are for detection. The transforms of images, which are all that is measured here, do without.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        for name in ("nms", "qnms"):
            TORCHVISION.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


TORCHVISION = torch.library.Library("torchvision", "FRAGMENT")


class TheirViT(Encoder):
    def __init__(self, options: EncoderOptions, frames: Frames) -> None:
        super().__init__(options, frames)
        self.encoder, self.projector = part("encoder"), part("projector")
        METER.watch(self)

    def forward(self, observation: Tensor) -> Tensor:
        found = self.encoder(observation, interpolate_pos_encoding=True)
        return self.projector(found.last_hidden_state[:, 0])


class TheirPredictor(Predictor):
    def __init__(self, options: PredictorOptions, space: LatentSpace, action_dim: int) -> None:
        super().__init__(options, space, action_dim)
        self.action_encoder = part("action_encoder", input_dim=action_dim)
        self.predictor, self.projector = part("predictor"), part("pred_proj")

    def forward(self, z: Tensor, action: Tensor) -> Tensor:
        return self.rollout(z, action[:, None])[:, 0]

    def rollout(self, z: Tensor, actions: Tensor) -> Tensor:
        """As ``LeWM.rollout``: each step from the last embeddings that the predictor has places for."""
        embeddings, past = self.action_encoder(actions), [z]
        for step in range(actions.shape[1]):
            first = max(0, step + 1 - self.predictor.num_frames)
            found = self.predictor(torch.stack(past[first:], 1), embeddings[:, first : step + 1])
            past.append(self.projector(found[:, -1]))
        return torch.stack(past[1:], 1)


def recipe(batch: int) -> Recipe:
    """``lewm`` with their network, window and rates."""
    return recipes.load(
        "lewm",
        [
            "encoder.kind=lewm-vit", f"encoder.dim={CONFIGURATION[0].embed_dim}", "observation.stack=1",
            f"observation.stride={SKIP}", "objective.predictor.kind=lewm-predictor",
            "prediction.predictor.kind=lewm-predictor", f"objective.rollout={FRAMES - 1}", f"objective.batch={batch}",
            "objective.learning_rate=5e-5", "objective.steps=100000",
        ],
    )  # fmt: skip


def write_hdf5(store: Store, path: Path) -> None:
    """The training episodes as their writer lays them out; ``proprio`` is the true state."""
    writer = importlib.import_module("stable_worldmodel.data.formats.hdf5").HDF5Writer
    columns = {"frame": "pixels", "action": "action", "state": "proprio"}
    with writer(path) as file:
        for ref in store.episodes:
            if ref.split == "train":
                fields = store.read_episode(ref, *columns)
                file.write_episode({name: np.asarray(fields[field]) for field, name in columns.items()})


def their_loop(checkout: Path, ready: bool) -> None:
    """Their ``run``; ``ready``: every item of the data set is one that is there, and only put together to batches."""
    spec = importlib.util.spec_from_file_location("lewm_script", checkout / "scripts/train/lewm.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    instantiate, data = script.hydra.utils.instantiate, importlib.import_module("stable_worldmodel.data")
    read, kept = data.HDF5Dataset.__getitem__, dict[int, Any]()

    def model(*arguments: Any, **settings: Any) -> Any:
        made = instantiate(*arguments, **settings)
        METER.watch(made.encoder)
        return made

    def item(dataset: Any, number: int) -> Any:
        if not kept:
            kept[0] = read(dataset, number)
        return dict(kept[0])

    script.hydra.utils.instantiate = model
    if ready:
        data.HDF5Dataset.__getitem__ = item
    try:
        configured = importlib.import_module("copy").deepcopy(CONFIGURATION[0])
        script.run(configured)
    finally:
        script.hydra.utils.instantiate, data.HDF5Dataset.__getitem__ = instantiate, read


def loops(checkout: Path, folder: Path, batch: int) -> tuple[int, dict[str, Callable[[], object]]]:
    """Images of a step, and the training loops: whole and on a batch that is there, ours before theirs."""
    sys.path.insert(0, str(checkout))
    os.environ["STABLEWM_HOME"] = str(folder / "stable-worldmodel")
    with silence():
        declare_kernels()
        CONFIGURATION[:] = [configuration(checkout, batch)]
        store = make_store(folder / "car-racing", "car-racing", 8000)
        (folder / "stable-worldmodel" / "datasets").mkdir(parents=True)
        write_hdf5(Store(store), folder / "stable-worldmodel" / "datasets" / "cars.h5")
    ours = recipe(batch)
    return batch * FRAMES, {
        "ours": lambda: our_loop(ours, store),
        "stable-worldmodel": lambda: their_loop(checkout, False),
        "ours, on one batch": lambda: our_steps(ours, store),
        "stable-worldmodel, on one batch": lambda: their_loop(checkout, True),
    }
