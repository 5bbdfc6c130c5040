"""The planner of the live page in a real browser: a person lets it act and points at goals."""

from __future__ import annotations

import asyncio
import time

import pytest
import torch

from brain import pretrained
from brain.live.loaded import load
from brain.live.pilot import Acting
from brain.live.server import Server
from tests.support.chromium import BINARY, CHOOSE, WAIT_SECONDS, Chromium, Page
from tests.support.living import ENDLESS, EXACT, browse, rooms

pytestmark = pytest.mark.skipif(BINARY is None, reason="there is no Chromium here (chromium, google-chrome)")

READY = "window.live && live.state && live.points.length > 3"
COLOUR = (
    "((x, y) => {{ const c = document.getElementById('imagined'); const r = c.width / c.clientWidth;"
    "const d = c.getContext('2d').getImageData(x * c.width - {radius} * r, y * c.height - 1, 3, 3).data;"
    "return [d[16], d[17], d[18], d[19]]; }})({across}, {down})"
)
"""RGBA of what is drawn over the picture, ``radius`` pixels left of a place."""
YELLOW = (
    "(([x, y]) => { const c = document.getElementById('imagined');"
    "const d = c.getContext('2d').getImageData(x * c.width - 6, (y - 0.02) * c.height, 13, 1).data;"
    "return Array.from({ length: 13 }, (_, i) => d.slice(4 * i, 4 * i + 4)).some("
    "([r, g, b, a]) => a > 200 && r > 220 && g > 180 && b < 140); })(live.plan.way[0])"
)
"""Whether the plan is drawn just above where it begins."""
AWAY = "Math.hypot(live.plan.way[0][0] - live.plan.goal[0], live.plan.way[0][1] - live.plan.goal[1]) * 65"
"""Pixels of the world from where the dot was at the last decision to the goal."""


