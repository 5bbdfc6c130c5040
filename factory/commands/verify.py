"""``factory verify``"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import click

from shared.cli.console import LocalPath


@click.command()
@click.argument("store", type=LocalPath())
@click.option(
    "--quarantine", is_flag=True, help="Set damaged shards aside, mend Zarr documents: reading and collecting go on."
)
@click.option("--rebuild-log", metavar="STREAM", help="Make the lost log of a stream anew from its shards, then check.")
@click.option(
    "--trust-world", is_flag=True, help="--rebuild-log: import the module that the store names for its world."
)
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object on stdout.")
@click.option("--quiet", is_flag=True, help="No progress.")
def command(
    store: Path, quarantine: bool, rebuild_log: str | None, trust_world: bool, as_json: bool, quiet: bool
) -> int:
    """Check every byte of a STORE against its log.

    Logs, sizes, checksums of every chunk, shard indexes, row counts, episode tables and Zarr documents. Exit code 0
    when all is right, 1 when anything is wrong, 2 when there is no store to check.

    \b
    Examples:
      factory verify data/car-racing
      factory verify data/car-racing --quarantine   then `factory collect` makes the lost episodes again
      factory verify data/car-racing --rebuild-log box1-w00-1a2b3c4d
    """
    from shared.store.verify import set_damaged_aside, verify

    if rebuild_log is not None:
        from factory.collecting.identity import rebuild

        click.echo(rebuild(store, rebuild_log, trust_world), err=as_json)
    started = time.perf_counter()
    verdict = verify(store, (lambda done, total: None) if quiet or as_json else _progress())
    seconds = time.perf_counter() - started
    lost = set_damaged_aside(store, verdict) if quarantine and verdict.faults else []
    if as_json:
        faults = [
            {"stream": fault.stream, "file": fault.file, "rows": fault.rows, "what": fault.what}
            for fault in verdict.faults
        ]
        facts = {"files": verdict.files, "bytes": verdict.bytes, "rows": verdict.rows, "episodes": verdict.episodes}
        missing = [
            {"seed": ref.run.seed, "policy": ref.run.policy, "episode": ref.index, "rows": ref.rows} for ref in lost
        ]
        click.echo(json.dumps({"faults": faults, "unknown": verdict.unknown, **facts, "set_aside": missing}))
        return bool(verdict.faults)
    for fault in verdict.faults:
        click.echo(f"WRONG {fault}")
    for name in verdict.unknown[:10]:
        click.echo(f"no log mentions {name}")
    if len(verdict.unknown) > 10:
        click.echo(f"no log mentions {len(verdict.unknown) - 10} more files")
    if verdict.unknown:
        click.echo("(leftovers of writers that were killed, or of one at work: factory gc removes the former)")
    speed = f"{verdict.bytes / 1e6:,.1f} MB in {verdict.files:,} files, {verdict.bytes / 1e6 / seconds:,.0f} MB/s"
    click.echo(f"{store}: {verdict.rows:,} rows, {verdict.episodes:,} episodes, {speed}")
    if not verdict.faults:
        click.echo("every byte is as the log says")
        return 0
    if not quarantine:
        click.echo(f"{len(verdict.faults)} fault(s): restore the files, or mend the store with --quarantine")
        return 1
    if verdict.lost_logs:
        click.echo(f"--quarantine cannot mend lost logs: use --rebuild-log {verdict.lost_logs[0]}")
        return 1
    if not lost:
        click.echo("mended from the log: no row is missing")
        return 1
    click.echo(f"set aside; {len(lost)} episodes, {sum(ref.rows for ref in lost):,} rows are missing now:")
    for ref in lost:
        click.echo(f"  episode {ref.index} of seed {ref.run.seed}, policy {ref.run.policy}: {ref.rows} rows")
    click.echo("the same factory collect command makes them again")
    return 1


def _progress() -> Callable[[int, int], None]:
    """A bar on a terminal, else a line every ten seconds, on stderr."""
    import sys

    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    console = Console(stderr=True)
    due = [time.perf_counter() + 10.0]
    bar = Progress(BarColumn(), DownloadColumn(), TransferSpeedColumn(), console=console, transient=True)
    task = bar.add_task("verify")

    def show(done: int, total: int) -> None:
        if console.is_terminal:
            bar.update(task, completed=done, total=total)
            bar.start() if done < total else bar.stop()
        elif time.perf_counter() > due[0]:
            due[0] = time.perf_counter() + 10.0
            print(f"verified {done / 1e6:,.0f} of {total / 1e6:,.0f} MB", file=sys.stderr, flush=True)

    return show
