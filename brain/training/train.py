"""``train``: from a store and a recipe to a trained world model, stage by stage."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from brain import distributed
from brain.data.follow import wait_for_frames
from brain.data.place import remember
from brain.data.source import Feed
from brain.data.splits import judged_splits
from brain.data.state_mode import reader, standardise
from brain.data.windows import Timing
from brain.device import describe, pick_pool
from brain.models.world_model import WorldModel
from brain.recipes.schema import Recipe
from brain.runs import checkpoint
from brain.runs.folder import Compute, Run
from brain.runs.tensorboard import EventLog
from brain.runs.wandb_log import WandbLog, need_wandb
from brain.training.compute import compute_of_new, compute_of_source, settle
from brain.training.encoder import train_encoder
from brain.training.loop import OPEN_END, OpenBudget
from brain.training.options import Curves, Data, Effort, Stage, flags_of
from brain.training.predictor import check_predictor, train_predictor
from brain.training.taken import (
    UNTRAINED,
    check_untrained,
    is_untrained,
    leave_untrained,
    take_encoder,
)
from shared.cli.runlog import LOG
from shared.errors import DamageError, TinyJEPAError
from shared.store.reader import Store

STAGES: tuple[Stage, ...] = ("encoder", "predictor", "energy")

MOST_SEED = (1 << 63) - 1
ENCODER_SHARE = 0.8
"""Of a ``--budget`` for all stages, the encoder's share; the predictor gets the rest."""


Judge = Callable[[WorldModel, Store, Run], object]
"""Stage 3: called with the trained model, the store without damaged data, and the run."""


def train(
    store_path: Path | str,
    run_path: Path,
    recipe: Recipe,
    *,
    data: Data | None = None,
    effort: Effort | None = None,
    seed: int = 0,
    device: str = "auto",
    checkpoint_seconds: float = 15.0,
    curves: Sequence[Curves] = (),
    quiet: bool = False,
    begun: Callable[[Path], None] = lambda folder: None,
    judge: Judge | None = None,
) -> list[str]:
    """Run the stages that are not finished (or what ``effort`` says) and return one line on each.

    A followed store without steps or seconds trains the encoder until the collection has finished and one epoch over
    all of it is done, and at least for the recipe's steps. ``curves`` names other receivers of the curves. ``begun`` is
    called with the run folder once it is there and known to be this run's. ``judge`` is stage 3; without it that stage
    is left out. Several processes that were started for one run (``brain.distributed.joined``) share the training
    stages; the first one alone writes, judges and has lines to return. Raises ``TinyJEPAError`` for a foreign store or
    run folder, one that another process trains in, a stage whose input is missing, too little data, or divergence.
    """
    if not 0 <= seed <= MOST_SEED:
        raise TinyJEPAError(f"--seed {seed} is not between 0 and {MOST_SEED}, the largest that torch takes")
    data, effort = data or Data(), effort or Effort()
    if "wandb" in curves:
        need_wandb()
    with (
        distributed.joined(device) as target,
        contextlib.closing(_open(store_path, recipe, data, target, quiet)) as feed,
        contextlib.ExitStack() as held,
    ):
        run = Run(run_path)
        if judge is not None and feed.follower is None and _to_judge(run, effort):
            judged_splits(feed.store, Timing.of(recipe.observation))
        try:
            flags = flags_of(data, effort, device, curves)
            kept, notes = distributed.agreed(
                "begun", lambda: _begin(run, feed, recipe, seed, effort, target, begun, flags, held)
            )
            compute = Compute(**kept)
            LOG.info("store %s on %s, frames held on %s, %s", feed.store.address, describe(target), feed.pool, compute)
            if distributed.first():
                _open_logs(run, curves)
            for line in notes:
                LOG.info(line)
            lines = notes + _stages(feed, run, recipe, effort, compute, seed, target, checkpoint_seconds, quiet, judge)
            unused = recipe.objective.part().unused(recipe.objective, feed.store.spec.action_dim)
            lines += [f"note: {feed.store.spec.world} has no actions: objective.{key} has no effect" for key in unused]
            if distributed.first() and _still(feed):
                lines.append(f"note: the frames of {feed.store.address} never vary, so there is nothing to learn here")
        finally:
            run.close()
            for loss in feed.losses():
                LOG.warning(loss)
    return lines + feed.losses()


