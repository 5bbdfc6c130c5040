"""Two rooms: the course's probe protocol, baselines and upper bound.

    python -m benchmarks.results_two_room                                # 3 seeds of both recipes
    python -m benchmarks.results_two_room --seeds 0 --recipes two-room
    python -m benchmarks.results_two_room --trained runs/grid-0 runs/grid-1   # these runs, whatever their data

Per seed: 40,000 episodes of 17 frames are collected (data set ``normal``, run seed = training seed) and the recipe's
encoder and predictor are trained on those of its training split. Then, as in the NYU deep learning course 2025
(evaluator.py): the model sees the first frame and all actions and is unrolled; an MLP (D-256-2, ReLU, Adam 2e-4,
cosine, 20 epochs of batches of 64 trajectories) learns x and y from the *predicted* embeddings of 10,000 trajectories;
its loss is the squared error in pixels^2 per coordinate, averaged over the time steps (the encoded first one included)
and the trajectories of a set. Sets: ``normal``, ``wall``, ``wall_other`` (walls where training has none), and
``expert`` (91 frames, with a prober of its own, trained on 30 random steps of each trajectory). All of run seeds that
training never used.
"""

from __future__ import annotations

import argparse
import sys
import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.results import FRESH, Figures, collect, kept, over_seeds, print_table, run, train
from brain import recipes
from brain.data.observations import stacked
from brain.data.place import spec_of
from brain.models.world_model import WorldModel, make_encoder, make_predictor
from brain.objectives.collapse import effective_rank
from brain.runs.folder import Run
from shared.store.reader import Store

WORLD = "two-room"
MEAN, STD = torch.tensor([31.5863, 32.0618]), torch.tensor([16.1025, 16.1353])
"""Of x and y, pixels: the course's constants."""
EPOCHS, PROBER_BATCH, SAMPLED_STEPS = 20, 64, 30
TESTS = ("normal", "wall", "wall_other")
SEEDING = threading.Lock()
"""Held while weights are drawn from torch's global generator."""


class Trajectories(NamedTuple):
    """What a set comes down to."""

    first: Tensor
    """uint8 (E, 65, 65, 2): the frame that is seen"""
    actions: Tensor
    """float32 (E, T - 1, 2)"""
    places: Tensor
    """float32 (E, T, 2): pixels"""


def load(store: Store) -> Trajectories:
    parts: tuple[list[np.ndarray], ...] = ([], [], [])
    for ref in store.episodes:
        read = store.read_episode(ref, "frame", "action", "state")
        kept_rows = (read["frame"][0], read["action"][:-1], read["state"][:, :2])
        for part, rows in zip(parts, kept_rows):
            part.append(rows.copy())  # a view would keep the whole episode
    return Trajectories(*(torch.from_numpy(np.stack(part)) for part in parts))


@torch.no_grad()
def unroll(model: WorldModel, data: Trajectories) -> Tensor:
    """Standardised latents (E, T, D), a grid's cells side by side: the first encoded, the others predicted from it
    and the actions."""
    parts = []
    for first, actions in zip(data.first.split(500), data.actions.split(500)):
        z = model.encode(first[:, None])[:, 0]
        parts.append(torch.cat([z[:, None], model.rollout(z, actions)], 1).flatten(2))
    return torch.cat(parts)


def fit_prober(z: Tensor, places: Tensor, seed: int, sampled: int | None = None) -> nn.Module:
    """Latents (E, T, D) to standardised x and y; ``sampled``: that many random time steps of each trajectory."""
    with SEEDING:
        torch.manual_seed(seed)
        prober = nn.Sequential(nn.Linear(z.shape[-1], 256), nn.ReLU(), nn.Linear(256, 2))
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(prober.parameters(), 2e-4)
    batches = len(z) // PROBER_BATCH
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, batches * EPOCHS)
    goals = (places - MEAN) / STD
    for _ in range(EPOCHS):
        order = torch.randperm(len(z), generator=generator)[: batches * PROBER_BATCH]
        for rows in order.view(batches, PROBER_BATCH):
            seen, wanted = z[rows], goals[rows]
            if sampled is not None:
                times = torch.randperm(z.shape[1], generator=generator)[:sampled]
                seen, wanted = seen[:, times], wanted[:, times]
            loss = (prober(seen) - wanted).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return prober.eval()


@torch.no_grad()
def errors(prober: nn.Module, z: Tensor, places: Tensor) -> Tensor:
    """Squared error per time step, pixels^2 per coordinate: (T,)."""
    return (prober(z) * STD + MEAN - places).square().mean((0, 2))


def summary(name: str, each: Tensor) -> Figures:
    """The mean over time, the first and the last of a set's errors per time step (T,)."""
    first, last = f"{name}, first frame", f"{name}, step {len(each) - 1}"
    return {name: float(each.mean()), first: float(each[0]), last: float(each[-1])}


