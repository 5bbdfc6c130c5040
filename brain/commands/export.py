"""``brain export``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from brain.commands.common import StorePlace, need_torch, open_store

if TYPE_CHECKING:
    from brain.runs.figures import Judgement
    from brain.runs.folder import Run
    from shared.store.schema import StoreSpec

EXAMPLES = """\b
Examples:
  brain export --run runs/car-racing --onnx
  brain export --run runs/car-racing --onnx --out graphs/
  brain export --run runs/bouncing-logo --run runs/two-room --web demo/
  python -m http.server --directory demo/            then open http://localhost:8000"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--run", "runs", type=click.Path(path_type=Path), required=True, multiple=True,
    help="Run folder of brain train; --web takes one of each world.",
)  # fmt: skip
@click.option("--onnx", is_flag=True, help="Write encoder, predictor and decoder as ONNX graphs.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the graphs. [RUN/onnx]")
@click.option("--web", type=click.Path(path_type=Path), help="Folder of a page that runs the model in the browser.")
@click.option(
    "--ort", type=click.Path(path_type=Path, exists=True),
    help="onnxruntime-web as npm pack writes it. [the cache, or the npm registry]",
)  # fmt: skip
@click.option("--store", type=StorePlace(), help="Store of the run's world, for a run not judged. [its own]")
def command(
    runs: tuple[Path, ...], onnx: bool, out: Path | None, web: Path | None, ort: Path | None, store: Path | str | None
) -> None:
    """Take a trained model out of Python: ONNX graphs, or a static web page.

    The graphs are checked against torch before they are kept; model.json beside them tells shapes and threshold. The
    page simulates the bouncing logo and the two-room world and runs the model, all in the browser. A decoder goes with
    them where the run has one (brain dream makes it).
    """
    if not onnx and web is None:
        raise click.UsageError("say what to write: --onnx, --web DIR, or both")
    if out is not None and (not onnx or len(runs) > 1):
        raise click.UsageError("--out is the folder of one run's graphs: give it with --onnx and one --run")
    if ort is not None and web is None:
        raise click.UsageError("--ort is the runtime of the page: give it with --web")
    need_torch()
    import torch

    from brain.evaluation.dream import load_decoder
    from brain.export.graphs import need_onnx, write_graphs
    from brain.export.page import Exhibit, write_page
    from brain.models.world_model import WorldModel
    from brain.runs.figures import read_judgement
    from brain.runs.folder import Run

    need_onnx()
    exhibits = []
    for run in map(Run, runs):
        judgement = read_judgement(run)
        model = WorldModel.load(run.path, _spec(run, judgement, store), torch.device("cpu"))
        exhibits.append(Exhibit(run.path, model, load_decoder(run, model) if run.decoder.exists() else None, judgement))
    if onnx:
        for exhibit in exhibits:
            folder = out or exhibit.run / "onnx"
            _say(write_graphs(folder, exhibit.model, exhibit.decoder, exhibit.judgement), folder)
    if web is not None:
        for facts in write_page(web, exhibits, ort):
            _say(facts, web / "models" / facts["world"])
        click.echo(f"python -m http.server --directory {web}   then open http://localhost:8000")


def _spec(run: Run, judgement: Judgement | None, store: Path | str | None) -> StoreSpec:
    """The run's world: as its judge saw it, so that the store may be elsewhere by now, or from the store."""
    from brain.runs.figures import damaged

    run.facts()
    if judgement is None or store is not None:
        return open_store(run, store).spec
    try:
        return judgement.spec()
    except ValueError as error:
        raise damaged(run.judgement, error, "make it again with brain judge") from None


def _say(facts: dict[str, Any], folder: Path) -> None:
    for name, file in facts["files"].items():
        click.echo(f"{folder / file}: differs from torch by {facts['largest_error'][name]:.1e} at most")
    if "decoder" not in facts["files"]:
        click.echo(f"{folder}: no decoder, the run has none (brain dream --run makes it)")