def _to_judge(run: Run, effort: Effort) -> bool:
    finished = run.encoder.exists() and run.predictor.exists() and run.judgement.exists()
    return effort.stage == "energy" or (effort.stage is None and not finished)


def _begin(
    run: Run,
    feed: Feed,
    recipe: Recipe,
    seed: int,
    effort: Effort,
    target: torch.device,
    begun: Callable[[Path], None],
    flags: list[str],
    held: contextlib.ExitStack,
) -> tuple[dict[str, Any], list[str]]:
    """Make or check the run folder, ``held`` from here on against other trainings; how its encoder is trained
    (``Compute``), and notes on what has changed. Where all stages are to run and stage 2 cannot train, no folder is
    made."""
    source = Run(effort.encoder) if isinstance(effort.encoder, Path) else None
    if effort.encoder == UNTRAINED:
        check_untrained(run, recipe)
    if effort.stage is None and not (run.encoder.exists() and run.predictor.exists()):
        check_predictor(recipe, feed)
    if source is not None:
        wanted = compute_of_source(source, run, feed, recipe, effort)
    else:
        wanted = compute_of_new(effort, target, feed.memory)
    held.enter_context(run.claimed())
    run.begin(recipe, feed.store.spec, feed.store.address, seed, wanted, flags, describe(target))
    begun(run.path)
    if source is not None:
        compute, notes = wanted, _removed(take_encoder(run, source), "encoder")
    else:
        compute, notes = settle(run, effort, wanted)
    before, moved = run.facts()["store"], remember(run, feed.store)
    if moved:
        notes.append(f"note: {moved}")
    elif before != feed.store.address:
        notes.append(f"note: {run.path} was started on {before}; stages finished there are kept")
    return asdict(compute), notes


def _removed(gone: Sequence[str], stage: str) -> list[str]:
    return [f"note: {', '.join(gone)} were made with an earlier {stage}: removed"] if gone else []


def _still(feed: Feed) -> bool:
    """Whether no frame differs from the first one of its episode, in 8 training episodes."""
    sample = feed.sound([ref for ref in feed.store.episodes if ref.split == "train"][:8])
    try:
        frames = [feed.store.read_episode(ref, "frame")["frame"] for ref in sample]
    except DamageError:
        return False
    return bool(frames) and all((shown == shown[0]).all() for shown in frames)


def _open_logs(run: Run, curves: Sequence[Curves]) -> None:
    if "tensorboard" in curves:
        run.logs.append(EventLog(run.path / "tensorboard"))
    if "wandb" in curves:
        facts = run.facts()
        config = {"recipe": run.recipe().model_dump(mode="json"), "world": facts["world"], "seed": facts["seed"]}
        run.logs.append(WandbLog(run.path, config))


def _open(path: Path | str, recipe: Recipe, data: Data, target: torch.device, quiet: bool) -> Feed:
    follower, quiet = None, quiet or not distributed.first()
    if data.follow:

        def say(line: str) -> None:
            LOG.info(line)
            if not quiet:
                print(line, file=sys.stderr, flush=True)

        store, follower = wait_for_frames(
            path,
            "train",
            data.min_frames,
            reader=reader(recipe),
            on_corrupt=data.on_corrupt,
            poll=data.poll,
            idle=data.idle,
            say=say,
        )
    else:
        store = reader(recipe)(path, data.on_corrupt)
    if not any(ref.split == "train" for ref in store.episodes):
        if follower is not None:
            follower.close()
        raise TinyJEPAError(
            f"{store.path}: no training episodes yet ({len(store.episodes)} in all): collect more first"
        )
    return Feed(store, follower, data.memory, pick_pool(data.pool, target, data.memory))