def judge(model: WorldModel, seed: int, sets: dict[str, Trajectories]) -> Figures:
    """Every figure of one run."""
    figures: Figures = {}
    prober = fit_prober(unroll(model, sets["probe-normal"]), sets["probe-normal"].places, seed)
    for name in TESTS:
        each = errors(prober, unroll(model, sets[name]), sets[name].places)
        figures |= {
            name: float(each.mean()),
            f"{name}, first frame": float(each[0]),
            f"{name}, step 16": float(each[-1]),
        }
    fitting = sets["probe-expert"]
    prober = fit_prober(unroll(model, fitting), fitting.places, seed, SAMPLED_STEPS)
    each = errors(prober, unroll(model, sets["expert"]), sets["expert"].places)
    figures |= summary("expert", each)
    z = model.encode(sets["normal"].first[:, None])[:, 0]
    figures["effective rank"] = float(effective_rank(z))
    networks = (model.encoder, model.dynamics.predictor)
    figures["parameters"] = float(sum(p.numel() for network in networks for p in network.parameters()))
    return figures


def baselines(sets: dict[str, Trajectories]) -> dict[str, Figures]:
    """The mean place, the first place kept, and the first place plus all actions (walls ignored)."""
    mean = sets["probe-normal"].places.mean((0, 1))
    table: dict[str, Figures] = {"mean": {}, "persistence": {}, "dead reckoning": {}}
    for name in (*TESTS, "expert"):
        places, actions = sets[name].places, sets[name].actions
        start = places[:, :1]
        reckoned = torch.cat([start, start + actions.cumsum(1)], 1)
        for baseline, guess in (("mean", mean), ("persistence", start), ("dead reckoning", reckoned)):
            each = (places - guess).square().mean((0, 2))
            table[baseline] |= summary(name, each)
    return table


class Supervised(nn.Module):
    """The recipe's networks and a linear map, trained end to end on the true positions: the upper bound."""

    def __init__(self, recipe: str, store: Store) -> None:
        super().__init__()
        self.recipe = recipes.load(recipe)
        self.encoder = make_encoder(self.recipe, store.spec.frame_shape)
        dim = self.recipe.encoder.dim
        self.predictor = make_predictor(self.recipe.prediction.predictor, self.encoder.space, store.spec.action_dim)
        self.head = nn.Linear(dim, 2)

    def forward(self, first: Tensor, actions: Tensor) -> Tensor:
        """uint8 (B, 65, 65, 2) and (B, T - 1, 2) to places (B, T, 2), standardised."""
        z = self.encoder(stacked(first[:, None], 1)).float()
        return self.head(torch.cat([z[:, None], self.predictor.rollout(z, actions)], 1))


def supervised(recipe: str, store: Store, sets: dict[str, Trajectories]) -> Figures:
    """Trained on as many windows as stage 1 of the recipe, one first frame each; four times its steps."""
    torch.manual_seed(0)
    network, data = Supervised(recipe, store), load(store)
    section = network.recipe.objective
    steps = 4 * section.steps
    optimizer = torch.optim.AdamW(network.parameters(), section.learning_rate, weight_decay=section.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, section.learning_rate, total_steps=steps)
    goals = (data.places - MEAN) / STD
    for _ in range(steps):
        rows = torch.randint(len(data.first), (section.batch,))
        loss = (network(data.first[rows], data.actions[rows]) - goals[rows]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    network.eval()
    figures: Figures = {}
    with torch.no_grad():
        for name in (*TESTS, "expert"):
            first, actions, places = sets[name]
            guess = torch.cat([network(f, a) for f, a in zip(first.split(500), actions.split(500))])
            each = (guess * STD + MEAN - places).square().mean((0, 2))
            figures |= summary(name, each)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--recipes", default="two-room-gru,two-room")
    parser.add_argument("--episodes", type=int, default=40_000, help="to train on, before the split")
    parser.add_argument("--data", type=Path, default=Path("data/results-two-room"))
    parser.add_argument("--runs", type=Path, default=Path("runs/results-two-room"))
    parser.add_argument(
        "--trained", type=Path, nargs="+", default=[], help="run folders to measure, nothing is trained"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    wanted = {"probe-normal": ("normal", 2, 10_000), "probe-expert": ("expert", 2, 3000), "expert": ("expert", 1, 1000)}
    wanted |= {name: (name, 1, 4000) for name in TESTS}
    sets = {}
    for name, (dataset, offset, count) in wanted.items():
        sets[name] = load(collect(options.data / name, WORLD, FRESH + offset, count, "--dataset", dataset))
    if options.trained:
        measured = [
            judge(WorldModel.load(folder, spec_of(Run(folder), None), torch.device("cpu")), 0, sets)
            for folder in options.trained
        ]
        print_table({"trained": measured}, baselines(sets))
        return
    seeds = [int(seed) for seed in options.seeds.split(",")]
    stores = {
        seed: collect(options.data / f"train-{seed}", WORLD, seed, options.episodes, "--dataset", "normal")
        for seed in seeds
    }

    def figures(job: tuple[str, int]) -> Figures:
        recipe, seed = job
        folder = options.runs / f"{recipe}-{seed}"

        def measure() -> Figures:
            seconds = train(folder, recipe, Path(stores[seed].address), seed)
            return judge(WorldModel.load(folder, stores[seed].spec, torch.device("cpu")), seed, sets) | {
                "CPU s": seconds
            }

        return kept(folder, recipe, measure)

    names = options.recipes.split(",")
    table = over_seeds(names, seeds, figures)
    print("training the supervised upper bound", file=sys.stderr, flush=True)
    beside = baselines(sets) | {"supervised": supervised(names[-1], stores[seeds[0]], sets)}
    print_table(table, beside)
    newest = options.runs / f"{names[-1]}-{seeds[0]}"
    run("brain.cli", "probe", "--run", str(newest))


if __name__ == "__main__":
    main()
