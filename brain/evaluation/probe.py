"""What a frozen encoder knows of the world's true state: linear and MLP probes, with floors and a ceiling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brain.data.observations import full_scale, stacked
from brain.data.states import ANGLES, columns, targets
from brain.evaluation.baselines import PCA, encoder_of, pca_width, random_encoder
from brain.evaluation.episodes import Timing, dense
from brain.evaluation.metrics import r2
from brain.evaluation.probes import PENALTIES, Ridge
from brain.models.layers.mlp import mlp
from brain.models.world_model import WorldModel, make_encoder
from shared.errors import TinyJEPAError
from shared.store.reader import Store
from shared.store.schema import Split

SAMPLES: dict[Split, int] = {"train": 6000, "validation": 2000, "test": 4000}
"""Observations of each split, drawn evenly from its episodes."""
PIXEL_SIDE = 16
"""Raw pixels are averaged to this side at most, so that a straight line can be fitted to them."""


@dataclass(frozen=True)
class Sample:
    """Observations of one split and the true states they show."""

    frames: np.ndarray
    """uint8 (N, stack, H, W, C)"""
    states: np.ndarray
    """float32 (N, S)"""


@dataclass(frozen=True)
class Score:
    """How well one probe reads one state on test episodes."""

    r2: float
    """1 is perfect, 0 no better than the mean; of an angle, the mean over its sine and cosine"""
    rmse: float
    """in the state's own unit; of an angle, in radians"""


def probe_run(
    model: WorldModel, store: Store, steps: int, seed: int, say: Callable[[str], None]
) -> dict[str, dict[str, Score]]:
    """Scores by representation, then by state: fitted on train episodes, chosen on validation, scored on test.

    ``linear`` and ``mlp`` read the model's latent. Floors, all linear: ``random-encoder`` (the same network untrained),
    ``pca`` (of the latent's width), ``pixels`` (averaged to 16 a side where larger), ``mean``. Ceiling: ``supervised``,
    the same network trained end to end on the state, ``steps`` optimiser steps like the MLP probe. Raises
    ``TinyJEPAError`` for a world without state columns, or a split without episodes.
    """
    names = store.spec.state_names
    if not names:
        raise TinyJEPAError(f"world {store.spec.world} has no state columns to probe for")
    timing = Timing(model.recipe.observation.stack, model.recipe.observation.stride)
    samples = {split: draw(store, split, timing, count, seed) for split, count in SAMPLES.items()}
    fit = samples["train"].frames
    spaces: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "linear": encoder_of(model),
        "random-encoder": encoder_of(random_encoder(model.recipe, store.spec, fit[:1024], seed, model.device)),
        "pca": PCA(fit[:4000], pca_width(model.space), seed),
        "pixels": _pixels,
    }
    scores: dict[str, dict[str, Score]] = {}
    for space, encode in spaces.items():
        say(f"probing {space}")
        features = {split: _encode(encode, sample.frames) for split, sample in samples.items()}
        scores[space] = _linear(names, features, samples)
        if space == "linear":
            say("probing with an MLP")
            scores["mlp"] = _mlp(names, features, samples, steps, seed)
    mean = samples["train"].states.mean(0)
    scores["mean"] = _score(names, samples["test"].states, lambda name, i: targets(name, mean[i : i + 1]))
    say("training the supervised ceiling")
    scores["supervised"] = _supervised(names, model, samples, steps, seed)
    order = ("linear", "mlp", "mean", "random-encoder", "pca", "pixels", "supervised")
    return {space: scores[space] for space in order}


def test_latents(model: WorldModel, store: Store, seed: int) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
    """Latents (N, D) of test observations, the names of the states they show, and these states (N, S)."""
    timing = Timing(model.recipe.observation.stack, model.recipe.observation.stride)
    sample = draw(store, "test", timing, SAMPLES["test"], seed)
    return _encode(encoder_of(model), sample.frames), store.spec.state_names, sample.states


