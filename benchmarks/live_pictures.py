"""The pictures of the live page in ``docs/images``, from a real run in a real browser.

python -m benchmarks.live_pictures --run runs/car-racing
python -m benchmarks.live_pictures --run runs/car-racing --violation car-vanishes
python -m benchmarks.live_pictures --run brain/pretrained/two-room --plan
python -m benchmarks.live_pictures --run brain/pretrained/car-racing --plan
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.live import serving
from brain.live.pilot import Acting
from tests.support.chromium import CHOOSE, Chromium, chromium

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


async def shoot_violation(browser: Chromium, url: str, name: str) -> None:
    """Show one of the world's violations at a tenth of the speed, and take a screenshot two frames into it."""
    page = await browser.page()
    await page.open(url, 1280, 920)
    await page.until("window.live && live.state && live.points.length > 150", 90)
    await page.send("Emulation.setScrollbarsHidden", hidden=True)
    await page.do(CHOOSE.format(id="speed", value="0.1"))
    await page.until("live.state.speed === 0.1")
    await page.do(f"document.querySelector('[data-intervention={name}]').click()")
    await page.until(f"live.points.filter(p => p[3] === '{name}' && p[1] !== null).length > 2", 120)
    await page.picture(IMAGES / f"live-{name}.png")
    print(IMAGES / f"live-{name}.png", page.problems)
    await page.send("Page.close")


async def shoot_plan(browser: Chromium, url: str, name: str, size: tuple[int, int]) -> None:
    """Let the planner act, click a goal in the other room, and take a screenshot on the way there."""
    page = await browser.page()
    await page.open(url, *size)
    await page.until("window.live && live.state && live.points.length > 5")
    await page.send("Emulation.setScrollbarsHidden", hidden=True)
    await page.do(CHOOSE.format(id="policy", value="planner"))
    await page.until(
        "live.state.policy === 'planner' && live.plan && live.plan.way.length && live.points.length > 80", 300
    )
    across, down = await page.do(
        "(([x, y], b) => [b.left + b.width * (x < 0.5 ? 0.8 : 0.2), b.top + b.height * (y < 0.5 ? 0.75 : 0.25)])"
        "(live.plan.goal, document.getElementById('world').getBoundingClientRect())"
    )
    await page.click(across, down)
    await page.until("live.plan.took !== null && live.plan.busy === null && live.plan.paths.length > 40", 300)
    number = await page.do("live.points.at(-1)[0]")
    await page.until(f"live.points.at(-1)[0] > {number + 5}")
    await page.do("document.getElementById('play').click()")
    await page.until("live.state.playing === false")
    await asyncio.sleep(0.5)
    await page.picture(IMAGES / f"live-{name}.png")
    print(IMAGES / f"live-{name}.png", page.problems)
    await page.send("Page.close")


async def shoot_course(browser: Chromium, url: str) -> None:
    """Where nobody points: let the planner act until its plan leads around a bend, and take a screenshot."""
    page = await browser.page()
    await page.open(url, 1280, 920)
    await page.until("window.live && live.state && live.plan")
    await page.send("Emulation.setScrollbarsHidden", hidden=True)
    await page.do(CHOOSE.format(id="policy", value="planner"))
    await page.do(CHOOSE.format(id="speed", value="0.25"))
    bend = "(([x, y]) => Math.abs(x - 0.5) > 0.2 && x > 0 && x < 1 && y > 0)(live.plan.way.at(-1) || [0.5, 0])"
    await page.until(f"live.points.length > 150 && live.plan.paths.length > 8 && {bend}", 300)
    await page.do("document.getElementById('play').click()")
    await page.until("live.state.playing === false")
    await asyncio.sleep(0.5)
    name = f"live-plan-{await page.do('live.state.world')}.png"
    await page.picture(IMAGES / name)
    print(IMAGES / name, page.problems)
    await page.send("Page.close")


async def points_set_goals(browser: Chromium, url: str) -> bool:
    page = await browser.page()
    await page.open(url)
    await page.until("window.live && live.state")
    found = bool(await page.do("live.state.planner.points"))
    await page.send("Page.close")
    return found


async def main_async(runs: list[Path], violation: str | None, plan: bool) -> None:
    async with serving(runs, Acting() if plan else None) as server, chromium() as browser:
        if plan and not await points_set_goals(browser, server.url):
            return await shoot_course(browser, server.url)
        if plan:
            await shoot_plan(browser, server.url, "plan", (1280, 920))
            return await shoot_plan(browser, server.url, "plan-phone", (390, 844))
        if violation:
            return await shoot_violation(browser, server.url, violation)
        await shoot(browser, server.url, "light", (1280, 920), dark=False)
        await shoot(browser, server.url, "dark", (1280, 920), dark=True)
        await shoot(browser, server.url, "phone", (390, 844), dark=False)


def main(
    runs: Annotated[list[Path], typer.Option("--run")],
    violation: Annotated[str | None, typer.Option()] = None,
    plan: Annotated[bool, typer.Option("--plan")] = False,
) -> None:
    torch.set_num_threads(1)
    asyncio.run(main_async(runs, violation, plan))


if __name__ == "__main__":
    typer.run(main)
