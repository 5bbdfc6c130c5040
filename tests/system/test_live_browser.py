"""The live page in a real browser: headless Chromium, by its debugging protocol."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from brain.live.server import Server
from tests.support.chromium import BINARY, CHOOSE, Chromium, Page
from tests.support.living import Visit, browse, opened

pytestmark = pytest.mark.skipif(BINARY is None, reason="there is no Chromium here (chromium, google-chrome)")

READY = "window.live && live.state && live.points.length > 30 && live.stats.drawn > 5"
PIXELS = (
    "(c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data"
    ".reduce((a, b) => (31 * a + b) % 1000003))({canvas})"
)


def canvas(name: str) -> str:
    return PIXELS.format(canvas=f"document.getElementById('{name}')")


@pytest.fixture(scope="module")
def bare(logo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run without decoder and judgement."""
    path = tmp_path_factory.mktemp("bare") / "bare"
    shutil.copytree(logo, path)
    (path / "decoder.safetensors").unlink()
    (path / "judge.json").unlink()
    return path


def browse_runs(runs: dict[str, Path], store: Path, token: str | None, visit: Visit) -> None:
    browse({key: opened(path, store) for key, path in runs.items()}, visit, token)


def test_a_person_removes_the_car_and_reads_a_verdict(car: Path) -> None:
    """The verdict is that of the energy and the threshold, whichever it is: the model is hardly trained."""

    async def visit(server: Server, browser: Chromium) -> None:
        page = await browser.page()
        await page.open(server.url)
        await page.until("window.live && live.state && live.points.length > 10")
        labels = await page.do("[...document.querySelectorAll('#violations button')].map(b => b.textContent)")
        assert {"Car vanishes", "Car turns blue", "Does not turn", "Gap in the road"} <= set(labels)
        assert not await page.do("document.querySelectorAll('#violations kbd').length")

        # stopped in the middle of it: what the page says is what the energy and the threshold say
        await page.do(CHOOSE.format(id="speed", value="0.1"))
        await page.until("live.state.speed === 0.1")
        await page.do("document.querySelector('[data-intervention=car-vanishes]').click()")
        await page.until("live.points.at(-1)[3] === 'car-vanishes' && live.points.at(-1)[1] !== null")
        await page.do("document.getElementById('play').click()")
        await page.until("live.state.playing === false")
        await page.until("document.querySelector('[data-intervention=car-vanishes]').classList.contains('on')")
        energy, threshold = await page.do("[live.points.at(-1)[1], live.state.threshold]")
        said, kind = await page.do("(v => [v.textContent, v.className])(document.getElementById('verdict'))")
        expected = ("✕ impossible", "verdict alarm") if energy > threshold else ("✓ plausible", "verdict fine")
        assert (said, kind) == expected

        # to its end: the event and its frames are delivered, and the table has a row of it
        await page.do(CHOOSE.format(id="speed", value="1"))
        await page.do("document.getElementById('play').click()")
        event = await page.until("live.state.events.find(e => e.name === 'car-vanishes' && !e.open)")
        played = await page.do("live.points.filter(p => p[3] === 'car-vanishes').map(p => p[0])")
        assert played == list(range(event["start"], event["stop"]))
        assert "Car vanishes" in await page.do("document.getElementById('events').innerText")
        assert not page.problems and not await page.do("live.stats.errors.length")

    browse_runs({"0": car}, car.parent / "store", None, visit)


async def text(page: Page, name: str) -> str:
    return str(await page.do(f"document.getElementById('{name}').textContent"))


