"""``--watch``: metrics refreshed on the terminal and, on request, served to Prometheus."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from shared.cli.metrics import Exporter

Facts = dict[str, Any]


def watch(
    program: str,
    look: Callable[[], Facts],
    lines: Callable[[Facts], Iterable[str]],
    *,
    every: float,
    port: int | None = None,
    as_json: bool = False,
    looks: int | None = None,
) -> None:
    """Show ``lines(look())`` every ``every`` seconds until Ctrl-C, or ``looks`` times.

    A terminal is updated in place; otherwise each update is printed, as JSON with ``as_json``. With a ``port`` the
    numbers are also served to Prometheus. Raises what ``look`` raises.
    """
    exporter = Exporter(program, port) if port is not None else None
    console = Console()
    try:
        if console.is_terminal and not as_json:
            with Live(console=console, auto_refresh=False) as live:

                def draw(facts: Facts) -> None:
                    live.update(Text("\n".join(lines(facts))), refresh=True)

                _repeat(look, draw, exporter, every, looks)
        else:
            _repeat(look, lambda facts: _print(facts, lines, as_json), exporter, every, looks)
    except KeyboardInterrupt:
        pass  # the way to quit
    finally:
        if exporter:
            exporter.close()


def _repeat(
    look: Callable[[], Facts],
    show: Callable[[Facts], None],
    exporter: Exporter | None,
    every: float,
    looks: int | None,
) -> None:
    done = 0
    while True:
        facts = look()
        if exporter:
            exporter.show(facts)
        show(facts)
        done += 1
        if done == looks:
            return
        time.sleep(every)


def _print(facts: Facts, lines: Callable[[Facts], Iterable[str]], as_json: bool) -> None:
    typer.echo(json.dumps(facts) if as_json else "\n".join(lines(facts)) + "\n")


def duration(seconds: float | None) -> str:
    """E.g. ``40 s``, ``12 min``, ``3.5 h``; a dash if unknown."""
    if seconds is None:
        return "–"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