def _stages(
    feed: Feed,
    run: Run,
    recipe: Recipe,
    effort: Effort,
    compute: Compute,
    seed: int,
    target: torch.device,
    checkpoint_seconds: float,
    quiet: bool,
    judge: Judge | None,
) -> list[str]:
    store = feed.store
    distributed.one_by_one(lambda: standardise(store, run))
    torch.manual_seed(seed)
    model = WorldModel(recipe, store.spec).to(target)

    stage, lines = effort.stage, list[str]()
    threads = None  # of the embedding: torch's own number
    if effort.steps is not None and target.type == "cpu":
        threads = effort.threads or compute.threads or 1  # fixed, for the same weights on any machine

    def done(line: str) -> None:
        LOG.info(line)
        lines.append(line)

    def anew(name: str) -> None:
        if distributed.first():
            for line in _removed(run.forget(name), name):
                done(line)

    def reused(name: str, path: Path) -> None:
        if name == "encoder" and isinstance(effort.encoder, Path):
            return done(f"encoder: that of {effort.encoder} ({_finished(path)})")
        if name == "encoder" and is_untrained(run):
            return done(f"encoder: left untrained before ({_finished(path)}), reused")
        done(f"{name}: finished before ({_finished(path)}), reused")
        section, facts = recipe.objective if name == "encoder" else recipe.prediction, checkpoint.read_facts(path)
        wanted = effort.budget(section.steps, 1.0).steps
        if effort.open and OPEN_END in facts:
            return  # it followed a collection to its end
        if wanted not in (None, facts.get("step", 0)):
            done(f"note: the {name} was not trained for {wanted} steps: give another --run to train it so")

    if distributed.agreed("encoder", run.encoder.exists):
        reused("encoder", run.encoder)
    elif effort.encoder == UNTRAINED:
        anew("encoder")
        known = feed.known()
        if distributed.first():
            leave_untrained(run, model, feed, known, seed, threads)
        distributed.agreed("untrained", lambda: True)  # and written
        done(f"encoder: left untrained ({_finished(run.encoder)})")
    elif stage in (None, "encoder"):
        anew("encoder")
        spending = effort.budget(recipe.objective.steps, ENCODER_SHARE)
        if feed.follower is not None and effort.open:
            spending = OpenBudget(steps=recipe.objective.steps)
        train_encoder(
            run, model, feed, spending,
            compute=compute, seed=seed, checkpoint_seconds=checkpoint_seconds, quiet=quiet, graphs=effort.graphs,
        )  # fmt: skip
        distributed.agreed("trained", lambda: True)  # and written
        gc.collect()  # its graph and optimiser, which hold each other: memory of the GPU
        done(f"encoder: trained ({_finished(run.encoder)})")
    if stage == "encoder":
        return lines

    _restore(run.encoder, model.encoder)
    if distributed.agreed("predictor", run.predictor.exists):
        reused("predictor", run.predictor)
    elif stage in (None, "predictor"):
        anew("predictor")
        train_predictor(
            run, model, feed, effort.budget(recipe.prediction.steps, 1 - ENCODER_SHARE),
            seed=seed, checkpoint_seconds=checkpoint_seconds, quiet=quiet, threads=threads, graphs=effort.graphs,
        )  # fmt: skip
        distributed.agreed("trained", lambda: True)
        gc.collect()
        done(f"predictor: trained ({_finished(run.predictor)})")
    distributed.leave()
    if stage == "predictor" or judge is None or not distributed.first():
        return lines

    if run.judgement.exists() and stage is None:
        done("energy: judged before, reused (brain judge repeats it)")
        return lines
    _restore(run.predictor, model.dynamics)
    feed.close()  # what a collection still adds does not change what is judged
    sound = {(ref.run, ref.index) for ref in feed.sound(store.episodes)}
    store.leave_out([ref for ref in store.episodes if (ref.run, ref.index) not in sound])
    judge(model.eval(), store, run)
    done("energy: calibrated on validation episodes, judged on test episodes")
    return lines


def _restore(path: Path, module: torch.nn.Module) -> None:
    tensors, _ = checkpoint.load(path)
    checkpoint.restore(path, module, tensors, "model")


def _finished(path: Path) -> str:
    facts = checkpoint.read_facts(path)
    health = facts.get("health")
    figures = health.items() if isinstance(health, dict) else ()
    said = "".join(f", {name.replace('_', ' ')} {x:.3g}" for name, x in figures if isinstance(x, float))
    return f"{facts.get('step', 0)} steps in {facts.get('elapsed', 0):.0f} s{said}"
