"""``brain live``"""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from brain.commands.common import StorePlace, need_torch, open_store
from shared.errors import MissingStoreError, TinyJEPAError

EXAMPLES = """\b
Examples:
  brain live --run runs/car-racing
  brain live --run runs/car-racing --run runs/bouncing-logo --port 0
  brain live --run runs/car-racing --host 0.0.0.0      # for others too: prints a URL with a token"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--run", "run_paths", type=click.Path(path_type=Path), required=True, multiple=True,
    help="Run folder of brain train; may be given several times.",
)  # fmt: skip
@click.option("--store", type=StorePlace(), help="Its store, where one run is given. [the one it was trained on]")
@click.option("--replay", is_flag=True, help="Stored test episodes, even where the simulator is installed.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 is all.")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 takes any free one.")
@click.option(
    "--token", envvar="TINYJEPA_LIVE_TOKEN", help="What a viewer must know. [made, where --host is not this machine]"
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
def command(
    run_paths: tuple[Path, ...],
    store: Path | str | None,
    replay: bool,
    host: str,
    port: int,
    token: str | None,
    device: str,
) -> None:
    """Watch the model watch the world, in a web page: energies, impossible events, latents, dreams.

    The page is served on this machine only, unless --host says otherwise. Ctrl-C ends it.
    """
    need_torch()
    try:
        from brain.live.server import serve
    except ModuleNotFoundError as error:
        if error.name != "aiohttp":
            raise
        raise TinyJEPAError("aiohttp is not installed on this box: pip install 'tinyjepa[brain]'") from None
    import torch

    from brain.device import pick
    from brain.live.access import Access
    from brain.live.loaded import load
    from brain.runs.folder import Run

    if store is not None and len(run_paths) > 1:
        raise click.UsageError("--store belongs to one run: give a single --run with it")
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
        runs[str(number)] = load(path, opened, pick(device), replay=replay)
        for note in runs[str(number)].notes:
            click.echo(f"{path}: {note}", err=True)
    with contextlib.suppress(KeyboardInterrupt):
        serve(runs, access, port, lambda url: click.echo(f"{url}\nCtrl-C ends it."))
