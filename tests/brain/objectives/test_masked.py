"""The video model: what is seen and what is hidden, who gets a gradient, long and short clips, parts of a batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from brain import recipes
from brain.data.loader import Stream
from brain.data.observations import stacked, video
from brain.data.windows import Batch
from brain.models.encoders.base import Frames
from brain.models.encoders.video import VideoObserver, VideoOptions, sized
from brain.models.layers.video import SIZES
from brain.models.predictors.masked import MaskedPredictor
from brain.models.video_features import encode
from brain.models.world_model import WorldModel
from brain.objectives.base import make_objective
from brain.objectives.collapse import temporal_std
from brain.objectives.masked import Masked, clip_frames, mask, standardised
from brain.recipes.schema import Recipe
from brain.training.encoder import Criterion, backward
from shared.errors import TinyJEPAError
from shared.store.reader import Store

TINY = [
    "observation.stride=1", "encoder.dim=12", "encoder.width=16", "encoder.depth=1", "objective.clip=[4, 8]",
    "objective.predictor.width=16", "objective.predictor.depth=1", "objective.batch=16",
]  # fmt: skip


def tiny(*overrides: str) -> Recipe:
    return recipes.load("video", [*TINY, *overrides])


def made(recipe: Recipe, store: Store) -> tuple[WorldModel, Masked]:
    torch.manual_seed(0)
    model = WorldModel(recipe, store.spec)
    objective = make_objective(recipe, model.encoder, model.action_dim)
    assert isinstance(objective, Masked)
    objective.begin(model.encoder)
    return model, objective


def batch_of(recipe: Recipe, objective: Masked, store: Store) -> Batch:
    size = recipe.objective.batch
    stream = Stream(
        store, "train", stack=recipe.observation.stack, stride=recipe.observation.stride, steps=objective.steps,
        batch=size, seed=0, device=torch.device("cpu"),
    )  # fmt: skip
    try:
        return stream.batch(0)
    finally:
        stream.close()


@pytest.mark.parametrize("times", [2, 3, 8])
@pytest.mark.parametrize("kind", ["future", "dropout", "multirate"])
def test_masks_part_the_times(kind: str, times: int) -> None:
    generator = torch.Generator().manual_seed(0)
    counts, rows = set(), set()
    for _ in range(60):
        seen, hidden = mask(kind, 5, times, generator)
        counts.add(seen.shape[1])
        rows |= {tuple(row) for row in seen.tolist()}
        assert torch.equal(torch.cat([seen, hidden], 1).sort(1).values, torch.arange(times).expand(5, -1))
        assert seen.shape[1] and hidden.shape[1] and all((part.diff() > 0).all() for part in (seen, hidden))
    if kind == "future":
        assert rows == {tuple(range(count)) for count in range(1, times)}
    elif kind == "dropout":
        assert counts == set(range(1, times)) and (times < 8 or len(rows) > 50)
    else:
        rates = [rate for rate in (2, 4) if rate <= times]
        assert rows == {tuple(range(first, times, rate)) for rate in rates for first in range(rate)}


def test_curriculum() -> None:
    shares = [0, 0.33, 0.34, 0.66, 0.67, 0.99, 1.0]
    assert [clip_frames((4, 8, 16), share) for share in shares] == [4, 4, 8, 8, 16, 16, 16]
    assert clip_frames((6,), 0.5) == 6


def test_clips_grow_and_the_share_survives_a_checkpoint(dots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, recipe = Store(dots), tiny()
    model, objective = made(recipe, store)
    batch = batch_of(recipe, objective, store)
    assert batch.frames.shape[1] == 8
    lengths = []
    whole = type(model.encoder.video).forward

    def noted(self: torch.nn.Module, clip: Tensor, keep: Tensor | None = None) -> Tensor:
        lengths.append(clip.shape[1])
        return whole(self, clip, keep)

    monkeypatch.setattr(type(model.encoder.video), "forward", noted)
    objective(model.encoder, batch, torch.Generator().manual_seed(0))
    objective.after_step(model.encoder, 0.6)
    again = made(recipe, store)[1]
    again.load_state_dict(objective.state_dict())
    again(model.encoder, batch, torch.Generator().manual_seed(0))
    assert lengths == [4, 4, 4, 8, 8, 4]  # target, context, the observation of ``stack`` frames


def test_training_lowers_the_loss_and_the_target_only_follows(dots: Path) -> None:
    store = Store(dots)
    recipe = tiny(
        "objective.momentum=0.9", "objective.momentum_end=0.9", "objective.clip=[8]", "objective.standardise=token"
    )
    model, objective = made(recipe, store)
    batch = batch_of(recipe, objective, store)
    assert objective.ema is not None
    target = objective.ema.encoder
    parameters = [p for p in [*model.encoder.parameters(), *objective.parameters()] if p.requires_grad]
    assert not {id(p) for p in target.parameters()} & {id(p) for p in parameters}
    optimizer = torch.optim.AdamW(parameters, 3e-3)
    losses = []
    for step in range(25):
        optimizer.zero_grad()
        terms = backward(Criterion(model.encoder, objective), batch, torch.Generator().manual_seed(1))
        assert all(p.grad is None for p in target.parameters()) and all(p.grad is not None for p in parameters)
        optimizer.step()
        before = target.video.box.weight.clone()
        objective.after_step(model.encoder, step / 25)
        torch.testing.assert_close(target.video.box.weight, 0.9 * before + 0.1 * model.encoder.video.box.weight)
        losses.append(float(terms.loss))
        assert terms.latents.shape == (16, 12) and all(torch.isfinite(part) for part in terms.parts.values())
        assert {"prediction", "std_in_time", "std_over_clips"} <= terms.parts.keys()
    assert losses[-1] < 0.8 * losses[0]
    assert objective.kept(model.encoder) == {"model": target}


def test_hidden_frames_reach_only_the_target(dots: Path) -> None:
    """With the target held, what lies in hidden times changes nothing; what lies in seen ones does."""
    torch.manual_seed(0)
    encoder = VideoObserver(VideoOptions(dim=8, width=8, depth=1), Frames(16, 16, 3, stack=4)).eval()
    predictor = MaskedPredictor(8, 8, 1)
    clip = torch.rand(2, 8, 3, 16, 16) * 2 - 1
    seen, hidden = torch.tensor([[0, 1], [0, 3]]), torch.tensor([[2, 3], [1, 2]])

    def predict(clip: Tensor) -> Tensor:
        return predictor(encoder.video(clip, seen), seen, hidden, (2, 2))

    one = predict(clip)
    assert one.shape == (2, 2, 4, 8) and one.std(1).min() > 0 and one.std(2).min() > 0  # queries differ by time, place
    other = clip.clone()
    other[0, 4:] *= -1
    other[1, 2:6] *= -1
    assert torch.equal(predict(other), one)
    other[1, :2] *= -1
    assert torch.equal(predict(other)[0], one[0]) and not torch.allclose(predict(other)[1], one[1])


@pytest.mark.parametrize("over", ["token", "place"])
def test_the_loss_is_written_out(over: str, dots: Path) -> None:
    """Smooth L1 (Girshick 2015, equation 3) to standardised features at hidden times, number by number."""
    store, recipe = (
        Store(dots),
        tiny("objective.clip=[8]", 'objective.masks=["future"]', f"objective.standardise={over}"),
    )
    model, objective = made(recipe, store)
    batch = batch_of(recipe, objective, store)
    assert objective.ema is not None
    with torch.no_grad():
        torch.nn.init.normal_(objective.ema.encoder.video.box.weight, std=0.3)  # no copy of the encoder any more
        terms = objective(model.encoder, batch, torch.Generator().manual_seed(2))
        generator = torch.Generator().manual_seed(2)
        torch.randint(1, (), generator=generator)  # which kind of mask
        seen, hidden = mask("future", 16, 4, generator)
        context = model.encoder.video(video(batch.frames), seen)
        predicted = objective.predictor(context, seen, hidden, (1, 1)).double().numpy()
        features = objective.ema.encoder.video(video(batch.frames)).double().numpy()
    axis = {"token": 3, "place": 0}[over]
    target = (features - features.mean(axis, keepdims=True)) / np.sqrt(features.var(axis, keepdims=True) + 1e-5)
    error = np.abs(predicted - np.take_along_axis(target, hidden.numpy()[:, :, None, None], 1))
    expected = np.where(error < 1, error**2 / 2, error - 0.5).mean()
    assert float(terms.parts["prediction"]) == pytest.approx(expected, rel=1e-4)
    parts = terms.parts
    loss = parts["prediction"] + recipe.objective.variance * parts["variance"]
    assert float(terms.loss) == pytest.approx(float(loss + recipe.objective.covariance * parts["covariance"]), rel=1e-5)


def test_positions_are_no_target_of_places() -> None:
    features = torch.randn(32, 4, 3, 8, generator=torch.Generator().manual_seed(0))
    moved = features + 10 * torch.randn(1, 4, 3, 8, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(standardised(moved, "place"), standardised(features, "place"), atol=1e-4, rtol=1e-3)
    assert not torch.allclose(standardised(moved, "token"), standardised(features, "token"), atol=0.5)


def test_two_half_batches_have_the_gradient_of_one(dots: Path) -> None:
    """Clips of two times and one kind of mask: nothing is random, and no loss looks across the batch."""
    store = Store(dots)
    recipe = tiny(
        "objective.clip=[4]", 'objective.masks=["future"]', "objective.variance=0", "objective.covariance=0",
        "objective.standardise=token",
    )  # fmt: skip
    gradients, losses = [], []
    for parts in (1, 2, 4):
        model, objective = made(recipe, store)
        batch = batch_of(recipe, objective, store)
        terms = backward(Criterion(model.encoder, objective), batch, torch.Generator().manual_seed(0), parts=parts)
        gradients.append([p.grad for m in (model.encoder.video, objective.predictor) for p in m.parameters()])
        losses.append((terms.loss, terms.parts["prediction"]))
        assert terms.latents.shape == (16, 12) and not terms.loss.requires_grad
    for other in (1, 2):
        torch.testing.assert_close(gradients[other], gradients[0], atol=1e-7, rtol=1e-4)
        torch.testing.assert_close(losses[other], losses[0])


def test_observations_are_short_videos() -> None:
    torch.manual_seed(0)
    encoder = VideoObserver(VideoOptions(dim=8, width=8, depth=1), Frames(16, 16, 3, stack=4)).eval()
    frames = torch.randint(0, 256, (3, 4, 16, 16, 3), dtype=torch.uint8)
    tokens = encoder.video(video(frames))
    torch.testing.assert_close(encoder(stacked(frames, 4)), encoder.head(tokens[:, -1]))
    swapped = tokens[:, -1].flip(1)
    assert not torch.allclose(encoder.head(swapped), encoder.head(tokens[:, -1]))  # the head knows the places
    for name, depth, patch in (("tiny", 4, 8), ("vit-ti", 12, 16), ("vit-s", 12, 16), ("vit-l", 24, 16)):
        assert sized(SIZES[name].width, depth, patch, 2) == SIZES[name]


def test_long_videos_have_a_latent_per_frame(dots: Path) -> None:
    store, recipe = Store(dots), tiny()
    model, _ = made(recipe, store)
    frames = torch.from_numpy(store.read_episode(store.episodes[0], "frame")["frame"])
    latents = encode(model, frames)
    assert latents.shape == (61, 12) and not latents.requires_grad
    assert torch.equal(latents[0:60:2], latents[1:60:2])  # one tubelet
    torch.testing.assert_close(encode(model, frames[:4])[-1], model.embed(frames[None, :4])[0, 0])
    assert not torch.allclose(encode(model, frames, chunk=4, overlap=0), latents)
    with pytest.raises(TinyJEPAError, match="cnn"):
        encode(WorldModel(recipes.load("car-racing"), store.spec), frames)


def test_temporal_collapse_shows() -> None:
    generator = torch.Generator().manual_seed(0)
    positions = 10 * torch.randn(1, 8, 32, generator=generator)
    clips = 2 * torch.randn(256, 1, 32, generator=generator)
    motion = 0.5 * torch.randn(256, 8, 32, generator=generator)
    within, across = temporal_std(positions + clips)
    assert within < 1e-3 and across == pytest.approx(2, rel=0.05)
    within, _ = temporal_std(positions + clips + motion)
    assert within == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["encoder.kind=cnn", "encoder.depth=4"], "'encoder.depth'.*option of video.*encoder.kind=video"),
        (["objective.target=shared"], "objective.target: Input should be 'ema'"),
        (["objective.rollout=2"], "'objective.rollout'.*option of predictive and grid-vector and temporal"),
        (["objective.predictor.kind=gru"], "objective.predictor.kind: Input should be 'transformer'"),
        (["objective.clip=[2, 8]"], "2 or more times encoder.tubelet 2"),
        (["objective.clip=[]"], "clip"),
        (["observation.stack=3"], "multiple of encoder.tubelet 2"),
        (["observation.stack=10"], "must hold observation.stack 10"),
        (["encoder.width=200"], "encoder.width: width 200 must be a multiple of 64"),
        (["objective.accumulate=3"], "equal parts"),
        (['objective.augmentations=["flip"]'], "option of augment and temporal"),
    ],
)
def test_recipes_without_sense_are_refused(overrides: list[str], why: str) -> None:
    with pytest.raises(TinyJEPAError, match=why):
        tiny(*overrides)


@pytest.mark.parametrize("override", ["encoder.depth=6", "encoder.checkpointing=true", "objective.clip=[4]"])
def test_other_recipes_refuse_the_video_models_keys(override: str) -> None:
    key = override.split("=")[0].split(".")[1]
    with pytest.raises(TinyJEPAError, match=f"unknown recipe key .*{key}'.*an option of"):
        recipes.load("car-racing", [override])
