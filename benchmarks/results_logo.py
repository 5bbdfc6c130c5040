"""The bouncing logo: dvd-jepa's figures, reproduced and beaten, on worlds that training never saw.

    python -m benchmarks.results_logo                  # 3 seeds of both recipes
    python -m benchmarks.results_logo --seeds 0 --recipes bouncing-logo

Per seed: 400 episodes of 64 frames are collected (run seed = training seed; the original trains on as many), the
recipe's encoder and predictor are trained, and everything is measured on two stores of a run seed of their own:
256 episodes of 134 frames, and 60 episodes of 44 frames with a teleport at frame 24. CPU seconds are those of the
whole training commands, on one thread.
"""

from __future__ import annotations

import argparse
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import nn

from benchmarks import results
from benchmarks.results import FRESH, Figures, kept, over_seeds, print_table, train
from brain.evaluation.probes import Ridge
from brain.models.encoders.base import Frames
from brain.models.encoders.mlp import MLPEncoder, MLPOptions
from brain.models.world_model import WorldModel
from shared.store.reader import Store

WORLD = "bouncing-logo"
HORIZONS = (1, 10, 30, 100)
TELEPORT = 24
DECODER_STEPS = 2000
PENALTY = 1e-6
SEEDING = threading.Lock()
"""Held while weights or batches are drawn from torch's global generator."""


def collect(path: Path, seed: int, episodes: int, steps: int, *more: str) -> Store:
    return results.collect(path, WORLD, seed, episodes, "--max-episode-steps", str(steps), *more)


class Clips:
    """All episodes of a store in memory; they have one length."""

    def __init__(self, store: Store) -> None:
        read = [store.read_episode(ref, "frame", "state") for ref in store.episodes]
        self.frames = np.stack([episode["frame"] for episode in read])
        """uint8 (E, T, 16, 16, 1)"""
        self.position = np.stack([episode["state"][:, :2] for episode in read]).astype(np.float64)
        """(E, T, 2) pixels"""

    @property
    def pairs(self) -> np.ndarray:
        """float (E, T - 1, 512): two frames each, in [0, 1], the observation of frame t + 1."""
        flat = self.frames.reshape(*self.frames.shape[:2], -1) / 255.0
        return np.concatenate([flat[:, :-1], flat[:, 1:]], 2)

    @property
    def pixels(self) -> np.ndarray:
        """float (E, T, 256) in [0, 1]"""
        return self.frames.reshape(*self.frames.shape[:2], -1) / 255.0


def embed(model: WorldModel, clips: Clips) -> torch.Tensor:
    """Standardised latents (E, T - 1, D): row t belongs to frame t + 1."""
    return model.encode(torch.from_numpy(clips.frames))


def rmse(error: np.ndarray) -> float:
    """Per coordinate, in pixels."""
    return float(np.sqrt(np.mean(error**2)))