async def point(page: Page, across: float, down: float, *, tap: bool = False) -> None:
    """Click or tap at a place of the picture, and wait until the goal is there."""
    left, top, side = await page.do(
        "(b => [b.left, b.top, b.width])(document.getElementById('world').getBoundingClientRect())"
    )
    x, y = left + across * side, top + down * side
    if tap:
        await page.send("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        await page.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    else:
        await page.click(x, y)
    near = f"Math.abs(live.plan.goal[0] - {across}) < 0.01 && Math.abs(live.plan.goal[1] - {down}) < 0.01"
    await page.until(f"live.state.policy === 'planner' && live.plan.goal && {near} && live.plan.way.length")


async def green(page: Page, across: float, down: float) -> bool:
    """Whether the goal's ring is drawn about a place."""
    red, full, blue, alpha = await page.do(COLOUR.format(radius=9, across=across, down=down))
    return bool(alpha > 100 and full > red + 40 and full > blue)


async def settles(page: Page, across: float, down: float, drawn: bool) -> bool:
    """Whether the ring is there, or gone, after the next frames: a state is known before it is drawn."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        if await green(page, across, down) == drawn:
            return True
        await asyncio.sleep(0.05)
    return False


def test_a_person_points_and_the_planner_goes_there() -> None:
    async def visit(server: Server, browser: Chromium) -> None:
        page = await browser.page()
        await page.open(server.url)
        await page.until(READY)
        assert "goes there" in await page.do("document.getElementById('plan').textContent")
        assert not await page.do("live.plan.acting || live.plan.goal")

        # the planner is chosen: an episode of the task, with its own goal, and what is imagined
        await page.do(CHOOSE.format(id="policy", value="planner"))
        await page.until("live.state.policy === 'planner' && live.plan.goal && live.plan.way.length > 3")
        assert await page.do("live.plan.paths.length") > 8
        label = await page.do("document.getElementById('policy').selectedOptions[0].textContent")
        assert label == "planner: cem"

        # clicks: the goal is drawn where the click was, and the dot walks there, in both rooms
        for across, down in ((0.15, 0.75), (0.85, 0.2)):
            await point(page, across, down)
            await page.until("document.getElementById('plan').textContent.includes('steps ahead')")
            assert await settles(page, across, down, True)
            assert await settles(page, across, 1 - down, False)
            await page.until(f"{AWAY} < 4.5")
        await page.do(CHOOSE.format(id="policy", value="random"))
        await page.until("!live.plan.acting")
        assert await settles(page, 0.85, 0.2, False), "nobody plans, so nothing is drawn"

        # on a phone a tap does it, and nothing is wider than the screen
        phone = await browser.page()
        await phone.open(server.url, 390, 844)
        await phone.until(READY)
        await point(phone, 0.2, 0.3, tap=True)
        assert await settles(phone, 0.2, 0.3, True)
        assert await phone.do("document.documentElement.scrollWidth") <= 390
        for one in (page, phone):
            assert one.problems == [] and await one.do("live.stats.errors.length") == 0

    browse({"0": rooms(EXACT)}, visit)


def test_the_car_s_plan_is_drawn_in_front_of_it() -> None:
    async def visit(server: Server, browser: Chromium) -> None:
        page = await browser.page()
        await page.open(server.url)
        await page.until(READY)
        assert await page.do("live.state.policy") == "planner"
        ahead = "live.plan.way.length > 5 && live.plan.way[0][1] - live.plan.way[1][1] > 0.02"
        await page.until(f"{ahead} && live.plan.paths.length > 3")
        await page.do("document.getElementById('play').click()")
        await page.until("live.state.playing === false")
        (across, down), *_, last = await page.do("live.plan.way")
        assert across == 0.5 and down == pytest.approx(0.857, abs=1e-3) and last[1] < down
        await page.until(YELLOW)
        marks = await page.do("[...document.querySelectorAll('#plan i')].map((mark) => mark.className)")
        assert marks == ["way", "tried"], "there is no goal"
        assert "steps ahead" in await page.do("document.getElementById('plan').textContent")
        assert page.problems == [] and await page.do("live.stats.errors.length") == 0

    browse({"0": load(pretrained.folder("car-racing"), None, torch.device("cpu"), acting=Acting())}, visit)


def test_the_page_goes_on_while_it_plans() -> None:
    """A decision that takes minutes: the page says so, obeys, and the decision ends when somebody else acts."""

    async def visit(server: Server, browser: Chromium) -> None:
        page = await browser.page()
        await page.open(server.url)
        await page.until(READY)
        await page.do(CHOOSE.format(id="policy", value="planner"))
        await page.until("!document.getElementById('busy').hidden && live.plan.paths.length > 8")
        first = await page.do("document.getElementById('busy').textContent")
        assert first.startswith("planning ") and first.endswith(" s")
        await page.until(f"document.getElementById('busy').textContent !== '{first}'")
        number = await page.do("live.points.at(-1)[0]")
        await page.key(" ", "Space")
        await page.until("live.state.playing === false")
        await page.key(" ", "Space")
        await page.until("live.state.playing === true")
        assert await page.do("live.points.at(-1)[0]") == number, "the world waits for the decision"
        await page.do(CHOOSE.format(id="policy", value="random"))
        await page.until(f"live.points.at(-1)[0] > {number + 3} && document.getElementById('busy').hidden")

        # another run, in which no planner can act: the choice is there, disabled, with the reason
        await page.do(CHOOSE.format(id="run", value="1"))
        await page.until("live.state.run === '1'")
        option = "document.querySelector('#policy option[value=planner]')"
        assert await page.do(f"{option}.disabled")
        why = await page.until("document.getElementById('no-planner').textContent")
        assert "give --fit STORE" in why and await page.do(f"{option}.title") in why
        assert await page.do("document.getElementById('plan').hidden")
        assert page.problems == [] and await page.do("live.stats.errors.length") == 0

    browse({"0": rooms(ENDLESS), "1": rooms(Acting("inverse"))}, visit)
