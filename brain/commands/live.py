"""``brain live``"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from brain.commands.common import Device, StorePlace, TrustWorld, chosen_runs, need_torch, open_store_if_there
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

    The page is served to this machine only, unless --host says otherwise. --store applies to a single run. Ctrl-C
    stops the server.

    Examples:
      brain live --pretrained car-racing
      brain live --run runs/car-racing
      brain live --run runs/car-racing --run runs/bouncing-logo --port 0
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
    from brain.runs.folder import Run

    run_paths = chosen_runs(runs or [], pretrained or [], writing=False)
    if store is not None and len(run_paths) > 1:
        raise TinyJEPAError("--store applies to one run: give a single --run with it")
    access = Access.make(host, token)
    torch.set_num_threads(1)  # a frame at a time is too little work for more
    shown = {}
    for number, path in enumerate(run_paths):
        opened = open_store_if_there(Run(path), store)
        shown[str(number)] = load(path, opened, pick(device), replay=replay, trust_world=trust_world)
        for note in shown[str(number)].notes:
            typer.echo(f"{path}: {note}", err=True)
    with contextlib.suppress(KeyboardInterrupt):
        serve(shown, access, port, lambda url: typer.echo(f"{url}\nCtrl-C stops it."))
