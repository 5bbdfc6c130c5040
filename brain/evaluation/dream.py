"""Decoded forecasts of test episodes and their pixel errors."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from brain.data.sampling import evenly
from brain.data.state_mode import pictures
from brain.data.windows import Timing
from brain.models.decoders.trained import decode
from brain.models.world_model import WorldModel
from brain.runs.folder import Run, write_whole
from shared.errors import TinyJEPAError
from shared.store.reader import Store
from shared.store.schema import EpisodeRef


@dataclass(frozen=True)
class Dream:
    """An episode: its true frames, the forecast from its first observation, and reconstructions from its latents.

    All uint8 (K + 1, H, W, C), one model step apart; index 0 is the present, where the forecast starts.
    """

    episode: EpisodeRef
    truth: np.ndarray
    forecast: np.ndarray
    reconstruction: np.ndarray

    def errors(self) -> dict[str, np.ndarray]:
        """Mean squared error per step 1..K, pixels in [0, 1]: forecast, reconstruction, and persistence."""
        truth = self.truth[1:] / 255.0
        shown = {
            "forecast": self.forecast[1:],
            "reconstruction": self.reconstruction[1:],
            "persistence": self.truth[:1],
        }
        return {name: ((frames / 255.0 - truth) ** 2).mean((1, 2, 3)) for name, frames in shown.items()}


@torch.no_grad()
def dream(model: WorldModel, decoder: nn.Module, store: Store, ref: EpisodeRef, steps: int, start: int) -> Dream:
    """Forecast ``steps`` model steps of an episode from row ``start``, given the past and the actions."""
    timing = Timing.of(model.recipe.observation)
    data = store.read_episode(ref, "frame", "action")
    now = np.array([start])
    rows = timing.window(now, steps)[0]
    frames = torch.from_numpy(data["frame"][rows])[None]
    actions = torch.from_numpy(timing.chunks(data["action"], now, steps)).to(model.device)
    assert rows[0] >= 0
    z = model.encode(frames)[0]
    future = torch.cat([z[:1], model.dynamics.rollout(z[:1], actions)[0]])
    truth = pictures(store, ref.stream, ref.first, ref.first + ref.rows)[rows[timing.stack - 1 :]]
    return Dream(ref, truth, decode(decoder, future), decode(decoder, z))


def long_enough(model: WorldModel, store: Store, steps: int) -> list[EpisodeRef]:
    """Test episodes that hold an observation and ``steps`` model steps. Raises ``TinyJEPAError`` if there are none."""
    rows = Timing.of(model.recipe.observation).rows(steps)
    fitting = [ref for ref in store.split("test") if ref.rows >= rows]
    if not fitting:
        raise TinyJEPAError(
            f"{store.path}: no test episode has {rows} rows for {steps} model steps: lower --steps, or collect more"
        )
    return fitting


def dreams(model: WorldModel, decoder: nn.Module, store: Store, count: int, steps: int) -> list[Dream]:
    """Forecasts of evenly spread test episodes that are long enough. Raises ``TinyJEPAError`` if there are none."""
    timing = Timing.of(model.recipe.observation)
    chosen = evenly(long_enough(model, store, steps), count)
    return [
        dream(model, decoder, store, ref, steps, timing.history + (ref.rows - timing.rows(steps)) // 2)
        for ref in chosen
    ]


def mean_errors(found: list[Dream]) -> dict[str, np.ndarray]:
    """``Dream.errors`` averaged over episodes: an array (K,) per name."""
    return {name: np.mean([one.errors()[name] for one in found], 0) for name in found[0].errors()}


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error of pixels in [0, 1]; at most 120."""
    return -10 * math.log10(max(mse, 1e-12))


def write_figures(run: Run, found: list[Dream], step_seconds: float) -> dict[str, Any]:
    """Write ``dream.json`` (mean squared errors by step, PSNR of the reconstruction in dB) and return its content."""
    errors = mean_errors(found)
    facts: dict[str, Any] = {
        "episodes": len(found),
        "seconds_per_step": step_seconds,
        "reconstruction_psnr_db": psnr(float(errors["reconstruction"].mean())),
        **{f"{name}_mse": [round(float(value), 8) for value in values] for name, values in errors.items()},
    }
    write_whole(run.path / "dream.json", json.dumps(facts, indent=1) + "\n")
    return facts
