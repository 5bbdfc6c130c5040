"""One contract for every registered part, on every world of ours: stages 1 and 2 in small, or one clear line.

A new part is tested here by being registered. One that needs other keys than ``SMALL`` to make sense gets a line in
``NEEDS``; what makes no sense gets one in ``REFUSED``, and must say so itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from brain import recipes
from brain.data.loader import Stream
from brain.data.source import Feed
from brain.data.state_mode import reader, standardise
from brain.device import Precision
from brain.models.world_model import WorldModel, make_encoder
from brain.objectives.base import Objective, make_objective
from brain.objectives.predictive import PredictiveOptions
from brain.parts import ENCODERS, OBJECTIVES, PREDICTORS
from brain.recipes.schema import Recipe
from brain.runs import checkpoint
from brain.runs.folder import Compute, Run
from brain.training.encoder import Criterion, backward, train_encoder
from brain.training.loop import Budget
from brain.training.predictor import train_predictor
from factory.cli import cli as factory
from shared.cli.console import run
from shared.errors import TinyJEPAError
from shared.registry import Registry
from shared.store.reader import Store
from shared.worlds import WORLDS

STEPS, BATCH, DIM = 3, 8, 8
SIZES = {"width": 8, "depth": 1}
"""Of every part that has such options."""
SMALL = [
    "observation.stride=1", f"encoder.dim={DIM}", f"objective.batch={BATCH}", "prediction.rollout=2",
    "prediction.batch=16",
]  # fmt: skip
PREDICTIVE = ["objective.rollout=2", "objective.inverse_dynamics=0.0"]
NEEDS = {
    "augment": ["objective.expander=16", 'objective.augmentations=["crop", "flip", "colour", "noise", "cutout"]'],
    "temporal": ["objective.expander=16"],
    "grid-vector": ["objective.rollout=2"],
    "masked": ["objective.clip=[4, 8]", "objective.predictor.width=16", "objective.predictor.depth=1"],
}
ENCODER_OF = {"masked": "video"}
TARGETS = get_args(PredictiveOptions.model_fields["target"].annotation)
REGULARISERS = ("variance", "covariance", "sigreg", "temporal_similarity", "inverse_dynamics")


def sizes(section: str, registry: Registry, kind: str) -> list[str]:
    """The chosen part, small."""
    has = registry.get(kind).Options.model_fields
    return [f"{section}.kind={kind}"] + [f"{section}.{key}={value}" for key, value in SIZES.items() if key in has]


def encoder(kind: str) -> list[str]:
    return sizes("encoder", ENCODERS, kind)


def first(viewed: str) -> str:
    """The first encoder of latents that the views take."""
    return next(kind for kind in ENCODERS if ENCODERS.get(kind).latents in OBJECTIVES.get(viewed).takes)


def views(kind: str) -> list[str]:
    return [f"objective.views={kind}", *NEEDS.get(kind, [])]


def predictor(kind: str, stages: Sequence[str] = ("objective", "prediction")) -> list[str]:
    return [override for stage in stages for override in sizes(f"{stage}.predictor", PREDICTORS, kind)]


PARTS = {
    **{f"encoder {kind}": encoder(kind) for kind in ENCODERS},
    **{f"views {kind}": views(kind) + encoder(ENCODER_OF.get(kind, first(kind))) for kind in OBJECTIVES},
    **{f"target {kind}": [f"objective.target={kind}"] for kind in TARGETS},
    **{f"predictor {kind}": predictor(kind) for kind in PREDICTORS},
    **{
        f"regulariser {kind}": [f"objective.{weight}={float(weight == kind)}" for weight in REGULARISERS]
        for kind in ("none", *REGULARISERS)
    },
    "start joint": ["prediction.start=joint"],
    "state": ["observation.mode=state", "encoder.kind=mlp"],
}

STATE = ["observation.mode=state", "encoder.kind=mlp"]
MASKED = views("masked") + encoder("video")
REFUSED = {
    "masked without a moving average": ([*MASKED, "objective.target=shared"], "Input should be 'ema'"),
    "masked with actions": ([*MASKED, "objective.inverse_dynamics=1"], "an option of predictive"),
    "two views and a target": ([*views("temporal"), "objective.target=ema"], "an option of predictive and masked"),
    "two views and an action": ([*views("temporal"), "objective.inverse_dynamics=1"], "an option of predictive"),
    "joint with two views": ([*views("temporal"), "prediction.start=joint"], "prediction.start=fresh"),
    "a grid and a predictor of vectors": (
        [*encoder("grid"), "prediction.predictor.kind=gru"],
        "takes latents of the kind vector, but those of encoder grid are of the kind grid",
    ),
    "a grid with a vector and other views": (
        encoder("grid-vector") + views("predictive"),
        "objective.views=grid-vector",
    ),
    "a grid and an expander": ([*encoder("grid"), "objective.expander=16"], "objective.expander=0"),
    "joint of two kinds": (["prediction.start=joint", "prediction.predictor.kind=gru"], "the same objective.predictor"),
    "augmented state": ([*STATE, *views("augment")], "need pictures"),
    **{
        f"masked {kind}": (views("masked") + encoder(kind), "needs an encoder of clips")
        for kind in ENCODERS
        if kind != ENCODER_OF["masked"] and ENCODERS.get(kind).latents != "grid-vector"
    },
    **{
        f"state {kind}": (["observation.mode=state", *encoder(kind)], "needs pictures")
        for kind in ENCODERS
        if not ENCODERS.get(kind).flat
    },
}
TOO_SMALL = {
    "cnn": ((8, 16, 3), "encoder cnn needs frames of 16 pixels a side or more, not 8x16"),
    "grid-vector": ((8, 16, 3), "encoder grid-vector needs frames of 16 pixels a side or more, not 8x16"),
    "grid": ((16, 16, 1), "encoder grid has 2 towers for 1 channels"),
    "two-branch": ((16, 16, 1), "encoder two-branch needs two channels or more"),
}

SPLIT = {"grid": ["encoder.split=[4, 4]"]}


def made(overrides: list[str]) -> Recipe:
    """The recipe car-racing in small; the default parts where ``overrides`` choose no others."""
    chosen = dict(override.split("=", 1) for override in overrides)
    latents = ENCODERS.get(chosen.get("encoder.kind", "cnn")).latents
    if "encoder.kind" not in chosen:
        if (part := chosen.get("prediction.predictor.kind")) is not None:
            latents = PREDICTORS.get(part).latents
        elif (part := chosen.get("objective.views")) is not None:
            latents = OBJECTIVES.get(part).takes[0]
    suits = next(kind for kind in PREDICTORS if PREDICTORS.get(kind).latents == latents)
    sees = next(kind for kind in ENCODERS if ENCODERS.get(kind).latents == latents)
    shows = next(kind for kind in OBJECTIVES if latents in OBJECTIVES.get(kind).takes)
    joint = OBJECTIVES.get(chosen.get("objective.views", shows)).keeps_predictor
    defaults = {
        "encoder.kind": encoder(sees),
        "objective.views": PREDICTIVE if shows == "predictive" else views(shows),
        "objective.predictor.kind": predictor(suits, ["objective"]) if joint else [],
        "prediction.predictor.kind": predictor(suits, ["prediction"]),
    }
    small = [override for key, values in defaults.items() if key not in chosen for override in values]
    return recipes.load("car-racing", [*SMALL, *small, *overrides])


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Six short episodes of every registered world."""
    folder = tmp_path_factory.mktemp("worlds")
    small = ["--local", "--quiet", "--episodes", "6", "--max-episode-steps", "16", "--frame-size", "16"]
    for world in WORLDS:
        assert run(factory, "factory", ["collect", "--world", world, "--store", str(folder / world), *small]) == 0
    return {world: folder / world for world in WORLDS}


