"""Frame rate, latency from simulator to screen, memory, and three viewers of whom one stalls.

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

import aiohttp
import click
import numpy as np
import psutil
import torch

from brain.commands.common import open_store
from brain.live.access import Access
from brain.live.loaded import load
from brain.live.server import Server
from brain.run import Run
from tests.chromium import CHOOSE, Page, chromium


@contextlib.asynccontextmanager
async def serving(runs: Sequence[Path]) -> AsyncIterator[Server]:
    """A server of these runs on a free port."""
    device = torch.device("cpu")
    loaded = {str(n): load(path, open_store(Run(path), None), device) for n, path in enumerate(runs)}
    server = Server(loaded, Access("127.0.0.1", None))
    await server.start(0)
    try:
        yield server
    finally:
        await server.stop()


async def measure(page: Page, seconds: float) -> str:
    """Pictures drawn a second, frames simulated a second, and latency."""
    await page.do("live.stats.latency.length = 0; 0")
    before, started = await page.do("[live.stats.drawn, live.points.at(-1)[0]]"), time.perf_counter()
    cpu = time.process_time()
    await asyncio.sleep(seconds)
    after, took = await page.do("[live.stats.drawn, live.points.at(-1)[0]]"), time.perf_counter() - started
    latency = np.percentile(await page.do("live.stats.latency"), [50, 95, 99])
    drawn, shown = ((b - a) / took for a, b in zip(before, after))
    cpu = 1e3 * (time.process_time() - cpu) / max(1, after[1] - before[1])
    return (
        f"{drawn:5.1f} pictures drawn/s, {shown:5.1f} frames simulated and judged/s, "
        "latency ms median {:.0f}, 95 % {:.0f}, 99 % {:.0f}, ".format(*latency)
        + f"server CPU {cpu:.1f} ms a frame, load of the machine {os.getloadavg()[0]:.1f}"
    )


async def stalled(url: str, session: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
    """A viewer that connects and never reads."""
    return await session.ws_connect(url.replace("http", "ws") + "live", max_msg_size=0)


async def bench(run: Path, seconds: float, minutes: float) -> None:
    process = psutil.Process()
    others = contextlib.AsyncExitStack()
    async with serving([run]) as server, chromium() as browser, aiohttp.ClientSession() as session, others:
        page = await browser.page()
        await page.open(server.url)
        await page.until("window.live && live.points.length > 100", 20)
        print(f"one viewer:              {await measure(page, seconds)}")
        await page.do(CHOOSE.format(id="speed", value=2))
        print(f"as fast as 2x asks:      {await measure(page, seconds)}")
        await page.do(CHOOSE.format(id="speed", value=1))
        second = await (await others.enter_async_context(chromium())).page()  # a tab behind another draws nothing
        await second.open(server.url)
        await second.until("window.live && live.points.length > 100", 20)
        print(f"two viewers, the first:  {await measure(page, seconds)}")
        third = await stalled(server.url, session)
        print(f"and a third that stalls: {await measure(page, seconds)}")
        print(f"   the second of them:   {await measure(second, seconds)}")
        await third.close()
        await others.aclose()
        deadline, sizes = time.monotonic() + 60 * minutes, []
        while time.monotonic() < deadline:
            await page.key("tfr"[len(sizes) % 3])
            await asyncio.sleep(10)
            heap = (await page.send("Runtime.getHeapUsage"))["usedSize"] / 2**20
            sizes.append((process.memory_info().rss / 2**20, heap))
        if sizes:
            third = max(1, len(sizes) // 3)
            first, last = np.mean(sizes[:third], 0), np.mean(sizes[-third:], 0)
            print(
                f"memory over {minutes:g} minutes with an event every 10 s, means of the first and last third: "
                f"server {first[0]:.1f} and {last[0]:.1f} MB, page {first[1]:.1f} and {last[1]:.1f} MB"
            )


@click.command()
@click.option("--run", type=click.Path(path_type=Path), required=True)
@click.option("--seconds", default=20.0, show_default=True)
@click.option("--minutes", default=3.0, show_default=True)
def main(run: Path, seconds: float, minutes: float) -> None:
    torch.set_num_threads(1)
    asyncio.run(bench(run, seconds, minutes))


if __name__ == "__main__":
    main()
