"""Training the decoder of a run on frozen latents; the model itself does not change."""

from __future__ import annotations

import contextlib

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brain.data.loader import Stream
from brain.data.state_mode import StateStore, picture_shape, pictures
from brain.data.windows import Timing
from brain.models.decoders.trained import kind_of_run, load_decoder, make_decoder
from brain.models.world_model import WorldModel
from brain.runs import checkpoint
from brain.runs.folder import Run
from brain.training.loop import Budget, Loop
from shared.store.reader import Store

BATCH = 32
MEAN_BATCHES = 30
"""Batches whose mean frame a decoder starts from."""
PICTURES = 6000
"""Number of frames on which a decoder is trained if the encoder sees states."""


def train_decoder(
    run: Run, model: WorldModel, store: Store, steps: int, seed: int, kind: str | None = None, *, quiet: bool
) -> nn.Module:
    """Fit a decoder to the frozen latents of training episodes, and write ``decoder.safetensors``.

    It draws the picture at the newest frame of an observation, in mode state too. Resumes from its checkpoint; one
    that is finished is reused. ``kind`` is a registered decoder, None: the usual one (``decoder_kind``). Raises
    ``TinyJEPAError`` where it reads no such latents, or where the run has one of another kind.
    """
    kind = kind_of_run(run, model, kind)
    if run.decoder.exists():
        return load_decoder(run, model)
    torch.manual_seed(seed)
    decoder = make_decoder(model.space, picture_shape(model.spec), kind).to(model.device)
    peak = decoder.LEARNING_RATE
    optimizer = torch.optim.AdamW(decoder.parameters(), peak, weight_decay=0)
    examples: _Sampled | _Streamed
    examples = _Sampled(model, store, seed) if isinstance(store, StateStore) else _Streamed(model, store, seed)
    with contextlib.closing(examples):
        loop = Loop(
            run, "decoder", Budget(steps=steps), {"model": decoder}, optimizer, peak=peak, quiet=quiet,
            extra=lambda step: {"decoder": kind},
        )  # fmt: skip
        if loop.step == 0:
            batches = [examples.batch(number)[1].float().mean(0) for number in range(MEAN_BATCHES)]
            decoder.begin(torch.stack(batches).mean(0) / 255)
        for step in loop:
            z, shown = examples.batch(step)
            loss = drawing_loss(decoder(z), shown.float() / 255)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            if loop.due:
                loop.log(loss=loss)
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
    """Training examples if the encoder sees frames."""

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
    """Training examples if it sees states: frames evenly spread over the training episodes, held in memory."""

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
