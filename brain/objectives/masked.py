"""Masked prediction on clips: what the encoder has not seen of a video is predicted in feature space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, field_validator
from torch import Tensor, nn

from brain.data.observations import stacked, to_device, video
from brain.data.windows import Batch
from brain.distributed import gathered, mine, world_size
from brain.distributed import mean as mean_over_ranks
from brain.models.encoders.base import Encoder
from brain.models.encoders.video import VideoObserver, VideoOptions, whole_heads
from brain.models.predictors.masked import MaskedPredictor
from brain.objectives.base import Regularised, RegularisedOptions, Terms
from brain.objectives.collapse import temporal_std
from brain.objectives.target import EMATarget
from brain.recipes.schema import Recipe, Section

RATES = (2, 4)
"""Of ``multirate``: the context is every second or every fourth time."""


class MaskedPredictorOptions(Section):
    kind: Literal["transformer"] = Field("transformer", description="its one kind")
    width: int = Field(256, ge=4, description="width of all blocks, a head for each 64")
    depth: int = Field(2, ge=1, le=32, description="blocks")

    _whole_heads = field_validator("width")(whole_heads)


class MaskedOptions(RegularisedOptions):
    target: Literal["ema"] = Field("ema", description="what is predicted: features of a moving average of the encoder")
    momentum: float = Field(0.99, ge=0, le=1, description="share of the average kept at each step, at the start")
    momentum_end: float = Field(0.99, ge=0, le=1, description="the same at the end; a cosine between")
    clip: tuple[int, ...] = Field(
        (8,), min_length=1, description="frames of a clip, one length for each equal share of the training"
    )
    masks: tuple[Literal["future", "dropout", "multirate"], ...] = Field(
        ("future", "dropout", "multirate"),
        min_length=1,
        description="what the encoder sees of a clip, drawn for each batch. future = its first times; dropout "
        "= random ones; multirate = every second or fourth",
    )
    standardise: Literal["token", "place"] = Field(
        "token",
        description="over what the targets have mean 0 and std 1. token = the channels of each token; place = "
        "the clips of a batch, for each time, place and channel: positions, alike in all clips, are taken out",
    )
    predictor: MaskedPredictorOptions = Field(
        default_factory=lambda: MaskedPredictorOptions(), description="trained jointly"
    )


class Masked(Regularised):
    """invariance * smooth L1(P(E(clip at seen times), hidden times), standardised(T(clip)) at hidden times)
    + variance * V + covariance * C + sigreg * S.

    E is the encoder's transformer, which computes the seen times alone; P a transformer with a query for each hidden
    time and place; T the moving average of E, which sees the whole clip and gets no gradient. Bardes et al. 2024,
    "Revisiting Feature Prediction for Learning Visual Representations from Video", section 3, and Assran et al. 2025,
    "V-JEPA 2: Self-Supervised Video Models Enable Understanding, Prediction and Planning", section 2.1, with masks over
    time instead of boxes and the smooth L1 distance instead of L1. Targets are normalised, as in Baevski et al. 2022,
    "data2vec", section 3.3: each token (LayerNorm), or each channel over the clips of the batch, for every time and
    place by itself (data2vec's released code can do so over clips and times together, ``batch_norm_target_layer``).
    With the former, what varies most between targets is where they lie, which the predictor is told.

    V, C and S see the latents of each clip's first observation, which alone train the encoder's head. Clips grow by
    the share of the training that is done. Actions are not read. The log has the temporal collapse of the
    targets (``brain.objectives.collapse.temporal_std``).
    """

    Options = MaskedOptions
    options: MaskedOptions

    def __init__(self, options: MaskedOptions, encoder: Encoder, action_dim: int) -> None:
        super().__init__(options, encoder, action_dim)
        assert isinstance(encoder, VideoObserver)
        self.steps = max(options.clip) - self.stack
        self.predictor = MaskedPredictor(encoder.video.size.width, options.predictor.width, options.predictor.depth)
        self.fraction: Tensor
        self.register_buffer("fraction", torch.zeros(()))  # a checkpoint keeps it, so that resuming changes no clip
        self._fraction = 0.0  # the same, known without waiting for a GPU
        self.register_load_state_dict_post_hook(_read_fraction)
        self.ema: EMATarget | None = None

    @classmethod
    def check(cls, options: Any, recipe: Recipe) -> None:
        super().check(options, recipe)
        if not isinstance(recipe.encoder, VideoOptions):
            raise ValueError("objective.views masked needs an encoder of clips: set encoder.kind=video")
        tubelet, stack, clip = recipe.encoder.tubelet, recipe.observation.stack, options.clip
        if any(frames % tubelet or frames < 2 * tubelet for frames in clip):
            raise ValueError(f"every objective.clip must be 2 or more times encoder.tubelet {tubelet} (got {clip})")
        if max(clip) < stack:
            raise ValueError(f"the longest objective.clip {max(clip)} must hold observation.stack {stack} frames")

    def begin(self, encoder: nn.Module) -> None:
        self.ema = EMATarget(encoder, self.options.momentum, self.options.momentum_end)

    def after_step(self, encoder: nn.Module, fraction: float) -> None:
        assert self.ema is not None
        self.ema.update(encoder, fraction)
        self.fraction.fill_(fraction)
        self._fraction = float(torch.tensor(fraction))  # rounded to float32, as a checkpoint has it

    def kept(self, encoder: nn.Module) -> dict[str, nn.Module]:
        assert self.ema is not None
        return {"model": self.ema.encoder}

    def forward(self, encoder: nn.Module, batch: Batch, generator: torch.Generator) -> Terms:
        assert isinstance(encoder, VideoObserver) and self.ema is not None
        size = encoder.video.size
        clip = video(batch.frames[:, : clip_frames(self.options.clip, self._fraction)])
        kinds = self.options.masks
        kind = kinds[int(torch.randint(len(kinds), (), generator=generator))]
        masks = mask(kind, len(clip) * world_size(), clip.shape[1] // size.time, generator)
        seen, hidden = (to_device(mine(times), clip.device) for times in masks)
        with torch.no_grad():
            features = self.ema.encoder.video(clip).float()  # type: ignore[operator]  # a VideoObserver's
        target = at_times(standardised(features, self.options.standardise), hidden)
        grid = (-(-clip.shape[3] // size.side), -(-clip.shape[4] // size.side))
        predicted = self.predictor(encoder.video(clip, seen), seen, hidden, grid).float()
        z = encoder(stacked(batch.frames[:, : self.stack], self.stack)).float()
        loss, parts = self.regularised(self.expander(z), generator=generator)
        parts["prediction"] = F.smooth_l1_loss(predicted, target)
        parts["std_in_time"], parts["std_over_clips"] = temporal_std(gathered(features.mean(2)))
        return Terms(loss + self.options.invariance * parts["prediction"], parts, z)


def _read_fraction(objective: nn.Module, _: object) -> None:
    assert isinstance(objective, Masked)
    objective._fraction = float(objective.fraction)


def clip_frames(lengths: Sequence[int], fraction: float) -> int:
    """The curriculum: which of ``lengths`` it is when ``fraction`` of the training is done, each for an equal share."""
    return lengths[min(int(fraction * len(lengths)), len(lengths) - 1)]


def at_times(tokens: Tensor, times: Tensor) -> Tensor:
    """(B, T, S, D) at the times int64 (B, M): (B, M, S, D)."""
    return tokens.gather(1, times[:, :, None, None].expand(-1, -1, *tokens.shape[2:]))


def standardised(features: Tensor, over: str) -> Tensor:
    """Features (B, T, S, D) to mean 0 and variance 1: ``token``, over D; ``place``, over B, B >= 2, that of all
    processes together."""
    if over == "token":
        return F.layer_norm(features, features.shape[-1:])
    if world_size() == 1:
        variance, mean = torch.var_mean(features, 0, correction=0)
    else:
        mean = mean_over_ranks(features.mean(0))
        variance = mean_over_ranks((features - mean).square().mean(0))
    return (features - mean) / (variance + 1e-5).sqrt()


def mask(kind: str, batch: int, times: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Seen and hidden times of each clip, int64 (batch, K) and (batch, times - K), ascending, 0 < K < times.

    ``future``: the first K are seen. ``dropout``: K random ones, others in each clip. ``multirate``: every second or
    fourth, from the same random one on in each clip. K is drawn evenly for the first two.
    """
    seen = torch.zeros(batch, times, dtype=torch.bool)
    if kind == "multirate":
        rates = [rate for rate in RATES if rate <= times]
        rate = rates[int(torch.randint(len(rates), (), generator=generator))]
        seen[:, int(torch.randint(rate, (), generator=generator)) :: rate] = True
    else:
        count = int(torch.randint(1, times, (), generator=generator))
        if kind == "future":
            seen[:, :count] = True
        else:
            seen.scatter_(1, torch.rand(batch, times, generator=generator).argsort(1)[:, :count], True)
    return seen.nonzero()[:, 1].view(batch, -1), (~seen).nonzero()[:, 1].view(batch, -1)
