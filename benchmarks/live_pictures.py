"""The pictures of the live page in ``docs/images``, from a real run in a real browser.

python -m benchmarks.live_pictures --run runs/car-racing
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.live import serving
from tests.support.chromium import Chromium, chromium

IMAGES = Path(__file__).parent.parent / "docs" / "images"


async def shoot(browser: Chromium, url: str, name: str, size: tuple[int, int], dark: bool) -> None:
    """Open the page, teleport, run the frames backwards, start a rollout, and take a screenshot."""
    page = await browser.page()
    await page.open(url, *size, dark=dark)
    await page.until("window.live && live.state && live.points.length > 20")
    await page.send("Emulation.setScrollbarsHidden", hidden=True)
    await page.until("live.points.length >= 300", 30)
    await page.key("n")
    await asyncio.sleep(2.5)
    await page.key("t")
    await asyncio.sleep(1.2)
    await page.key("r")
    await asyncio.sleep(1.0)
    await page.key("d")
    await asyncio.sleep(0.9)
    await page.picture(IMAGES / f"live-{name}.png")
    print(IMAGES / f"live-{name}.png", page.problems)
    await page.send("Page.close")


async def main_async(runs: list[Path]) -> None:
    async with serving(runs) as server, chromium() as browser:
        await shoot(browser, server.url, "light", (1280, 920), dark=False)
        await shoot(browser, server.url, "dark", (1280, 920), dark=True)
        await shoot(browser, server.url, "phone", (390, 844), dark=False)


def main(runs: Annotated[list[Path], typer.Option("--run")]) -> None:
    torch.set_num_threads(1)
    asyncio.run(main_async(runs))


if __name__ == "__main__":
    typer.run(main)