def check_gradients(*modules: nn.Module) -> None:
    """What is trained has a gradient; a matrix one that is not zero throughout."""
    for module in modules:
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, f"no gradient for {name}"
                assert torch.isfinite(parameter.grad).all(), name
                assert parameter.ndim < 2 or parameter.grad.any(), f"the gradient of {name} is 0"
            else:
                assert parameter.grad is None, f"{name} is not trained"


def objective_of(recipe: Recipe, model: WorldModel, store: Store, precision: Precision) -> tuple[Objective, Tensor]:
    """Two steps' gradients, for the parts that train beside the encoder; with a window's frames."""
    objective = make_objective(recipe, model.encoder, model.action_dim)
    objective.begin(model.encoder)
    stream = Stream(
        store, "train", stack=recipe.observation.stack, stride=1, steps=objective.steps, batch=BATCH, seed=0,
        device=torch.device("cpu"),
    )  # fmt: skip
    batch = stream.batch(0)
    stream.close()
    parameters = [p for p in [*model.encoder.parameters(), *objective.parameters()] if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, 1e-3)
    for step in range(2):  # a last layer may begin with zeros, and hold back every gradient before it
        optimizer.zero_grad()
        terms = backward(Criterion(model.encoder, objective), batch, torch.Generator().manual_seed(step), precision)
        optimizer.step()
    assert torch.isfinite(terms.loss) and all(part.ndim == 0 and part.isfinite() for part in terms.parts.values())
    assert terms.latents.shape[1:] == model.space.gist(torch.zeros(1, *model.latent_shape)).shape[1:]
    assert len(terms.latents) >= BATCH
    return objective, batch.frames


