"""``brain export``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from brain.commands.common import chosen_runs, need_torch
from brain.pretrained import names as pretrained_names
from shared.errors import TinyJEPAError


def command(
    given: Annotated[
        list[Path] | None,
        typer.Option(
            "--run",
            metavar="RUN",
            show_default=False,
            help="Run folder of brain train. Repeatable with --web: one per world.",
        ),
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--pretrained",
            metavar="NAME",
            autocompletion=pretrained_names,
            show_default=False,
            help="A run that comes with the package, such as two-room. Repeatable with --web.",
        ),
    ] = None,
    card: Annotated[
        bool, typer.Option("--card", help="Write README.md into the run folder: how it was made, figures, hashes.")
    ] = False,
    onnx: Annotated[
        bool,
        typer.Option(
            "--onnx", rich_help_panel="ONNX graphs", help="Write encoder, predictor and decoder as ONNX graphs."
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", show_default="RUN/onnx", rich_help_panel="ONNX graphs", help="Folder of the graphs."
        ),
    ] = None,
    web: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", rich_help_panel="Web page", help="Folder of a page that runs the model in the browser."
        ),
    ] = None,
    ort: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            metavar="FILE",
            show_default="the cache or the npm registry",
            rich_help_panel="Web page",
            help="onnxruntime-web, as written by npm pack.",
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="STORE", show_default="the run's own", help="Store of the run's world, for a run without judgement."
        ),
    ] = None,
) -> None:
    """Export a trained model as ONNX graphs, as a static web page, or with a card.

    The graphs are checked against PyTorch before they are kept; model.json beside them gives shapes and thresholds.
    The page simulates the bouncing logo or the two-room world and runs the model, all in the browser. The decoder is
    included if the run has one (brain dream trains it).

    Examples:
      brain export --run runs/car-racing --onnx
      brain export --run runs/car-racing --onnx --out graphs/
      brain export --run runs/bouncing-logo --run runs/two-room --web demo/
      brain export --pretrained bouncing-logo --pretrained two-room --web demo/
      brain export --run runs/car-racing --card
      python -m http.server --directory demo/   # then open http://localhost:8000
    """
    if not (onnx or card) and web is None:
        raise TinyJEPAError("say what to write: --onnx, --web DIR or --card, or several")
    runs = chosen_runs(given or [], names or [])
    if out is not None and (not onnx or len(runs) > 1):
        raise TinyJEPAError("--out is the folder of one run's graphs: give it with --onnx and one --run")
    if ort is not None and web is None:
        raise TinyJEPAError("--ort is the runtime of the page: give it with --web")
    need_torch()
    import torch

    from brain.data.place import spec_of
    from brain.export.graphs import need_onnx, refuse_coordinates, write_graphs
    from brain.export.page import Exhibit, write_page
    from brain.models.decoders.trained import load_decoder
    from brain.models.world_model import WorldModel
    from brain.reports.card import write_card
    from brain.runs.figures import read_judgement
    from brain.runs.folder import Run

    if card:
        for folder in runs:
            typer.echo(str(write_card(folder)))
    if not onnx and web is None:
        return
    need_onnx()
    exhibits = []
    for run in map(Run, runs):
        refuse_coordinates(run.recipe())
        judgement = read_judgement(run)
        model = WorldModel.load(run.path, spec_of(run, store), torch.device("cpu"))
        exhibits.append(Exhibit(run.path, model, load_decoder(run, model) if run.decoder.exists() else None, judgement))
    if onnx:
        for exhibit in exhibits:
            folder = out or exhibit.run / "onnx"
            _say(write_graphs(folder, exhibit.model, exhibit.decoder, exhibit.judgement), folder)
    if web is not None:
        for facts in write_page(web, exhibits, ort):
            _say(facts, web / "models" / facts["world"])
        typer.echo(f"python -m http.server --directory {web}   then open http://localhost:8000")


def _say(facts: dict[str, Any], folder: Path) -> None:
    for name, file in facts["files"].items():
        typer.echo(f"{folder / file}: differs from torch by {facts['largest_error'][name]:.1e} at most")
    if "decoder" not in facts["files"]:
        typer.echo(f"{folder}: no decoder: the run has none (brain dream trains it)")
