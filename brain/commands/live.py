"""``brain live``"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from brain.commands.common import Device, StorePlace, TrustWorld, need_torch, open_store
from shared.errors import MissingStoreError, TinyJEPAError

SERVER = "Server"
"""Panel of options."""


def command(
    run_paths: Annotated[
        list[Path], typer.Option("--run", metavar="RUN", help="Run folder of brain train. Repeatable.")
    ],
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

    if store is not None and len(run_paths) > 1:
        raise TinyJEPAError("--store applies to one run: give a single --run with it")
    access = Access.make(host, token)
    torch.set_num_threads(1)  # a frame at a time is too little work for more
    runs = {}
    for number, path in enumerate(run_paths):
        try:
            opened = open_store(Run(path), store)
        except MissingStoreError:
            if store is not None:
                raise
            opened = None
        runs[str(number)] = load(path, opened, pick(device), replay=replay, trust_world=trust_world)
        for note in runs[str(number)].notes:
            typer.echo(f"{path}: {note}", err=True)
    with contextlib.suppress(KeyboardInterrupt):
        serve(runs, access, port, lambda url: typer.echo(f"{url}\nCtrl-C stops it."))