def fit_probe(features: np.ndarray, position: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Ridge in closed form: features (..., D) to positions (..., 2)."""
    ridge = Ridge(features.reshape(-1, features.shape[-1]), position.reshape(-1, 2), [PENALTY])

    def read(values: np.ndarray) -> np.ndarray:
        return ridge.predict(values.reshape(-1, values.shape[-1]))[0].reshape(*values.shape[:-1], 2)

    return read


def fit_decoder(z: torch.Tensor, pixels: torch.Tensor, seed: int) -> nn.Module:
    """Frozen latents (N, D) to frames in [0, 1], (N, 256), by mean squared error; dvd-jepa's decoder and budget."""
    with SEEDING:
        torch.manual_seed(seed)
        wide, last = nn.Linear(64, 256), nn.Linear(256, 256)
        layers = (nn.Linear(z.shape[1], 64), nn.GELU(), wide, nn.GELU(), last, nn.Sigmoid())
    decoder = nn.Sequential(*layers)
    optimizer = torch.optim.Adam(decoder.parameters(), 1e-3, fused=True)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(DECODER_STEPS):
        rows = torch.randint(len(z), (256,), generator=generator)
        loss = (decoder(z[rows]) - pixels[rows]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return decoder.eval()


@torch.no_grad()
def judge(model: WorldModel, seed: int, train: Clips, test: Clips, anomalies: Clips) -> dict[str, float]:
    """Every figure of one run."""
    z_train, z_test, z_odd = embed(model, train), embed(model, test), embed(model, anomalies)
    read = fit_probe(z_train.numpy(), train.position[:, 1:])
    with torch.enable_grad():
        pixels = torch.from_numpy(train.pixels[:, 1:].astype(np.float32))
        decoder = fit_decoder(z_train.flatten(0, 1), pixels.flatten(0, 1), seed)
    figures = {"probe": rmse(read(z_test.numpy()) - test.position[:, 1:])}
    figures["reconstruction"] = float(np.mean((decoder(z_test).numpy() - test.pixels[:, 1:]) ** 2))
    raw = model.embed(torch.from_numpy(test.frames)).flatten(0, 1)
    figures["std"] = float(raw.std(0).mean())
    none = torch.zeros(len(z_test), max(HORIZONS), 0)
    future = model.dynamics.rollout(z_test[:, 0], none)
    for k in HORIZONS:
        figures[f"position {k}"] = rmse(read(future[:, k - 1].numpy()) - test.position[:, 1 + k])
        drawn = decoder(future[:, k - 1]).numpy()
        figures[f"forecast {k}"] = float(np.mean((drawn - test.pixels[:, 1 + k]) ** 2))
    count = z_odd.shape[1] - 1
    predicted = model.dynamics.rollout(z_odd[:, :-1].flatten(0, 1), torch.zeros(len(z_odd) * count, 1, 0))[:, 0]
    drawn = decoder(predicted).numpy().reshape(len(z_odd), count, -1)
    surprise = ((drawn - anomalies.pixels[:, 2:]) ** 2).mean(2)
    latent = (predicted.reshape(len(z_odd), count, -1) - z_odd[:, 1:]).square().mean(2).numpy()
    for name, curve in (("pixel", surprise), ("latent", latent)):
        peak, event = curve.max(1), curve.argmax(1) + 2
        figures[f"anomaly {name}"] = float(np.median(peak / np.median(curve, 1)))
        figures[f"found {name}"] = float(np.mean(np.abs(event - TELEPORT) <= 1))
    return figures


def baselines(train: Clips, test: Clips) -> dict[str, dict[str, float]]:
    """What needs no model: the mean, the present, a replayed training episode, the raw pixels, PCA."""
    where = test.position[:, 1:]
    mean = {"probe": rmse(where - train.position.mean((0, 1)))}
    frozen = {f"position {k}": rmse(test.position[:, 1] - test.position[:, 1 + k]) for k in HORIZONS}
    frozen |= {f"forecast {k}": float(np.mean((test.pixels[:, 1] - test.pixels[:, 1 + k]) ** 2)) for k in HORIZONS}
    raw = {"probe": rmse(fit_probe(train.pairs, train.position[:, 1:])(test.pairs) - where)}
    basis = PCA(32, random_state=0).fit(train.pairs.reshape(-1, 512))
    ours, theirs = (basis.transform(clips.pairs.reshape(-1, 512)) for clips in (train, test))
    found = fit_probe(ours.reshape(*train.pairs.shape[:2], -1), train.position[:, 1:])
    pca = {"probe": rmse(found(theirs.reshape(*test.pairs.shape[:2], -1)) - where)}
    with SEEDING:  # its batches come from there too, while runs beside it seed their decoders
        upper_bound = {"probe": rmse(supervised(train)(test) - where)}
    baseline = {"mean": mean, "persistence": frozen, "replay": replay(train, test), "PCA, 32": pca, "raw pixels": raw}
    return baseline | {"supervised": upper_bound}


def replay(train: Clips, test: Clips) -> dict[str, float]:
    """The forecast that only remembers: what followed the training pair that is nearest to the one seen (1 to 30)."""
    most, found = 30, {}
    starts = train.pairs.shape[1] - most
    pool = torch.from_numpy(train.pairs[:, :starts].reshape(-1, 512))
    nearest = torch.cdist(torch.from_numpy(test.pairs[:, 0]), pool).argmin(1).numpy()
    episode, row = nearest // starts, nearest % starts + 1  # a pair is named by its second frame
    for k in (k for k in HORIZONS if k <= most):
        found[f"position {k}"] = rmse(train.position[episode, row + k] - test.position[:, 1 + k])
        found[f"forecast {k}"] = float(np.mean((train.pixels[episode, row + k] - test.pixels[:, 1 + k]) ** 2))
    return found


def supervised(train: Clips, steps: int = 1500) -> Callable[[Clips], np.ndarray]:
    """The same encoder and a linear map, trained on the true position: the upper bound."""
    torch.manual_seed(0)
    network = nn.Sequential(MLPEncoder(MLPOptions(dim=32, width=128), Frames(16, 16, 1, stack=2)), nn.Linear(32, 2))
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    inputs = torch.from_numpy(train.pairs.reshape(-1, 512).astype(np.float32)) * 2 - 1
    places = torch.from_numpy(train.position[:, 1:].reshape(-1, 2).astype(np.float32))
    for _ in range(steps):
        rows = torch.randint(len(inputs), (256,))
        loss = (network(inputs[rows]) - places[rows]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

    def read(clips: Clips) -> np.ndarray:
        with torch.no_grad():
            pairs = torch.from_numpy(clips.pairs.reshape(-1, 512).astype(np.float32)) * 2 - 1
            return network(pairs).numpy().reshape(*clips.pairs.shape[:2], 2)

    return read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--recipes", default="bouncing-logo-ema,bouncing-logo")
    parser.add_argument("--data", type=Path, default=Path("data/results-logo"))
    parser.add_argument("--runs", type=Path, default=Path("runs/results-logo"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipes, seeds = options.recipes.split(","), [int(seed) for seed in options.seeds.split(",")]
    wanted = {
        "test": (FRESH, 256, 133),
        "teleports": (FRESH + 1, 60, 43, "--option", f"teleport_at={TELEPORT}"),
        **{f"train-{seed}": (seed, 400, 63) for seed in seeds},
    }
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        stores = dict(zip(wanted, pool.map(lambda name: collect(options.data / name, *wanted[name]), wanted)))
    test, anomalies = Clips(stores["test"]), Clips(stores["teleports"])
    beside = ThreadPoolExecutor(1).submit(baselines, Clips(stores[f"train-{seeds[0]}"]), test)

    def figures(job: tuple[str, int]) -> Figures:
        recipe, seed = job
        folder, store = options.runs / f"{recipe}-{seed}", stores[f"train-{seed}"]

        def measure() -> Figures:
            seconds = train(folder, recipe, store.path, seed)
            model = WorldModel.load(folder, store.spec, torch.device("cpu"))
            return judge(model, seed, Clips(store), test, anomalies) | {"CPU s": seconds}

        return kept(folder, recipe, measure)

    print_table(over_seeds(recipes, seeds, figures), beside.result())


if __name__ == "__main__":
    main()
