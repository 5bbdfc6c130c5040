"""The double pendulum: probes, forecasts in units of the Lyapunov time, pictures, and the ablations its text claims.

    python -m benchmarks.results_pendulum                       # 3 seeds of three recipes and two ablations
    python -m benchmarks.results_pendulum --seeds 0 --recipes "short;short, without variance"

Per seed: 250 episodes of 201 frames are collected (run seed = training seed), encoder and predictor are trained,
``brain probe`` (and, for the first seed, ``brain dream``) run on the test episodes of that store, and forecasts are
measured on 80 episodes of a run seed that training never used. Angles of a forecast are read by an MLP (two hidden
layers of 256; sines, cosines and velocities) that is fitted to latents of training episodes; a straight line misreads
them. The error is the RMSE of the two angles on the circle, in degrees.
"""

from __future__ import annotations

import argparse
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.results import FRESH, Figures, collect, kept, over_seeds, print_table, run, train
from brain.data.state_mode import reader, standardise
from brain.models.layers.mlp import mlp
from brain.models.world_model import WorldModel
from brain.objectives.collapse import effective_rank
from brain.runs.figures import read_dream, read_probe
from brain.runs.folder import Run
from brain.training.loop import one_cycle
from shared.store.reader import Store
from shared.worlds.double_pendulum import lyapunov_time
from shared.worlds.double_pendulum.physics import advance

WORLD = "double-pendulum"
STATES = ("theta1", "theta2", "omega1", "omega2")
TIMES = (0.25, 0.5, 1.0, 1.5)
"""Lyapunov times after the last frame seen."""
EPISODES = 80
"""That forecasts are read with and measured on."""
EVERY = 8
"""Steps between two starts of a forecast."""
READER_STEPS = 2000
SEEDING = threading.Lock()
"""Held while weights are drawn from torch's global generator."""
SUBSTEPS = 20

SHORT = ("objective.steps=400", "prediction.steps=800")
ABLATIONS = {
    "short": SHORT,
    "short, without variance": (*SHORT, "objective.variance=0", "objective.covariance=0"),
    "short, without residual": (*SHORT, "objective.predictor.kind=mlp", "prediction.predictor.kind=mlp"),
}
"""Changes of ``double-pendulum``: what its text claims, on a shorter training and beside that."""


class Clips(NamedTuple):
    """All episodes of a store."""

    frames: torch.Tensor
    """uint8 (E, T, H, W, C), or what else the recipe sees"""
    states: np.ndarray
    """float64 (E, T, 4)"""


def load(store: Store, most: int) -> Clips:
    """The first ``most`` episodes, as the store's view shows them."""
    read = [store.read_episode(ref, "frame", "state") for ref in store.episodes[:most]]
    return Clips(
        torch.from_numpy(np.stack([episode["frame"] for episode in read])),
        np.stack([episode["state"] for episode in read]).astype(np.float64),
    )


def view(store: Store, folder: Path) -> Store:
    """A store as a trained run sees it: its frames, or coordinates in their place."""
    run = Run(folder)
    seen = reader(run.recipe())(store.address)
    standardise(seen, run)
    return seen


def columns(states: np.ndarray) -> np.ndarray:
    """States (..., 4) as regression targets (..., 6): sine and cosine of both angles, both velocities."""
    angles, speeds = states[..., :2], states[..., 2:]
    return np.concatenate([np.sin(angles), np.cos(angles), speeds], -1)


def states_of(read: np.ndarray) -> np.ndarray:
    """What ``columns`` made, back to states (..., 4)."""
    return np.concatenate([np.arctan2(read[..., :2], read[..., 2:4]), read[..., 4:]], -1)


def degrees(guess: np.ndarray, truth: np.ndarray) -> float:
    """RMSE of both angles on the circle."""
    turned = guess[..., :2] - truth[..., :2]
    return math.degrees(float(np.sqrt(np.mean(np.arctan2(np.sin(turned), np.cos(turned)) ** 2))))


def physics(states: np.ndarray, steps: int) -> np.ndarray:
    """The true future of states (N, 4): (N, steps, 4)."""
    state, future = tuple(states.T), []
    for _ in range(steps):
        state = advance(state, SUBSTEPS, sin=np.sin, cos=np.cos)
        future.append(np.stack(state, -1))
    return np.stack(future, 1)


