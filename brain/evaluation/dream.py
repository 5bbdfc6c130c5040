"""What the model thinks will happen, made visible: a decoder on frozen latents, and decoded rollouts beside reality."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brain.data.loader import Stream
from brain.data.sampling import evenly, spread
from brain.data.state_mode import StateStore, picture_shape, pictures
from brain.data.windows import Timing
from brain.models.decoders.base import Decoder
from brain.models.space import LatentSpace
from brain.models.world_model import WorldModel
from brain.parts import DECODERS
from brain.runs import checkpoint
from brain.runs.folder import Run, write_whole
from brain.training.loop import Budget, Loop
from shared.errors import TinyJEPAError
from shared.store.reader import Store
from shared.store.schema import EpisodeRef
from shared.video import grid, heads, labelled, tile, write_video

SMALL_FRAME = 32 * 32
"""Pixels up to which the decoder is an MLP."""
BATCH = 32
SHEET_STEPS = 8
PICTURES = 6000
"""Pictures that a decoder is trained on where the encoder sees none."""


@dataclass(frozen=True)
class Dream:
    """One episode as it was, as the model foretold it from its first observation, and as its latents show it.

    All uint8 (K + 1, H, W, C), one model step apart; index 0 is the present, where the forecast starts.
    """

    episode: EpisodeRef
    truth: np.ndarray
    forecast: np.ndarray
    reconstruction: np.ndarray

    def errors(self) -> dict[str, np.ndarray]:
        """Mean squared error per step 1..K, pixels in [0, 1]: forecast, reconstruction, and the present kept still."""
        truth = self.truth[1:] / 255.0
        shown = {
            "forecast": self.forecast[1:],
            "reconstruction": self.reconstruction[1:],
            "persistence": self.truth[:1],
        }
        return {name: ((frames / 255.0 - truth) ** 2).mean((1, 2, 3)) for name, frames in shown.items()}


def make_decoder(space: LatentSpace, frame_shape: tuple[int, int, int]) -> Decoder:
    """Standardised latents (N, *space.shape) to frames (N, H, W, C) in [0, 1]."""
    kind = "mlp" if frame_shape[0] * frame_shape[1] <= SMALL_FRAME else "conv"
    if space.grid is not None:
        kind = "grid"
    decoder: Decoder = DECODERS.get(kind)(space, frame_shape)
    return decoder


def load_decoder(run: Run, model: WorldModel) -> nn.Module:
    """The run's trained decoder. Raises ``TinyJEPAError`` where there is none."""
    decoder = make_decoder(model.space, picture_shape(model.spec)).to(model.device)
    tensors, _ = checkpoint.load(run.decoder)
    checkpoint.restore(run.decoder, decoder, tensors, "model")
    return decoder.eval()


def train_decoder(run: Run, model: WorldModel, store: Store, steps: int, seed: int, *, quiet: bool) -> nn.Module:
    """Fit a decoder to the frozen latents of training episodes, and write ``decoder.safetensors``.

    It draws the picture at the newest frame of an observation, in mode state too. Continues from its checkpoint; one
    that is finished is reused.
    """
    if run.decoder.exists():
        return load_decoder(run, model)
    torch.manual_seed(seed)
    decoder = make_decoder(model.space, picture_shape(model.spec)).to(model.device)
    peak = decoder.LEARNING_RATE
    optimizer = torch.optim.AdamW(decoder.parameters(), peak, weight_decay=0)
    examples: _Sampled | _Streamed
    examples = _Sampled(model, store, seed) if isinstance(store, StateStore) else _Streamed(model, store, seed)
    loop = Loop(run, "decoder", Budget(steps=steps), {"model": decoder}, optimizer, peak=peak, quiet=quiet)
    for step in loop:
        z, shown = examples.batch(step)
        loss = drawing_loss(decoder(z), shown.float() / 255)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if loop.due:
            loop.log(loss=loss)
    examples.close()
    checkpoint.save(run.decoder, checkpoint.state(model=decoder), loop.facts())
    run.checkpoint("decoder").unlink(missing_ok=True)
    return decoder.eval()


def drawing_loss(drawn: Tensor, frames: Tensor) -> Tensor:
    """Cross-entropy of brightness, both (N, H, W, C) in [0, 1]; each channel as a share of what its mean would give.

    Like the squared error it is least at the expected picture, but a wrong black pixel keeps its gradient: under the
    squared error a decoder of mostly black frames stays black. The share makes a channel with one small dot count as
    much as a channel of walls.
    """
    mean = frames.mean((0, 1, 2)).clamp(1e-4, 1 - 1e-4)
    entropy = F.binary_cross_entropy(mean, mean, reduction="none")
    return (F.binary_cross_entropy(drawn, frames, reduction="none").mean((0, 1, 2)) / entropy).mean()


class _Streamed:
    """Examples for a decoder where the encoder sees pictures."""

    def __init__(self, model: WorldModel, store: Store, seed: int) -> None:
        observation = model.recipe.observation
        self._model = model
        self._stream = Stream(
            store, "train", stack=observation.stack, stride=observation.stride, steps=0, batch=BATCH, seed=seed,
            device=model.device,
        )  # fmt: skip

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        """Standardised latents (B, D) and the pictures they stand for, uint8 (B, H, W, C)."""
        frames = self._stream.batch(number).frames
        return self._model.encode(frames)[:, 0], frames[:, -1]

    def close(self) -> None:
        self._stream.close()


