"""eb_jepa's example ac_video_jepa (two rooms) for ``benchmarks.peers``: its loop, and its network in ours.

Its ``run`` is called as it is, on the CPU: its generator of trajectories, its ``DataLoader``, loss, AdamW, schedule,
probe. Only options of its configuration are set. Its IMPALA encoder and its GRU become an encoder and a predictor of
ours, with its weights' shapes and its operations; the recipe ``pldm`` has its terms and weights. Our store holds whole
trajectories of its generator.
"""

from __future__ import annotations

import importlib
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.peers_meter import METER, our_loop, our_steps, silence
from brain import recipes
from brain.models.encoders.base import Encoder, Frames
from brain.models.predictors.base import Predictor
from brain.models.space import LatentSpace
from brain.parts import ENCODERS, PREDICTORS
from brain.recipes.schema import EncoderOptions, PredictorOptions, Recipe
from shared.store.dataset import create_store
from shared.store.schema import Episode, RunSpec, StoreSpec
from shared.store.writer import StreamWriter

FRAMES = 17
"""Of a window, as there."""
ROWS = 90
"""Of a trajectory."""

ENCODERS.register("eb-jepa-impala", "benchmarks.peers_eb_jepa:Impala", "eb_jepa's IMPALA encoder")
PREDICTORS.register("eb-jepa-gru", "benchmarks.peers_eb_jepa:TheirGRU", "eb_jepa's RNNPredictor")


class Impala(Encoder):
    """Their ``ImpalaEncoder`` as ``main.py`` makes it, for all frames of a batch at once instead of time by time."""

    def __init__(self, options: EncoderOptions, frames: Frames) -> None:
        super().__init__(options, frames)
        theirs = importlib.import_module("eb_jepa.architectures")
        self.network = theirs.ImpalaEncoder(
            width=1, stack_sizes=(16, 32, 32), num_blocks=2, input_channels=frames.shape[0], final_ln=True,
            mlp_output_dim=options.dim, input_shape=frames.shape,
        )  # fmt: skip
        METER.watch(self)

    def forward(self, observation: Tensor) -> Tensor:
        for block in self.network.stack_blocks:
            observation = block(observation)
        return self.network.final_ln(self.network.mlp(F.relu(observation).flatten(1)))


class TheirGRU(Predictor):
    def __init__(self, options: PredictorOptions, space: LatentSpace, action_dim: int) -> None:
        super().__init__(options, space, action_dim)
        theirs = importlib.import_module("eb_jepa.architectures")
        self.network = theirs.RNNPredictor(space.dim, action_dim, final_ln=torch.nn.LayerNorm(space.dim))

    def forward(self, z: Tensor, action: Tensor) -> Tensor:
        return self.network(z[:, :, None, None, None], action[:, :, None]).flatten(1)


def recipe(batch: int) -> Recipe:
    """``pldm`` with their network, window and weights (their covariance is a mean over pairs of dimensions)."""
    return recipes.load(
        "pldm",
        [
            "encoder.kind=eb-jepa-impala", "encoder.dim=512", "observation.stack=1", "observation.stride=1",
            "objective.predictor.kind=eb-jepa-gru", "prediction.predictor.kind=eb-jepa-gru",
            f"objective.rollout={FRAMES - 1}", f"objective.batch={batch}", f"objective.covariance={8 / 511}",
            "objective.gradient_clip=2.0", "objective.steps=100000",
        ],
    )  # fmt: skip


class Ready:
    """In place of their ``DataLoader``: its first batch again and again."""

    def __init__(self, loader: Any) -> None:
        self.dataset, self._length, self._batch = loader.dataset, len(loader), next(iter(loader))

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Any]:
        for _ in range(self._length):
            yield self._batch


def their_loop(checkout: Path, batch: int, ready: bool) -> None:
    """Their ``run``, with batches from their generator or, ``ready``, one batch that is there."""
    main = importlib.import_module("examples.ac_video_jepa.main")
    encoder, init_data = main.ImpalaEncoder, main.init_data

    def data(**settings: Any) -> Any:
        loader, validation, config = init_data(**settings)
        return (Ready(loader) if ready else loader), validation, config

    main.ImpalaEncoder = lambda **settings: METER.watch(encoder(**settings))
    main.init_data = data
    settings = {
        "data.batch_size": batch, "data.num_workers": 0, "data.pin_mem": False, "data.sample_length": FRAMES,
        "model.nsteps": FRAMES - 1, "training.use_amp": False, "meta.enable_plan_eval": False,
        "logging.log_wandb": False, "logging.tqdm_silent": True,
    }  # fmt: skip
    try:
        with tempfile.TemporaryDirectory() as folder:
            main.run(str(checkout / "examples/ac_video_jepa/cfgs/train.yaml"), folder=f"{folder}/run_seed1", **settings)
    finally:
        main.ImpalaEncoder, main.init_data = encoder, init_data


def write_store(path: Path, episodes: int) -> Path:
    """Trajectories of their generator, uint8 (dot, walls), 65x65."""
    data = importlib.import_module("eb_jepa.datasets.utils")
    settings = {"normalize": False, "sample_length": ROWS}
    config = data.update_config_from_yaml(data.WallDatasetConfig, data.load_env_data_config("two_rooms", settings))
    generator = data.WallDataset(config=config)
    size = config.img_size
    spec = create_store(
        path,
        StoreSpec(
            world="eb-jepa-two-rooms", frame_shape=(size, size, 2), action_dim=2, state_names=("x", "y"),
            control_rate=1.0, split="blocks",
        ),
    )  # fmt: skip
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(0)
    with StreamWriter(path, spec, RunSpec(seed=0, policy="theirs", max_episode_steps=ROWS), 0) as writer:
        for index in range(episodes):
            sample = generator[index]
            frames = sample.states.to(torch.uint8).permute(1, 2, 3, 0).contiguous().numpy()
            actions, places = (values.T.contiguous().float().numpy() for values in (sample.actions, sample.locations))
            writer.append(
                Episode(index, index, "theirs", frames, actions, np.zeros(ROWS, np.float32), places, False, True)
            )
    return path


def same_network() -> float:
    """The largest difference between their forward pass and ours, of the same weights and noise."""
    frames = Frames(65, 65, 2)
    ours = Impala(EncoderOptions(kind="eb-jepa-impala", dim=512), frames)
    noise = torch.randn(4, *frames.shape)
    with torch.no_grad():
        theirs = ours.network(noise[:, :, None]).flatten(1)
        fast = ours.to(memory_format=torch.channels_last)(noise.contiguous(memory_format=torch.channels_last))
    return float((theirs - fast).abs().max())


def loops(checkout: Path, folder: Path, batch: int) -> tuple[int, dict[str, Callable[[], object]]]:
    """Images of a step, and the training loops: whole and on a batch that is there, ours before theirs.

    Raises ``RuntimeError`` where the two networks do not compute the same.
    """
    sys.path.insert(0, str(checkout))
    with silence():
        importlib.import_module("examples.ac_video_jepa.main")
        if (difference := same_network()) > 1e-4:
            raise RuntimeError(f"the networks differ by {difference:g}")
        store = write_store(folder / "eb-jepa", max(60, 2 * batch))
    ours = recipe(batch)
    return batch * FRAMES, {
        "ours": lambda: our_loop(ours, store),
        "eb_jepa": lambda: their_loop(checkout, batch, False),
        "ours, on one batch": lambda: our_steps(ours, store),
        "eb_jepa, on one batch": lambda: their_loop(checkout, batch, True),
    }