def test_the_page(logo: Path, bare: Path) -> None:
    async def visit(server: Server, browser: Chromium) -> None:
        page = await browser.page()
        await page.open(server.url)
        await page.until(READY, 20)

        # frames and curves move
        names = ("world", "foreseen", "elsewhere", "chart", "bars", "plane")
        before, number = [await page.do(canvas(name)) for name in names], await page.do("live.points.at(-1)[0]")
        await page.until(f"live.points.at(-1)[0] > {number + 12}")
        after = [await page.do(canvas(name)) for name in names]
        assert all(a != b for a, b in zip(before, after)), dict(zip(names, zip(before, after)))

        # the teleport button begins an event; the page shows what the energies made of it, whatever that is
        await page.do("document.querySelector('[data-intervention=teleport]').click()")
        event = await page.until(
            "live.state.events.length && !live.state.events.at(-1).open && live.state.events.at(-1)"
        )
        found = await page.do("live.points.map(p => [p[0], p[1] > live.state.threshold, p[3]])")
        above = {number: over for number, over, _ in found}
        assert event["name"] == "teleport" and event["stop"] == event["start"] + 1
        assert [n for n, _, intervention in found if intervention == "teleport"] == [event["start"]]
        row = await page.until("document.querySelector('#events tr').innerText")
        assert "Teleport" in row
        if event["seen"] is None:
            assert "not noticed" in row and event["over"] is None
        else:
            assert event["seen"] >= event["start"] and above[event["seen"]]
            assert event["over"] > event["seen"] and not above[event["over"]]
            assert ("at once" in row) == (event["seen"] == event["start"])
            assert f"+{event['over'] - event['start']}" in row

        # pause, step, play, by keyboard
        await page.key(" ", "Space")
        await page.until("live.state.playing === false")
        await asyncio.sleep(0.2)
        number = await page.do("live.points.at(-1)[0]")
        await page.key(".")
        await page.until(f"live.points.at(-1)[0] === {number + 1}")
        await asyncio.sleep(0.2)
        assert await page.do("live.points.at(-1)[0]") == number + 1
        assert "Play" in await text(page, "play")
        await page.key(" ", "Space")
        await page.until("live.state.playing && live.state.speed === 1")

        # a dream, beside reality
        await page.do("document.getElementById('dream-steps').value = 6; document.getElementById('dream-go').click()")
        await page.until("document.getElementById('dream-text').textContent.startsWith('step 6 of 6')")
        assert await page.do(canvas("dream")) > 0
        assert await page.do("document.querySelector('[data-intervention=wrong-action]').disabled"), "nobody acts here"

        # another run, without decoder and threshold, says so
        await page.do(CHOOSE.format(id="run", value="1"))
        await page.until("live.state.run === '1' && live.points.length > 5")
        notes = await text(page, "notes")
        assert "brain dream" in notes and "brain judge" in notes
        assert "no decoder" in await text(page, "foreseen-text") and "no threshold" in await text(page, "verdict")
        assert await page.do("document.getElementById('threshold-key').hidden")

        # nothing went wrong, and nothing left this machine
        assert page.problems == [] and await page.do("live.stats.errors.length") == 0
        assert {urlsplit(url).netloc for url in page.requests} == {urlsplit(server.url).netloc}
        assert any(url.startswith("ws://") for url in page.requests)

        # a phone, in the dark: nothing wider than the screen, and everything can be reached by the tab key
        phone = await browser.page()
        await phone.open(server.url, 390, 844, dark=True)
        await phone.until("window.live && live.state && live.points.length > 5")
        assert await phone.do("document.documentElement.scrollWidth") <= 390
        assert await phone.do("getComputedStyle(document.body).backgroundColor") == "rgb(14, 20, 27)"
        reached = set()
        for _ in range(60):
            await phone.key("Tab")
            reached.add(
                await phone.do("document.activeElement.id || document.activeElement.dataset.intervention || ''")
            )
        assert {"run", "play", "step", "restart", "teleport", "freeze", "reverse", "dream-go", "policy"} <= reached

    browse_runs({"0": logo, "1": bare}, logo.parent / "store", None, visit)


def test_numbers_that_are_not_finite_are_dashes(logo: Path) -> None:
    """A predictor that has run away: the page goes on, and says that nothing is known."""
    loaded = replace(opened(logo, logo.parent / "store"), decoder=None)
    list(loaded.model.dynamics.predictor.parameters())[-1].data.fill_(float("inf"))

    async def visit(server: Server, browser: Chromium) -> None:
        page = await browser.page()
        await page.open(server.url)
        await page.until("window.live && live.state && live.points.length > 10")
        await page.do("document.querySelector('[data-intervention=freeze]').click()")
        row = await page.until("live.state.events.length && document.querySelector('#events tr').innerText")
        assert row.split("\t")[2] == "–"
        await page.do("document.getElementById('dream-go').click()")
        await page.until("/^step [1-9].* error –$/.test(document.getElementById('dream-text').textContent)")
        assert await text(page, "now") == "–"
        assert page.problems == [] and await page.do("live.stats.errors.length") == 0

    browse({"0": loaded}, visit)


def test_the_token(logo: Path) -> None:
    async def visit(server: Server, browser: Chromium) -> None:
        page = await browser.page()
        await page.open(server.url.split("?")[0])
        await page.until("document.body && document.body.innerText.includes('needs its token')")
        stranger = await browser.page()
        await stranger.open(server.url)
        await stranger.until(READY, 20)
        assert await stranger.do("location.search") == "", "no token stays in the address bar"
        assert stranger.problems == []

    browse_runs({"0": logo}, logo.parent / "store", "a-token-of-the-tests", visit)