class _Sampled:
    """Examples where it sees coordinates: pictures evenly spread over the training episodes, held in memory."""

    def __init__(self, model: WorldModel, store: Store, seed: int) -> None:
        timing = Timing.of(model.recipe.observation)
        refs = [ref for ref in store.split("train") if ref.rows >= timing.rows(0)]
        every = max(1, sum(ref.rows - timing.history for ref in refs) // PICTURES)
        latents, shown = [], []
        for number, ref in enumerate(refs):
            rows = np.arange(timing.history + number % every, ref.rows, every)
            if len(rows) == 0:
                continue
            frames = store.read_episode(ref, "frame")["frame"]
            latents.append(model.encode(torch.from_numpy(frames[timing.window(rows)]))[:, 0])
            shown.append(torch.from_numpy(pictures(store, ref.stream, ref.first, ref.first + ref.rows)[rows]))
        self._latents, self._pictures, self._seed = torch.cat(latents), torch.cat(shown), seed

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        """The same, drawn by (seed, number)."""
        rows = torch.from_numpy(np.random.default_rng([self._seed, number]).integers(len(self._latents), size=BATCH))
        return self._latents[rows.to(self._latents.device)], self._pictures[rows].to(self._latents.device)

    def close(self) -> None:
        """Nothing is open."""


@torch.no_grad()
def decode(decoder: nn.Module, z: Tensor) -> np.ndarray:
    """Standardised latents (N, D) to uint8 (N, H, W, C)."""
    return (decoder(z) * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()


@torch.no_grad()
def dream(model: WorldModel, decoder: nn.Module, store: Store, ref: EpisodeRef, steps: int, start: int) -> Dream:
    """Foretell ``steps`` model steps of an episode from row ``start``, seeing only what came before and the actions."""
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
    """The test episodes that hold an observation and ``steps`` model steps; raises ``TinyJEPAError`` without any."""
    rows = Timing.of(model.recipe.observation).rows(steps)
    fitting = [ref for ref in store.split("test") if ref.rows >= rows]
    if not fitting:
        raise TinyJEPAError(
            f"{store.path}: no test episode has {rows} rows for {steps} model steps: lower --steps, or collect more"
        )
    return fitting


def dreams(model: WorldModel, decoder: nn.Module, store: Store, count: int, steps: int) -> list[Dream]:
    """Of evenly spread test episodes that are long enough; raises ``TinyJEPAError`` when there is none."""
    timing = Timing.of(model.recipe.observation)
    chosen = evenly(long_enough(model, store, steps), count)
    return [
        dream(model, decoder, store, ref, steps, timing.history + (ref.rows - timing.rows(steps)) // 2)
        for ref in chosen
    ]


def write_dreams(run: Run, found: list[Dream], step_seconds: float, shown: int) -> list[Path]:
    """``forecast.mp4``, ``reconstruction.png``, ``dream.png`` and ``dream.json`` into the run folder."""
    errors = {name: np.mean([one.errors()[name] for one in found], 0) for name in found[0].errors()}
    files = [run.path / name for name in ("forecast.mp4", "reconstruction.png", "dream.png", "dream.json")]
    write_video(files[0], _pictures(found[:shown], step_seconds), min(1 / step_seconds, 25.0) / 2)
    sheet = _sheet(found[:shown], step_seconds)
    if not cv2.imwrite(str(files[1]), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)):
        raise TinyJEPAError(f"cannot write {files[1]}: check the path, its rights and free space")
    _curve(errors, step_seconds, files[2])
    facts: dict[str, Any] = {
        "episodes": len(found),
        "seconds_per_step": step_seconds,
        "reconstruction_psnr_db": -10 * math.log10(max(float(errors["reconstruction"].mean()), 1e-12)),
        **{f"{name}_mse": [round(float(value), 8) for value in values] for name, values in errors.items()},
    }
    write_whole(files[3], json.dumps(facts, indent=1) + "\n")
    return files


def _pictures(found: list[Dream], step_seconds: float) -> Iterator[np.ndarray]:
    """The video's pictures: a row per episode, truth, forecast and reconstruction, with the error so far."""
    curves = [one.errors() for one in found]
    for k in range(len(found[0].truth)):
        tiles = []
        for one, error in zip(found, curves):
            names = [f"truth, {k * step_seconds:.1f} s"]
            for name in ("forecast", "reconstruction"):
                names.append(f"{name}, {error[name][k - 1]:.4f}" if k else name)
            clips = (one.truth, one.forecast, one.reconstruction)
            tiles += [labelled(tile(clip[k]), name) for clip, name in zip(clips, names)]
        yield grid(tiles, 3)


def _sheet(found: list[Dream], step_seconds: float) -> np.ndarray:
    """Truth, reconstruction and forecast, evenly spread over each clip; the head numbers the model steps."""
    rows: list[np.ndarray] = []
    for one in found:
        times = spread(len(one.truth), SHEET_STEPS)
        if not rows:
            texts = [f"step {k}: {k * step_seconds:.2g} s" if k else "step 0: now" for k in times.tolist()]
            rows.append(heads(texts, tile(one.truth[0]).shape[1]))
        for clip, name in ((one.truth, "truth"), (one.reconstruction, "reconstruction"), (one.forecast, "forecast")):
            strip = np.concatenate([tile(clip[k]) for k in times], 1)
            rows.append(labelled(strip, f"{name}, episode {one.episode.index}"))
    return np.concatenate(rows, 0)


def _curve(errors: dict[str, np.ndarray], step_seconds: float, file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axes = figure.add_subplot()
    styles = {
        "forecast": ("#c2410c", "forecast"),
        "reconstruction": ("#15803d", "reconstruction"),
        "persistence": ("#737373", "persistence (the present kept)"),
    }
    for name, values in errors.items():
        colour, label = styles[name]
        axes.plot(np.arange(1, len(values) + 1) * step_seconds, values, color=colour, label=label)
    axes.set(xlabel="seconds after the last frame seen", ylabel="mean squared pixel error", yscale="log")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(file, dpi=130)
