"""``factory verify``"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Annotated

import typer

from shared.cli.options import AsJson, LocalStore, Quiet


def command(
    store: LocalStore,
    quarantine: Annotated[
        bool,
        typer.Option(
            "--quarantine",
            help="Set damaged shards aside and repair Zarr documents, so that reading and collecting go on.",
        ),
    ] = False,
    rebuild_log: Annotated[
        str | None, typer.Option(metavar="STREAM", help="Rebuild the lost log of a stream from its shards, then check.")
    ] = None,
    cut_log: Annotated[
        str | None,
        typer.Option(
            metavar="STREAM",
            help="Cut a damaged log to its valid lines where --rebuild-log fails, then check; the shards stay.",
        ),
    ] = None,
    trust_world: Annotated[
        bool,
        typer.Option("--trust-world", help="--rebuild-log: import the module that the store names for its world."),
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Check every byte of a store against its log.

    The check covers logs, sizes, checksums of every chunk, shard indexes, row counts, episode tables and Zarr
    documents. The exit code is 0 if all is well, 1 if anything is wrong, and 2 if there is no store.

    Examples:
      factory verify data/car-racing
      factory verify data/car-racing --quarantine   # then collect again
      factory verify data/car-racing --rebuild-log box1-w00-1a2b3c4d
      factory verify data/car-racing --cut-log box1-w00-1a2b3c4d
    """
    from shared.store.verify import set_damaged_aside, verify

    if cut_log is not None:
        from shared.store.rebuild import cut_log as cut

        kept = f"the log is cut to {cut(store, cut_log):,} rows, and kept whole in quarantine/"
        typer.echo(f"stream {cut_log}: {kept}; its shards stay", err=as_json)
    if rebuild_log is not None:
        from factory.collecting.identity import rebuild

        typer.echo(rebuild(store, rebuild_log, trust_world), err=as_json)
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
        typer.echo(json.dumps({"faults": faults, "unknown": verdict.unknown, **facts, "set_aside": missing}))
        return bool(verdict.faults)
    for fault in verdict.faults:
        typer.echo(f"WRONG {fault}")
    for name in verdict.unknown[:10]:
        typer.echo(f"no log mentions {name}")
    if len(verdict.unknown) > 10:
        typer.echo(f"no log mentions {len(verdict.unknown) - 10} more files")
    if verdict.unknown:
        typer.echo("(left by killed writers, which factory gc cleans up, or by one that is running)")
    speed = f"{verdict.bytes / 1e6:,.1f} MB in {verdict.files:,} files, {verdict.bytes / 1e6 / seconds:,.0f} MB/s"
    typer.echo(f"{store}: {verdict.rows:,} rows, {verdict.episodes:,} episodes, {speed}")
    if not verdict.faults:
        typer.echo("every byte is as the log says")
        return 0
    if verdict.lost_logs:
        name = verdict.lost_logs[0]
        cure = f"--quarantine cannot repair lost logs: use --rebuild-log {name}"
        cure += f", or where that fails --cut-log {name}" if name in verdict.broken_logs else ""
        typer.echo(cure if quarantine else f"{len(verdict.faults)} fault(s), and {cure}")
    elif not quarantine:
        typer.echo(f"{len(verdict.faults)} fault(s): restore the files, or repair the store with --quarantine")
    elif not lost:
        typer.echo("repaired from the log: no row is missing")
    if lost:
        typer.echo(f"set aside; {len(lost)} episodes, {sum(ref.rows for ref in lost):,} rows are missing now:")
        for ref in lost:
            typer.echo(f"  episode {ref.index} of seed {ref.run.seed}, policy {ref.run.policy}: {ref.rows} rows")
        typer.echo("rerun factory collect to replace them")
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