@pytest.mark.parametrize("world", WORLDS.names())
@pytest.mark.parametrize("part", PARTS)
def test_a_part_on_a_world(part: str, world: str, stores: dict[str, Path], tmp_path: Path) -> None:
    """Both stages by the loops that ``brain train`` runs: finite, nothing untrained, and the same when read again."""
    recipe, folder, cpu = made(PARTS[part]), Run(tmp_path / "run"), torch.device("cpu")
    store = reader(recipe)(stores[world])
    folder.begin(recipe, store.spec, store.address, 0)
    standardise(store, folder)
    torch.manual_seed(0)
    model, feed = WorldModel(recipe, store.spec), Feed(store)
    train_encoder(
        folder, model, feed, Budget(steps=STEPS), compute=Compute(), seed=0, checkpoint_seconds=99, quiet=True
    )
    check_gradients(model.encoder)
    for precision in get_args(Precision):  # bfloat16 is emulated where the processor does not have it
        objective, frames = objective_of(recipe, model, store, precision)
        check_gradients(model.encoder, objective)

    tensors, _ = checkpoint.load(folder.encoder)
    checkpoint.restore(folder.encoder, model.encoder, tensors, "model")
    train_predictor(folder, model, feed, Budget(steps=STEPS), seed=0, checkpoint_seconds=99, quiet=True)
    check_gradients(model.dynamics)
    lines = [json.loads(line) for line in (folder.path / "metrics.jsonl").read_text().splitlines()]
    assert {line["stage"] for line in lines} == {"encoder", "predictor"}
    assert all(math.isfinite(value) for line in lines for value in line.values() if isinstance(value, float))

    model.eval()
    z = model.encode(frames)
    count = frames.shape[1] - recipe.observation.stack + 1
    assert z.shape == (BATCH, count, *model.latent_shape) and z.dtype == torch.float32 and z.isfinite().all()
    chunks = torch.zeros(BATCH, 3, model.action_dim)
    future = model.rollout(z[:, 0], chunks)
    assert future.shape == (BATCH, 3, *model.latent_shape) and future.isfinite().all()
    assert model.energy(z[:, 0], chunks[:, 0], future[:, 0]).shape == (BATCH,)
    again = WorldModel.load(folder.path, store.spec, cpu)
    assert torch.equal(again.encode(frames), z) and torch.equal(again.rollout(z[:, 0], chunks), future)


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_is_refused_in_one_line(case: str) -> None:
    overrides, why = REFUSED[case]
    with pytest.raises(TinyJEPAError, match=why) as refused:
        made(overrides)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", TOO_SMALL)
def test_frames_that_an_encoder_cannot_see_are_refused_in_one_line(kind: str) -> None:
    frame_shape, why = TOO_SMALL[kind]
    with pytest.raises(TinyJEPAError, match=why) as refused:
        make_encoder(made([*encoder(kind), *SPLIT.get(kind, []), "observation.stack=1"]), frame_shape)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", ENCODERS.names())
@pytest.mark.parametrize("viewed", [kind for kind in OBJECTIVES if kind not in ENCODER_OF])
def test_an_encoder_under_other_views(viewed: str, kind: str, stores: dict[str, Path]) -> None:
    expands = "expander" in OBJECTIVES.get(viewed).Options.model_fields
    vectors = ["objective.expander=0"] if expands and ENCODERS.get(kind).latents != "vector" else []
    overrides = [*views(viewed), *encoder(kind), *vectors]
    if ENCODERS.get(kind).latents not in OBJECTIVES.get(viewed).takes:
        with pytest.raises(TinyJEPAError, match=f"the views {viewed} train latents of the kind"):
            made(overrides)
        return
    recipe, store = made(overrides), Store(stores["two-room"])
    torch.manual_seed(0)
    model = WorldModel(recipe, store.spec)
    objective, _ = objective_of(recipe, model, store, "float32")
    check_gradients(model.encoder, objective)
