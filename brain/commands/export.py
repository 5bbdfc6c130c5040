"""``brain export``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brain.commands.common import need_torch
from shared.errors import TinyJEPAError

if TYPE_CHECKING:
    pass


def command(
    runs: Annotated[
        list[Path],
        typer.Option("--run", metavar="RUN", help="Run folder of brain train. Repeatable with --web: one per world."),
    ],
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
    """Export a trained model as ONNX graphs, or as a static web page.

    The graphs are checked against PyTorch before they are kept; model.json beside them gives shapes and thresholds.
    The page simulates the bouncing logo or the two-room world and runs the model, all in the browser. The decoder is
    included if the run has one (brain dream trains it).

    Examples:
      brain export --run runs/car-racing --onnx
      brain export --run runs/car-racing --onnx --out graphs/
      brain export --run runs/bouncing-logo --run runs/two-room --web demo/
      python -m http.server --directory demo/   # then open http://localhost:8000
    """
    if not onnx and web is None:
        raise TinyJEPAError("say what to write: --onnx, --web DIR, or both")
    if out is not None and (not onnx or len(runs) > 1):
        raise TinyJEPAError("--out is the folder of one run's graphs: give it with --onnx and one --run")
    if ort is not None and web is None:
        raise TinyJEPAError("--ort is the runtime of the page: give it with --web")
    need_torch()
    import torch

    from brain.data.place import spec_of
    from brain.export.graphs import need_onnx, write_graphs
    from brain.export.page import Exhibit, write_page
    from brain.models.decoders.trained import load_decoder
    from brain.models.world_model import WorldModel
    from brain.runs.figures import read_judgement
    from brain.runs.folder import Run

    need_onnx()
    exhibits = []
    for run in map(Run, runs):
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
