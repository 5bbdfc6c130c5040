"""Frame rate, latency from simulator to screen, memory, and two viewers, in turns with a stalled and a third one.

    python -m benchmarks.live --run runs/car-racing --seconds 20 --minutes 3

The server runs in this process, the viewers are headless Chromiums on the same machine, so that all read the same
clock. Latency is from the moment a frame is known and judged to the end of the drawing that shows it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import aiohttp
import numpy as np
import psutil
import torch
import typer

from brain.commands.common import open_store_if_there
from brain.live.access import Access
from brain.live.loaded import load
from brain.live.pilot import Acting
from brain.live.server import Server
from brain.runs.folder import Run
from tests.support.chromium import CHOOSE, Page, chromium


class Reading(NamedTuple):
    """Pictures drawn and frames simulated and judged a second, the server's CPU ms a frame, latency in ms."""

    drawn: float
    shown: float
    cpu: float
    median: float
    p95: float
    p99: float


@contextlib.asynccontextmanager
async def serving(runs: Sequence[Path], acting: Acting | None = None) -> AsyncIterator[Server]:
    """A server of these runs on a free port, with a planner that may act if one is given."""
    device = torch.device("cpu")
    stores = [open_store_if_there(Run(path), None) for path in runs]
    loaded = {str(n): load(path, store, device, acting=acting) for n, (path, store) in enumerate(zip(runs, stores))}
    server = Server(loaded, Access("127.0.0.1", None))
    await server.start(0)
    try:
        yield server
    finally:
        await server.stop()


async def measure(pages: Sequence[Page], seconds: float) -> list[Reading]:
    """What each page showed, all of them over the same seconds."""
    for page in pages:
        await page.do("live.stats.latency.length = 0; 0")
    counted = "[performance.now() / 1000, live.stats.drawn, live.points.at(-1)[0]]"
    before, cpu = [await page.do(counted) for page in pages], time.process_time()
    await asyncio.sleep(seconds)
    after, cpu = [await page.do(counted) for page in pages], time.process_time() - cpu
    readings = []
    for page, start, end in zip(pages, before, after):
        took, drawn, shown = (b - a for a, b in zip(start, end))
        latency = np.percentile(await page.do("live.stats.latency"), [50, 95, 99])
        readings.append(Reading(drawn / took, shown / took, 1e3 * cpu / max(1, shown), *latency))
    return readings


def report(name: str, readings: Sequence[Reading]) -> None:
    """One line: means, with the range of the pictures over readings (rounds and pages)."""
    drawn, mean = [reading[0] for reading in readings], Reading(*np.mean(readings, 0))
    print(
        f"{name}: {mean.drawn:.1f} [{min(drawn):.1f}-{max(drawn):.1f}] pictures drawn/s, "
        f"{mean.shown:.1f} frames simulated and judged/s, latency ms median {mean.median:.0f}, "
        f"95 % {mean.p95:.0f}, 99 % {mean.p99:.0f}, server CPU {mean.cpu:.1f} ms a frame, "
        f"load of the machine {os.getloadavg()[0]:.1f}",
        flush=True,
    )


async def stalled(url: str, session: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
    """A viewer that connects and never reads."""
    return await session.ws_connect(url.replace("http", "ws") + "live", max_msg_size=0)


async def bench(run: Path, seconds: float, minutes: float, rounds: int) -> None:
    process = psutil.Process()
    others = contextlib.AsyncExitStack()
    async with serving([run]) as server, chromium() as browser, aiohttp.ClientSession() as session, others:
        page = await browser.page()
        await page.open(server.url)
        await page.until("window.live && live.points.length > 100", 20)
        report("one viewer", await measure([page], seconds))
        await page.do(CHOOSE.format(id="speed", value=2))
        report("one viewer, as fast as 2x asks", await measure([page], seconds))
        await page.do(CHOOSE.format(id="speed", value=1))
        pages = [page]
        for _ in range(2):  # browsers of their own: a tab behind another draws nothing
            pages.append(await (await others.enter_async_context(chromium())).page())
            await pages[-1].open(server.url)
            await pages[-1].until("window.live && live.points.length > 100", 20)
        found: dict[str, list[Reading]] = {"two viewers": [], "and one that never reads": [], "three viewers": []}
        for _ in range(rounds):
            await pages[2].open("about:blank")
            found["two viewers"] += await measure(pages[:2], seconds)
            idle = await stalled(server.url, session)
            found["and one that never reads"] += await measure(pages[:2], seconds)
            await idle.close()
            await pages[2].open(server.url)
            await pages[2].until("window.live && live.points.length > 100", 20)
            found["three viewers"] += await measure(pages, seconds)
        for name, readings in found.items():
            report(name, readings)
        await others.aclose()
        deadline, sizes = time.monotonic() + 60 * minutes, []
        while time.monotonic() < deadline:
            await page.key("tfr"[len(sizes) % 3])
            await asyncio.sleep(10)
            heap = (await page.send("Runtime.getHeapUsage"))["usedSize"] / 2**20
            sizes.append((process.memory_info().rss / 2**20, heap))
        if sizes:
            part = max(1, len(sizes) // 3)
            first, last = np.mean(sizes[:part], 0), np.mean(sizes[-part:], 0)
            print(
                f"memory over {minutes:g} minutes with an event every 10 s, means of the first and last third: "
                f"server {first[0]:.1f} and {last[0]:.1f} MB, page {first[1]:.1f} and {last[1]:.1f} MB"
            )


def main(
    run: Annotated[Path, typer.Option()],
    seconds: float = 20.0,
    minutes: float = 3.0,
    rounds: Annotated[int, typer.Option(help="of two viewers, one more that never reads, three viewers")] = 3,
) -> None:
    torch.set_num_threads(1)
    asyncio.run(bench(run, seconds, minutes, rounds))


if __name__ == "__main__":
    typer.run(main)
