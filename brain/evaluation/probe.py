"""Linear and MLP probes of the world's true state on frozen latents, with baselines and an upper bound."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brain.data.observations import full_scale, stacked
from brain.data.sampling import spread
from brain.data.states import States
from brain.device import seeded
from brain.evaluation.probes import Score, linear_probe, score_columns
from brain.evaluation.reward import probe_reward
from brain.evaluation.samples import SPLITS, Samples, draw_samples, representations
from brain.models.latents import embed
from brain.models.layers.mlp import mlp
from brain.models.reward_head import RewardHead
from brain.models.world_model import WorldModel, make_encoder
from brain.training import regression
from shared.errors import TinyJEPAError
from shared.store.reader import Store
from shared.store.schema import Split

FRAMES: dict[Split, int] = {"train": 6000, "validation": 2000, "test": 4000}
"""Observations of each split whose frames train and score the supervised upper bound, evenly spread."""
PIXEL_SIDE = 16
"""Raw pixels are averaged down to at most this side, so that a linear probe can be fitted to them."""
BATCH = 64
"""Batch size of the MLP probe and the upper bound."""


class Probe:
    """A model's latents of a store's samples, and probes of them.

    The samples are those of the judge with the same ``seed``. Raises ``TinyJEPAError`` for a world without state
    columns, and a split without episodes.
    """

    def __init__(self, model: WorldModel, store: Store, seed: int, say: Callable[[str], None]) -> None:
        if not store.spec.state_names:
            raise TinyJEPAError(f"world {store.spec.world} has no state columns to probe for")
        self.model, self.store, self.seed, self._say = model, store, seed, say
        self.states = States.of(store.spec)
        self.samples: Samples = draw_samples(store, model, seed, every=model.recipe.observation.stride)
        encoders = representations(model, store, self.samples, seed) | {"pixels": _pixels}
        self._frames: dict[Split, np.ndarray] = {}
        self._kept: dict[Split, np.ndarray] = {}
        for split in SPLITS:
            say(f"embedding {split} episodes")
            table = self.samples.tables[split]
            observed = table.observed()
            self._kept[split] = observed[spread(len(observed), FRAMES[split])]
            found: list[np.ndarray] = []

            def keep(episode: int, frames: np.ndarray, split: Split = split, found: list[np.ndarray] = found) -> None:
                table = self.samples.tables[split]
                rows = self._kept[split] - table.start[episode]
                rows = rows[(rows >= 0) & (rows < len(frames))]
                found.append(frames[table.timing.window(rows)])

            embed(store, table, encoders, visitors=(keep,))
            self._frames[split] = np.concatenate(found)

    def scores(self, steps: int) -> dict[str, dict[str, Score]]:
        """Scores by representation, then by state: fitted on train episodes, chosen on validation, scored on test.

        ``linear`` and ``mlp`` read the model's latent. Baselines, all linear: ``random-encoder`` (the same network
        untrained), ``pca`` (of the latent's width), ``pixels`` (averaged to 16 a side where larger), ``mean``. Upper
        bound: ``supervised``, the same network trained end to end on the state, ``steps`` optimiser steps like the MLP
        probe.
        """
        scores: dict[str, dict[str, Score]] = {}
        for space, encoded in (
            ("linear", "model"), ("random-encoder", "random-encoder"), ("pca", "pca"), ("pixels", "pixels"),
        ):  # fmt: skip
            self._say(f"probing {space}")
            scores[space] = linear_probe(self.states, *(self.samples.rows(split, encoded) for split in SPLITS))
        self._say("probing with an MLP")
        scores["mlp"] = self._mlp(steps)
        mean = self.states.columns(self.samples.rows("train", "model").states.mean(0, keepdims=True))
        scores["mean"] = score_columns(self.states, self.samples.rows("test", "model").states, mean)
        self._say("training the supervised upper bound")
        scores["supervised"] = self._supervised(steps)
        order = ("linear", "mlp", "mean", "random-encoder", "pca", "pixels", "supervised")
        return {space: scores[space] for space in order}

    def reward(self, steps: int) -> tuple[dict[str, Score], RewardHead] | None:
        """Scores of a model step's reward and the head; None where it does not vary (see ``probe_reward``)."""
        return probe_reward(self.model, self.states, self.samples, steps, self.seed, self._say)

    def _mlp(self, steps: int) -> dict[str, Score]:
        """Two hidden layers of 256 on standardised latents."""
        rows = {split: self.samples.rows(split, "model") for split in SPLITS}
        centre, scale = rows["train"].features.mean(0), rows["train"].features.std(0) + 1e-8
        inputs = {split: torch.from_numpy((rows[split].features - centre) / scale).float() for split in SPLITS}
        with seeded(self.seed):
            network = mlp(len(centre), 256, len(self.states.owner), 2)
        return self._regress(network, inputs, {split: rows[split].states for split in SPLITS}, steps)

    def _supervised(self, steps: int) -> dict[str, Score]:
        """The recipe's encoder and a linear layer, trained end to end on the true state."""
        model = self.model
        with seeded(self.seed):
            encoder = make_encoder(model.recipe, model.spec.frame_shape)
            head = nn.Linear(model.space.size, len(self.states.owner))
            network = nn.Sequential(encoder, nn.Flatten(), head).to(model.device)
        inputs = {split: torch.from_numpy(frames) for split, frames in self._frames.items()}
        states = {split: self.samples.tables[split].state[self._kept[split]] for split in SPLITS}
        stack = model.recipe.observation.stack

        def prepare(frames: Tensor) -> tuple[Tensor]:
            return (stacked(frames.to(model.device), stack),)

        return self._regress(network, inputs, states, steps, prepare)

    def _regress(
        self, network: nn.Module, inputs: dict[Split, Tensor], states: dict[Split, np.ndarray], steps: int,
        prepare: regression.Prepare = lambda rows: (rows,),
    ) -> dict[str, Score]:  # fmt: skip
        """Test scores of a network trained on standardised columns."""
        wanted = {split: self.states.columns(states[split]) for split in SPLITS}
        centre, scale = wanted["train"].mean(0), wanted["train"].std(0) + 1e-8
        goals = {split: torch.from_numpy((wanted[split] - centre) / scale).float() for split in SPLITS}
        regression.fit(
            network, ([inputs["train"]], goals["train"]), ([inputs["validation"]], goals["validation"]),
            steps=steps, batch=BATCH, seed=self.seed, prepare=prepare,
        )  # fmt: skip
        guesses = regression.predict(network, [inputs["test"]], prepare).numpy() * scale + centre
        return score_columns(self.states, states["test"], guesses)


def _pixels(frames: np.ndarray) -> np.ndarray:
    """Frames (N, stack, H, W, C) to float32 (N, D); coordinates are unchanged."""
    pixels = torch.from_numpy(frames).flatten(0, 1).permute(0, 3, 1, 2)
    pixels = pixels.float() / full_scale(pixels)
    side = min(PIXEL_SIDE, pixels.shape[2]), min(PIXEL_SIDE, pixels.shape[3])
    small: np.ndarray = F.adaptive_avg_pool2d(pixels, side).reshape(len(frames), -1).numpy()
    return small


def draw_bars(scores: dict[str, dict[str, Score]], file: Path) -> None:
    """R2 of every representation, a group of bars per state."""
    from matplotlib.figure import Figure

    colours: dict[str, Any] = {
        "linear": "#c2410c", "mlp": "#f59e0b", "random-encoder": "#d4d4d4", "pca": "#a3a3a3", "pixels": "#737373",
        "supervised": "#15803d",
    }  # fmt: skip
    names = list(scores["linear"])
    figure = Figure(figsize=(max(6, 1.1 * len(names) + 2), 3.6), layout="constrained")
    axes = figure.add_subplot()
    for k, (space, colour) in enumerate(colours.items()):
        heights = [max(scores[space][name].r2, 0.0) for name in names]
        axes.bar(np.arange(len(names)) + (k - 2.5) * 0.14, heights, 0.13, color=colour, label=space)
    axes.set_xticks(range(len(names)), names, rotation=20, ha="right")
    axes.set(ylabel="R2 on test episodes (0 where below)", ylim=(0, 1.02))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=6, loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=8)
    figure.savefig(file, dpi=130)
