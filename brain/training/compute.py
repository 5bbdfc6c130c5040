"""What the encoder of a run is trained with: of a new run, of a resumed one, and of one that takes an encoder over."""

from __future__ import annotations

import torch

from brain import distributed
from brain.data.source import Feed
from brain.device import pick_precision
from brain.recipes.schema import Recipe
from brain.runs.folder import Compute, Run, check_fit
from brain.training.options import Effort
from brain.training.taken import FLAG, check_encoder
from shared.errors import TinyJEPAError


def compute_of_new(effort: Effort, target: torch.device, memory: int) -> Compute:
    """What a new run is trained with. On a GPU the number of CPU threads changes no bits and is torch's own."""
    ranks = distributed.world_size()
    threads = effort.threads or (1 if effort.steps is not None or ranks > 1 else None)
    if target.type != "cpu":
        threads = effort.threads or torch.get_num_threads()
    return Compute(pick_precision(effort.precision, target), threads, ranks, effort.compiled, memory)


def settle(run: Run, effort: Effort, wanted: Compute) -> tuple[Compute, list[str]]:
    """What the run is trained with now, its own where nothing else is asked for, and a line on a change.

    Raises ``TinyJEPAError`` where another precision is asked for than that of the steps so far.
    """
    kept = run.compute()
    compute = Compute(
        kept.precision if effort.precision == "auto" else wanted.precision,
        kept.threads if effort.threads is None and wanted.ranks == 1 else wanted.threads,
        wanted.ranks,
        wanted.compiled or kept.compiled,
        kept.memory if run.encoder.exists() else wanted.memory,
    )
    if compute == kept:
        return compute, []
    begun = run.encoder.exists() or run.checkpoint("encoder").exists()
    if begun and compute.precision != kept.precision:
        raise TinyJEPAError(
            f"{run.path} was trained in {kept.precision}, not {compute.precision}: leave --precision out, or give "
            "another --run"
        )
    run.record_compute(compute)
    changes = []
    if begun and compute.threads != kept.threads:
        names = [str(count or "a measured number of") for count in (kept.threads, compute.threads)]
        changes.append(f"{names[1]} threads from here on, {names[0]} before")
    if begun and compute.ranks != kept.ranks:
        changes.append(f"{compute.ranks} processes from here on, {kept.ranks} before")
    if begun and compute.compiled != kept.compiled:
        changes.append("compiled steps from here on, not before")
    if begun and compute.memory != kept.memory:
        gib = [f"{count / (1 << 30):g}" for count in (compute.memory, kept.memory)]
        changes.append(f"--memory {gib[0]} from here on, {gib[1]} before; where the store does not fit into both")
    differ = "weights differ from those of an uninterrupted run"
    return compute, [f"note: {change}: {differ}" for change in changes]


def compute_of_source(source: Run, run: Run, feed: Feed, recipe: Recipe, effort: Effort) -> Compute:
    """What the encoder of ``source`` was trained with. Raises ``TinyJEPAError`` where ``run`` cannot take it over."""
    if source.path.resolve() == run.path.resolve():
        raise TinyJEPAError(f"{FLAG} {source.path} is the run itself: give --run a folder of its own")
    check_encoder(source, recipe)
    check_fit(source.facts(), feed.store.spec, str(feed.store.path), f"give an {FLAG} of the same world")
    kept = source.compute()
    if effort.precision not in ("auto", kept.precision):
        raise TinyJEPAError(
            f"{FLAG} {source.path} was trained in {kept.precision}, not {effort.precision}: leave --precision out"
        )
    return kept