def draw(store: Store, split: Split, timing: Timing, count: int, seed: int) -> Sample:
    """About ``count`` observations, as many from each episode of the split."""
    refs = [ref for ref in store.split(split) if ref.rows > timing.history]
    if not refs:
        raise TinyJEPAError(f"{store.path}: no {split} episodes to probe with: collect more")
    rng = np.random.default_rng([seed, len(split)])
    frames, states = [], []
    for ref in [refs[i] for i in np.linspace(0, len(refs) - 1, min(len(refs), count)).astype(int)]:
        rows = rng.permutation(dense(ref, timing))[: -(-count // min(len(refs), count))]
        read = store.read_episode(ref, "frame", "state")
        frames.append(read["frame"][timing.window(rows)])
        states.append(read["state"][rows])
    return Sample(np.concatenate(frames), np.concatenate(states))


def _encode(encode: Callable[[np.ndarray], np.ndarray], frames: np.ndarray) -> np.ndarray:
    """Representations (N, D); a grid's cells side by side."""
    parts = [encode(frames[i : i + 256]) for i in range(0, len(frames), 256)]
    return np.concatenate(parts).reshape(len(frames), -1)


def _pixels(frames: np.ndarray) -> np.ndarray:
    """Frames (N, stack, H, W, C) to float32 (N, D); coordinates stay what they are."""
    pixels = torch.from_numpy(frames).flatten(0, 1).permute(0, 3, 1, 2)
    pixels = pixels.float() / full_scale(pixels)
    side = min(PIXEL_SIDE, pixels.shape[2]), min(PIXEL_SIDE, pixels.shape[3])
    small: np.ndarray = F.adaptive_avg_pool2d(pixels, side).reshape(len(frames), -1).numpy()
    return small


def _score(names: Sequence[str], states: np.ndarray, predict: Callable[[str, int], np.ndarray]) -> dict[str, Score]:
    """``predict(name, i)`` gives the prediction of state i as ``targets`` has it: (N, 1) or (N, 2)."""
    scores = {}
    for i, name in enumerate(names):
        truth = targets(name, states[:, i].astype(np.float64))
        guess = np.broadcast_to(predict(name, i), truth.shape)
        error = guess - truth
        if name in ANGLES:
            turned = np.arctan2(guess[:, 0], guess[:, 1]) - states[:, i]
            error = np.arctan2(np.sin(turned), np.cos(turned))
        fitted = float(np.mean([r2(truth[:, j], guess[:, j]) for j in range(truth.shape[1])]))
        scores[name] = Score(fitted, float(np.sqrt(np.mean(error**2))))
    return scores


def _from_columns(names: Sequence[str], states: np.ndarray, guesses: np.ndarray) -> dict[str, Score]:
    starts = np.cumsum([0, *(2 if name in ANGLES else 1 for name in names)])
    return _score(names, states, lambda name, i: guesses[:, starts[i] : starts[i + 1]])


def _linear(names: Sequence[str], features: dict[Split, np.ndarray], samples: dict[Split, Sample]) -> dict[str, Score]:
    """Ridge regression; the penalty of each state is the best on validation episodes."""
    fit = Ridge(features["train"], columns(names, samples["train"].states))
    wanted = columns(names, samples["validation"].states)
    errors = [((fit.predict(features["validation"], p) - wanted) ** 2).mean(0) for p in PENALTIES]
    best = np.argmin(errors, 0)
    tried = [fit.predict(features["test"], p) for p in PENALTIES]
    chosen = np.stack([tried[p][:, j] for j, p in enumerate(best)], 1)
    return _from_columns(names, samples["test"].states, chosen)


def _mlp(
    names: Sequence[str], features: dict[Split, np.ndarray], samples: dict[Split, Sample], steps: int, seed: int
) -> dict[str, Score]:
    """Two hidden layers of 256 on standardised latents."""
    centre, scale = features["train"].mean(0), features["train"].std(0) + 1e-8
    inputs = {split: torch.from_numpy((values - centre) / scale).float() for split, values in features.items()}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = mlp(centre.shape[0], 256, columns(names, samples["test"].states[:1]).shape[1], 2)
    return _regress(names, network, inputs, samples, lambda rows: rows, steps, seed)


def _supervised(
    names: Sequence[str], model: WorldModel, samples: dict[Split, Sample], steps: int, seed: int
) -> dict[str, Score]:
    """The recipe's encoder and a linear map, trained on the true state."""
    outputs = columns(names, samples["test"].states[:1]).shape[1]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = make_encoder(model.recipe, model.spec.frame_shape)
        network = nn.Sequential(encoder, nn.Flatten(), nn.Linear(model.space.size, outputs)).to(model.device)
    inputs = {split: torch.from_numpy(sample.frames) for split, sample in samples.items()}
    stack = model.recipe.observation.stack
    return _regress(
        names, network, inputs, samples, lambda rows: stacked(rows.to(model.device), stack), steps, seed
    )  # fmt: skip


def _regress(
    names: Sequence[str],
    network: nn.Module,
    inputs: dict[Split, Tensor],
    samples: dict[Split, Sample],
    prepare: Callable[[Tensor], Tensor],
    steps: int,
    seed: int,
) -> dict[str, Score]:
    """Train on standardised targets; the weights that were best on validation episodes are scored."""
    wanted = {split: columns(names, sample.states) for split, sample in samples.items()}
    centre, scale = wanted["train"].mean(0), wanted["train"].std(0) + 1e-8
    goals = {split: torch.from_numpy((values - centre) / scale).float() for split, values in wanted.items()}
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    generator = torch.Generator().manual_seed(seed)
    device = next(network.parameters()).device

    @torch.no_grad()
    def run(split: Split) -> Tensor:
        network.eval()
        parts = [network(prepare(part)).float().cpu() for part in inputs[split].split(256)]
        network.train()
        return torch.cat(parts)

    best, kept = float("inf"), {name: value.clone() for name, value in network.state_dict().items()}
    for step in range(1, steps + 1):
        rows = torch.randint(len(inputs["train"]), (64,), generator=generator)
        loss = (network(prepare(inputs["train"][rows])) - goals["train"][rows].to(device)).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % max(steps // 10, 1) == 0:
            error = float((run("validation") - goals["validation"]).square().mean())
            if error < best:
                best, kept = error, {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(kept)
    return _from_columns(names, samples["test"].states, run("test").numpy() * scale + centre)


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
