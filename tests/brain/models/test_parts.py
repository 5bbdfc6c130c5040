"""One contract for every registered encoder, predictor and objective: shapes, gradients, determinism."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from brain import recipes
from brain.data.loader import Stream
from brain.data.observations import augment, stacked
from brain.models.encoders.base import Frames
from brain.models.encoders.resnet import ResNet18, ResNetOptions
from brain.models.encoders.two_branch import TwoBranch, TwoBranchOptions
from brain.models.predictors.gru import GRU, GRUOptions
from brain.models.space import LatentSpace
from brain.models.world_model import WorldModel
from brain.objectives.base import make_objective
from brain.objectives.target import EMATarget
from brain.parts import ENCODERS, OBJECTIVES, PREDICTORS
from brain.recipes.schema import PartOptions
from shared.store.reader import Store


def small(options: type[PartOptions], **values: int) -> PartOptions:
    """Options with those of ``values`` that the part has."""
    return options(**{key: value for key, value in values.items() if key in options.model_fields})


@pytest.mark.parametrize("part", ENCODERS.names())
@pytest.mark.parametrize(("channels", "stack", "size"), [(4, 2, 64), (6, 2, 64), (4, 4, 96), (6, 2, 16)])
def test_encoder(part: str, channels: int, stack: int, size: int) -> None:
    torch.manual_seed(0)
    kind = ENCODERS.get(part)
    encoder = kind(small(kind.Options, dim=24, width=8), Frames(size, size, channels // stack, stack))
    observation = torch.rand(4, channels, size, size) * 2 - 1
    latent = encoder(observation)
    assert latent.shape == (4, *encoder.latent_shape) and encoder.space.dim == 24 and latent.dtype == torch.float32
    latent.square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in encoder.parameters())
    encoder.eval()
    torch.testing.assert_close(encoder(observation)[:2], encoder(observation[:2]))  # no leak between samples


def test_resnet18_is_the_standard_size() -> None:
    encoder = ResNet18(ResNetOptions(dim=512, width=64), Frames(64, 64, 3))
    assert sum(p.numel() for p in encoder.parameters()) == 11_176_512  # He et al.'s 11.69 M less the 1000-way head


@pytest.mark.parametrize("part", PREDICTORS.names())
@pytest.mark.parametrize("action_dim", [0, 6])
def test_predictor(part: str, action_dim: int) -> None:
    torch.manual_seed(0)
    latents = PREDICTORS.get(part).latents
    space = LatentSpace(16, None if latents == "vector" else (3, 4), 2 if latents == "grid-vector" else 0)
    predictor = PREDICTORS.get(part)(small(PREDICTORS.get(part).Options, width=32), space, action_dim)
    z, actions = torch.randn(5, *space.shape), torch.randn(5, 4, action_dim)
    future = predictor.rollout(z, actions)
    assert future.shape == (5, 4, *space.shape)
    torch.testing.assert_close(future[:, 0], predictor(z, actions[:, 0]))
    torch.testing.assert_close(future[:, :2], predictor.rollout(z, actions[:, :2]))  # causal: no peek at later actions
    future.square().sum().backward()
    assert all(p.grad is not None for p in predictor.parameters())


@pytest.mark.parametrize(
    ("views", "target", "regularise"),
    [
        *((views, "shared", "embeddings") for views in OBJECTIVES),
        ("predictive", "shared", "rollout"),
        ("predictive", "stop-gradient", "start"),
        ("predictive", "ema", "embeddings"),
        ("predictive", "ema", "start"),
    ],
)
def test_objective_learns(views: str, target: str, regularise: str, dots: Path) -> None:
    """Twenty steps lower the loss, everything trainable gets a gradient, and the generator decides all chance."""
    store = Store(dots)
    joint = {
        "shared": ["objective.inverse_dynamics=0.5", "objective.temporal_similarity=0.1", "objective.expander=32"],
        "stop-gradient": ["objective.inverse_dynamics=0.5", "objective.sigreg=0.05"],
        "ema": [f"objective.inverse_dynamics={0.5 * (regularise == 'embeddings')}", "objective.momentum=0.9"],
    }
    small = ["encoder.dim=16", "encoder.width=8", "objective.batch=32", "observation.stride=2"]
    masked = [
        "encoder.kind=video", "encoder.depth=1",
        "objective.predictor.kind=transformer", "objective.predictor.width=8", "objective.predictor.depth=1",
    ]  # fmt: skip
    two_views = [
        "objective.expander=32", 'objective.augmentations=["crop", "flip", "colour", "noise", "cutout"]'
    ]  # fmt: skip
    own = {
        "predictive": [*joint[target], "objective.rollout=2"],
        "masked": masked,
        "augment": two_views,
        "temporal": two_views,
    }.get(views, [])
    if views == "grid-vector":
        parts = [f"{stage}.predictor.kind=grid-vector" for stage in ("objective", "prediction")]
        own = ["encoder.kind=grid-vector", "encoder.registers=1", *parts]
    chosen = [f"objective.views={views}"]
    if views == "predictive":
        chosen += [f"objective.target={target}", f"objective.regularise={regularise}"]
    recipe = recipes.load("car-racing", [*chosen, *own, *small])
    torch.manual_seed(0)
    model = WorldModel(recipe, store.spec)
    objective = make_objective(recipe, model.encoder, model.action_dim)
    stream = Stream(
        store, "train", stack=2, stride=2, steps=objective.steps, batch=32, seed=0,
        device=torch.device("cpu"),
    )  # fmt: skip
    batch = stream.batch(0)
    objective.begin(model.encoder)
    parameters = [p for p in [*model.encoder.parameters(), *objective.parameters()] if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, 2e-3)
    losses = []
    for _ in range(20):
        terms = objective(model.encoder, batch, torch.Generator().manual_seed(7))
        optimizer.zero_grad()
        terms.loss.backward()
        assert all(p.grad is not None for p in parameters)
        optimizer.step()
        objective.after_step(model.encoder, 0.5)
        losses.append(float(terms.loss.detach()))
        assert terms.latents.shape[1] == 16 and all(torch.isfinite(part) for part in terms.parts.values())
    assert losses[-1] < losses[0]
    with torch.no_grad():
        model.eval()
        again = [objective(model.encoder, batch, torch.Generator().manual_seed(7)).loss for _ in range(2)]
    assert again[0] == again[1]
    stream.close()


def test_ema_target_follows_the_encoder() -> None:
    """Against the average written out; m goes from 0.9 to 1 by a cosine."""
    encoder = torch.nn.Linear(3, 2)
    target = EMATarget(encoder, 0.9, 1.0)
    average = encoder.weight.detach().clone()
    for step in range(10):
        with torch.no_grad():
            encoder.weight.add_(torch.randn(2, 3))
        momentum = 1 - 0.1 * (math.cos(math.pi * step / 10) + 1) / 2
        average = momentum * average + (1 - momentum) * encoder.weight.detach()
        target.update(encoder, step / 10)
        assert target.momentum(step / 10) == pytest.approx(momentum)
    torch.testing.assert_close(target.encoder.weight.detach(), average)
    assert not any(p.requires_grad for p in target.parameters())


def test_gru_is_torchs_recurrent_network() -> None:
    torch.manual_seed(0)
    predictor = GRU(GRUOptions(width=16, depth=1), LatentSpace(8), 2)
    z, actions = torch.randn(4, 8), torch.randn(4, 5, 2)
    reference = torch.nn.GRU(16, 8, batch_first=True)
    weights = {f"{name}_l0": value for name, value in predictor.cell.state_dict().items()}
    reference.load_state_dict(weights)
    expected, _ = reference(predictor.embedding(actions), z[None])
    torch.testing.assert_close(predictor.rollout(z, actions), expected)


def test_two_branches_see_their_own_channels() -> None:
    encoder = TwoBranch(TwoBranchOptions(dim=16, width=8), Frames(65, 65, 2, stack=2)).eval()
    one = torch.rand(2, 4, 65, 65)
    other = one.clone()
    other[:, 1::2] = 0
    difference = encoder(one) - encoder(other)
    assert torch.equal(difference[:, :8], torch.zeros(2, 8)) and difference[:, 8:].abs().max() > 0


def test_stacked_puts_the_oldest_frame_first_and_scales() -> None:
    frames = torch.arange(4, dtype=torch.uint8).view(1, 4, 1, 1, 1).expand(1, 4, 2, 2, 3) * 85
    observation = stacked(frames, 2)
    assert observation.shape == (3, 6, 2, 2)
    assert observation.is_contiguous(memory_format=torch.channels_last)
    expected = torch.tensor([[-1, -1 / 3], [-1 / 3, 1 / 3], [1 / 3, 1]])
    torch.testing.assert_close(observation[:, [0, 3], 0, 0], expected)


@pytest.mark.parametrize("kind", ["crop", "flip", "colour", "noise", "cutout"])
def test_augmentations_change_every_view_and_stay_in_range(kind: str) -> None:
    observation = torch.rand(32, 6, 16, 16) * 2 - 1
    a = augment(observation, [kind], torch.Generator().manual_seed(0))
    assert a.shape == observation.shape and a.min() >= -1 and a.max() <= 1
    changed = (a != observation).flatten(1).any(1).float().mean()
    assert changed > (0.3 if kind == "flip" else 0.95)
    assert torch.equal(a, augment(observation, [kind], torch.Generator().manual_seed(0)))
    assert torch.equal(augment(observation, [], torch.Generator()), observation)


def test_flip_mirrors() -> None:
    observation = torch.rand(64, 3, 8, 8) * 2 - 1
    flipped = augment(observation, ["flip"], torch.Generator().manual_seed(0))
    pairs = list(zip(flipped, observation))
    mirrored = [torch.allclose(new, old.flip(2), atol=1e-5) for new, old in pairs]
    kept = [torch.allclose(new, old, atol=1e-5) for new, old in pairs]
    assert all(a != b for a, b in zip(mirrored, kept)) and 16 < sum(mirrored) < 48
