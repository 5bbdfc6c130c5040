"""``brain live``"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from brain.commands.common import (
    Device,
    StorePlace,
    TrustWorld,
    chosen_runs,
    need_torch,
    open_store,
    open_store_if_there,
)
from brain.commands.plan import DEFAULT_PLANNER, PLANNING, Costs, PlannerSettings, planner_names
from brain.pretrained import names
from shared.errors import TinyJEPAError

SERVER = "Server"
"""Panel of options."""


def command(
    runs: Annotated[
        list[Path] | None,
        typer.Option("--run", metavar="RUN", show_default=False, help="Run folder of brain train. Repeatable."),
    ] = None,
    pretrained: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            autocompletion=names,
            show_default=False,
            help="A run that comes with the package, such as car-racing. Repeatable.",
        ),
    ] = None,
    store: StorePlace = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Replay stored test episodes even if the simulator is installed.")
    ] = False,
    planner: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=planner_names,
            show_default=DEFAULT_PLANNER,
            rich_help_panel=PLANNING,
            help="The planner of brain plan that can act.",
        ),
    ] = None,
    overrides: PlannerSettings = None,
    costs: Costs = None,
    fit: Annotated[
        str | None,
        typer.Option(
            metavar="STORE",
            show_default=False,
            rich_help_panel=PLANNING,
            help="Episodes that learned parts of planner and costs are fitted to, once for a run folder.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="HOST", rich_help_panel=SERVER, help="Address to listen on; 0.0.0.0 is all.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", rich_help_panel=SERVER, help="0 picks a free port.")
    ] = 8765,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="TINYJEPA_LIVE_TOKEN",
            metavar="TOKEN",
            show_default="random, if --host is not this machine",
            rich_help_panel=SERVER,
            help="Secret that a viewer needs.",
        ),
    ] = None,
    device: Device = "auto",
    trust_world: TrustWorld = False,
) -> None:
    """Watch a model watch its world, in a web page: energies, interventions, latents and dreams.

    On the page a planner can act too; in the two rooms a click sets its goal. The page is served to this machine only,
    unless --host says otherwise. --store and --fit apply to a single run. Ctrl-C stops the server.

    Examples:
      brain live --pretrained car-racing
      brain live --run runs/car-racing
      brain live --run runs/car-racing --run runs/bouncing-logo --port 0
      brain live --pretrained two-room --planner tree   # click a goal
      brain live --run runs/car --planner prior --fit data/drivers
      brain live --run runs/car-racing --host 0.0.0.0   # prints a URL with a token
    """
    need_torch()
    try:
        from brain.live.server import serve
    except ModuleNotFoundError as error:
        if error.name != "aiohttp":
            raise
        raise TinyJEPAError("aiohttp is not installed: pip install 'tinyjepa[brain]'") from None
    import torch

    from brain.device import pick
    from brain.live.access import Access
    from brain.live.loaded import load
    from brain.live.pilot import Acting
    from brain.runs.folder import Run

    run_paths = chosen_runs(runs or [], pretrained or [], writing=fit is not None)
    if (store is not None or fit is not None) and len(run_paths) > 1:
        raise TinyJEPAError("--store and --fit apply to one run: give a single --run with them")
    acting = Acting(planner, (*(overrides or ()),), (*(costs or ()),))
    acting.check()
    access = Access.make(host, token)
    torch.set_num_threads(1)  # a frame at a time is too little work for more
    shown = {}
    for number, path in enumerate(run_paths):
        opened = open_store_if_there(Run(path), store)
        fitted = open_store(Run(path), fit, own=False) if fit else None
        shown[str(number)] = load(
            path, opened, pick(device), replay=replay, trust_world=trust_world, acting=acting, fit=fitted
        )
        for note in shown[str(number)].notes:
            typer.echo(f"{path}: {note}", err=True)
    with contextlib.suppress(KeyboardInterrupt):
        serve(shown, access, port, lambda url: typer.echo(f"{url}\nCtrl-C stops it."))
