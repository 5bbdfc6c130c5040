"""Images per CPU second beside the training loops of eb_jepa and stable-worldmodel, with the same network.

    git clone https://github.com/facebookresearch/eb_jepa && git -C eb_jepa checkout 966e61e
    git clone https://github.com/galilai-group/stable-worldmodel && git -C stable-worldmodel checkout addbab4
    pip install einops fire imageio omegaconf pandas seaborn tqdm wandb        # what eb_jepa's example imports
    pip install './stable-worldmodel[train,format]'                            # what its script lewm.py imports
    python -m benchmarks.peers --eb-jepa eb_jepa --stable-worldmodel stable-worldmodel [--seconds 10] [--repeats 3]

Their scripts are called as they are, from the checkouts; nothing of theirs is copied here. Each is compared with
``brain train`` on its network, batch, window, resolution and precision (float32, one thread): see
``benchmarks/peers_eb_jepa.py`` and ``benchmarks/peers_stable_worldmodel.py``. Their data loaders run in the process
(``num_workers=0``), as cheap as they can be. *On one batch*: the same loop, but every batch is one that is there
already, which leaves the network, the loss and the optimiser.

Loops take turns within every repeat, each for at least ``--seconds`` of CPU time (user and system, all threads) from
its second step on. Printed are images per CPU second, a network's input once per step being an image, median [min-max],
and the ratio of ours, repeat by repeat. Without one of the two options that half is left out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.peers_meter import METER
from benchmarks.training_steps import interleaved, ratios, rows_of, spread

Loops = tuple[int, dict[str, Callable[[], object]]]


def table(loops: Loops, seconds: float, repeats: int) -> str:
    """Loops in pairs, ours first."""
    images, runs = loops

    def measured(run: Callable[[], object]) -> Callable[[], float]:
        return lambda: images / METER.per_step(run, seconds)

    found = interleaved({name: measured(run) for name, run in runs.items()}, repeats)
    rows, names = [["loop", "images per CPU second", "ours / theirs"]], list(found)
    for ours, theirs in zip(names[::2], names[1::2]):
        rows.append([ours, spread(found[ours], 1), spread(ratios(found[ours], found[theirs]), 2)])
        rows.append([theirs, spread(found[theirs], 1), ""])
    return "\n".join(rows_of(rows))


def main(
    eb_jepa: Annotated[Path | None, typer.Option(exists=True, file_okay=False, help="A checkout.")] = None,
    stable_worldmodel: Annotated[Path | None, typer.Option(exists=True, file_okay=False, help="A checkout.")] = None,
    seconds: Annotated[float, typer.Option(help="CPU seconds of each measurement, at least.")] = 20.0,
    repeats: int = 3,
    batch: Annotated[int, typer.Option(help="Windows of a batch.")] = 16,
) -> None:
    if eb_jepa is None and stable_worldmodel is None:
        raise typer.BadParameter("give a checkout: --eb-jepa DIR, --stable-worldmodel DIR or both")
    print(f"cpu, 1 thread, torch {torch.__version__}, float32, batch {batch}, {seconds:g} s, {repeats} repeats")
    with tempfile.TemporaryDirectory() as folder:
        if eb_jepa is not None:
            from benchmarks import peers_eb_jepa

            print("\neb_jepa, example ac_video_jepa, IMPALA encoder, windows of 17 frames of 65x65:\n")
            print(table(peers_eb_jepa.loops(eb_jepa.resolve(), Path(folder), batch), seconds, repeats), flush=True)
        if stable_worldmodel is not None:
            from benchmarks import peers_stable_worldmodel

            print("\nstable-worldmodel, lewm.py, ViT-tiny with patches of 8x8, windows of 4 frames of 64x64:\n")
            loops = peers_stable_worldmodel.loops(stable_worldmodel.resolve(), Path(folder), batch)
            print(table(loops, seconds, repeats), flush=True)


if __name__ == "__main__":
    typer.run(main)
