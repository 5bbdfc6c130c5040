"""The video model beside the default recipe, on CarRacing, at equal CPU seconds of the encoder.

    python -m benchmarks.results_video                          # 3 seeds of both recipes
    python -m benchmarks.results_video --seeds 0 --recipes video

Per seed: 100 episodes of 401 frames are collected (run seed = training seed), the encoder is trained for ``--budget``
CPU seconds, the predictor for ``--predictor-steps``, and ``brain judge`` scores both on that store's test episodes:
energies, linear probes on driving rows, error of latent rollouts beside persistence. Then the reward head's R2, and
how much the standardised latents of 8 consecutive model steps vary in time and over clips (their squares add up to
about 1: a small first figure is temporal collapse).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from benchmarks.results import Figures, collect, kept, over_seeds, print_table, run
from brain.evaluation.probe import Probe
from brain.models.world_model import WorldModel
from brain.objectives.collapse import temporal_std
from brain.runs.figures import judged
from brain.runs.judgement import Judgement
from brain.runs.settings import keep_or_refuse
from shared.store.reader import Store

WORLD = "car-racing"
KINDS = ("teleport", "far", "hard", "wrong-action-1", "wrong-action-4", "reversed", "frozen")
STATES = ("forward_speed", "angular_velocity", "lateral_offset", "heading_error")
CLIP = 8
"""Model steps of a clip for the figures of collapse."""
REWARD_STEPS = 300


def train(folder: Path, recipe: str, store: Path, seed: int, budget: float, predictor_steps: int) -> Figures:
    """Train both stages; the CPU seconds of their commands, which include the start of Python and torch."""
    where = ("brain.cli", "train", "--recipe", recipe, "--store", str(store), "--run", str(folder), "--device", "cpu")
    where += ("--seed", str(seed), "--stage")
    return {
        "CPU s, encoder": run(*where, "encoder", "--budget", f"{budget:g}s", "--clock", "cpu"),
        "CPU s, predictor": run(*where, "predictor", "--steps", str(predictor_steps)),
    }


def scores(found: Judgement, scorer: str, space: str) -> Figures:
    """AUCs by one of the judge's scorers and R2 by one of its representations."""
    kinds, probes = found.energy.kinds, found.probes["driving"]
    table = {f"AUC, {kind}": kinds[kind].auc[scorer] for kind in KINDS if kind in kinds and scorer in kinds[kind].auc}
    return table | {f"R2 {name}": probes[space][name] for name in STATES if space in probes}


@torch.no_grad()
def spread(model: WorldModel, store: Store) -> tuple[float, float]:
    """``temporal_std`` of the standardised latents of clips from every test episode."""
    stride, clips = model.recipe.observation.stride, []
    for ref in store.split("test"):
        frames = torch.from_numpy(store.read_episode(ref, "frame")["frame"])[::stride]
        z = model.encode(frames[None])[0]
        clips += [*z[: len(z) // CLIP * CLIP].unflatten(0, (-1, CLIP))]
    within, across = temporal_std(torch.stack(clips))
    return float(within), float(across)


def measure(folder: Path, store: Store, seed: int) -> Figures:
    """Every figure of a trained run."""
    run("brain.cli", "judge", "--run", str(folder), "--device", "cpu")
    found = judged(folder)
    table = scores(found, "model", "model")
    rollout = found.rollout
    for step, model_error, doing_nothing in zip(rollout.steps, rollout.model, rollout.persistence):
        if step <= CLIP:
            table[f"error after {step:g} steps"] = model_error
            table[f"persistence, {step:g} steps"] = doing_nothing
    model = WorldModel.load(folder, store.spec, torch.device("cpu"))
    rewards = Probe(model, store, seed, lambda line: None).reward(REWARD_STEPS)
    if rewards is not None:
        table |= {f"R2 reward, {space}": score.r2 for space, score in rewards[0].items() if space != "mean"}
    within, across = spread(model, store)
    latent = found.latent
    assert latent is not None
    table |= {"std in time": within, "std over clips": across}
    return table | {"effective rank": latent.effective_rank, "of dimensions": latent.dim}


def baselines(runs: Path, recipes: list[str], seed: int) -> dict[str, Figures]:
    """What the judge found without training, with one seed's data."""
    table: dict[str, Figures] = {}
    for recipe in recipes:
        found = judged(runs / f"{recipe}-{seed}")
        assert found.latent is not None
        table[f"untrained {recipe}"] = scores(found, "random-encoder", "random-encoder")
        table[f"PCA, {found.latent.dim}"] = scores(found, "", "pca")
    return table | {"pixels": scores(found, "pixel", ""), "true state": scores(found, "state-oracle", "")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--recipes", default="video,car-racing")
    parser.add_argument("--budget", type=float, default=60.0, help="CPU seconds of the encoder")
    parser.add_argument("--predictor-steps", type=int, default=1500)
    parser.add_argument("--episodes", type=int, default=100, help="to train and judge on, before the split")
    parser.add_argument("--data", type=Path, default=Path("data/results-video"))
    parser.add_argument("--runs", type=Path, default=Path("runs/results-video"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    facts = {key: getattr(options, key) for key in ("budget", "predictor_steps", "episodes")}
    keep_or_refuse(options.runs, str(options.data), facts, begun=options.runs.exists())
    seeds, names = [int(seed) for seed in options.seeds.split(",")], options.recipes.split(",")
    stores = {seed: collect(options.data / f"train-{seed}", WORLD, seed, options.episodes) for seed in seeds}

    def figures(job: tuple[str, int]) -> Figures:
        recipe, seed = job
        folder, store = options.runs / f"{recipe}-{seed}", stores[seed]

        def trained() -> Figures:
            spent = train(folder, recipe, Path(store.address), seed, options.budget, options.predictor_steps)
            return measure(folder, store, seed) | spent

        return kept(folder, recipe, trained)

    table = over_seeds(names, seeds, figures)
    print_table(table, baselines(options.runs, names, seeds[0]))


if __name__ == "__main__":
    main()