def windows(states: np.ndarray, lead: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows ``lead``, ``lead`` + 8, ... of each episode as starts, and the steps after: (N,) x 2 index arrays by use."""
    starts = np.arange(lead, states.shape[1] - steps, EVERY)
    return np.repeat(np.arange(len(states)), len(starts)), np.tile(starts, len(states))


def fit_reader(z: torch.Tensor, wanted: np.ndarray) -> Callable[[torch.Tensor], np.ndarray]:
    """Latents (N, D) and columns (N, 6) to a function from latents (..., D) to columns (..., 6)."""
    centre, scale = wanted.mean(0), wanted.std(0)
    goals = torch.from_numpy((wanted - centre) / scale).float()
    with SEEDING:
        torch.manual_seed(0)
        network = mlp(z.shape[1], 256, wanted.shape[1], 2)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-2)
    generator = torch.Generator().manual_seed(0)
    for step in range(READER_STEPS):
        optimizer.param_groups[0]["lr"] = 2e-3 * one_cycle(step / READER_STEPS)
        rows = torch.randint(len(z), (256,), generator=generator)
        loss = (network(z[rows]) - goals[rows]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def read(values: torch.Tensor) -> np.ndarray:
        with torch.no_grad():
            found: np.ndarray = network(values).double().numpy()
        return found * scale + centre

    return read


def forecasts(model: WorldModel, fitting: Clips, test: Clips, horizons: list[int]) -> dict[str, np.ndarray]:
    """Guessed states (N, horizon, 4) of the model, and of the true physics from the state that the model sees."""
    lead, steps = model.recipe.observation.stack - 1, horizons[-1]
    read = fit_reader(model.encode(fitting.frames).flatten(0, 1), columns(fitting.states[:, lead:]).reshape(-1, 6))
    episode, row = windows(test.states, lead, steps)
    z = model.encode(test.frames)[episode, row - lead]
    with torch.no_grad():
        future = model.dynamics.rollout(z, torch.zeros(len(z), steps, model.action_dim))
    return {"model": states_of(read(future)), "physics from its state": physics(states_of(read(z)), steps)}


def truth(states: np.ndarray, lead: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts (N, 4) and futures (N, steps, 4) of the windows that ``forecasts`` uses."""
    episode, row = windows(states, lead, steps)
    return states[episode, row], states[episode[:, None], row[:, None] + np.arange(1, steps + 1)]


def figures_of(folder: Path, model: WorldModel, fitting: Clips, test: Clips, horizons: list[int]) -> Figures:
    """All metrics of one run; its probes and videos are written by the user's commands."""
    figures: Figures = {}
    if not (folder / "probe.json").exists():
        run("brain.cli", "probe", "--run", str(folder), "--steps", "500")
    probe = read_probe(Run(folder))
    assert probe is not None
    for name in STATES:
        figures[f"R2 {name}, linear"] = probe.scores["linear"][name].r2
        figures[f"R2 {name}, MLP"] = probe.scores["mlp"][name].r2
    for space in ("pca", "random-encoder", "pixels", "supervised"):
        for name in STATES:
            figures[f"{space} {name}"] = probe.scores[space][name].r2
    _, future = truth(test.states, model.recipe.observation.stack - 1, horizons[-1])
    for who, guess in forecasts(model, fitting, test, horizons).items():
        for time, step in zip(TIMES, horizons):
            name = f"angles after {time:g} Lyapunov times, degrees"
            figures[name if who == "model" else f"{who}: {name}"] = degrees(guess[:, step - 1], future[:, step - 1])
    z = model.embed(test.frames[:40])[:, ::10].flatten(0, 1)
    figures |= {"embedding std": float(z.std(0).mean()), "effective rank": float(effective_rank(z))}
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument(
        "--recipes", default="double-pendulum-ema;double-pendulum;double-pendulum-state;" + ";".join(ABLATIONS)
    )
    parser.add_argument("--data", type=Path, default=Path("data/results-pendulum"))
    parser.add_argument("--runs", type=Path, default=Path("runs/results-pendulum"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds, names = [int(seed) for seed in options.seeds.split(",")], options.recipes.split(";")
    unit = lyapunov_time()
    fresh = collect(options.data / "test", WORLD, FRESH, EPISODES)
    stores = {seed: collect(options.data / f"train-{seed}", WORLD, seed, 250) for seed in seeds}
    horizons = [round(time * unit * 20) for time in TIMES]

    def figures(job: tuple[str, int]) -> Figures:
        name, seed = job
        recipe, overrides = ("double-pendulum", ABLATIONS[name]) if name in ABLATIONS else (name, ())
        folder = options.runs / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}"

        def measure() -> Figures:
            seconds = train(folder, recipe, Path(stores[seed].address), seed, overrides)
            fitting, test = view(stores[seed], folder), view(fresh, folder)
            model = WorldModel.load(folder, fitting.spec, torch.device("cpu"))
            found = figures_of(folder, model, load(fitting, EPISODES), load(test, EPISODES), horizons)
            found["CPU s"] = seconds
            if name not in ABLATIONS and seed == seeds[0]:
                run("brain.cli", "dream", "--run", str(folder), "--steps", str(horizons[-1]), "--decoder-steps", "800")
                dream = read_dream(Run(folder))
                assert dream is not None
                found["reconstruction PSNR, dB"] = dream.reconstruction_psnr_db
            return found

        return kept(folder, recipe, measure, overrides)

    table = over_seeds(names, seeds, figures)
    here, future = truth(load(fresh, EPISODES).states, 1, horizons[-1])
    still, turning = {}, {}
    for time, step in zip(TIMES, horizons):
        name, then = f"angles after {time:g} Lyapunov times, degrees", future[:, step - 1]
        still[name] = degrees(here, then)
        turning[name] = degrees(here[:, :2] + here[:, 2:] * step / 20, then)
    print(f"Lyapunov time {unit:.3f} s = {unit * 20:.1f} steps; {len(here)} forecasts\n")
    print_table(table, {"persistence": still, "constant velocity": turning})


if __name__ == "__main__":
    main()
