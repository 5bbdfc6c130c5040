"""Screenshots of an exported page, for the documentation: ``python -m benchmarks.web_shots PAGE [docs/images]``.

PAGE is what ``brain export --web PAGE`` wrote of a run of each world. Needs a Chromium.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.browser import Browser, chromium, serve

WIDE, PHONE = (1080, 880), (390, 844)


def show(page: Browser, world: str) -> None:
    page.js(f"document.querySelector('[data-world={world}]').click()")
    page.wait(f"document.querySelector('[data-world={world}]').getAttribute('aria-pressed') === 'true'")


def steps(page: Browser, count: int) -> None:
    """Let the page run on, paused between steps, so that a slow box shows the same picture as a fast one."""
    for _ in range(count):
        before = page.js("document.getElementById('reality-note').textContent")
        page.press("s")
        page.wait(f"document.getElementById('reality-note').textContent !== {before!r}")


def tell(page: Browser, before: int, between: int, dreamt: int) -> None:
    """An ordinary stretch, a teleport, a stretch, and a dream that has come so far."""
    steps(page, before)
    page.press("t")
    steps(page, between)
    page.press("d")
    steps(page, dreamt)
    time.sleep(0.2)


def main(folder: Path, out: Path) -> None:
    """Write ``web-logo.png``, ``web-two-room.png`` and ``web-phone.png`` into ``out``."""
    with serve(folder) as address, chromium() as page:
        page.size(*WIDE)
        page.open(address)
        page.wait("document.getElementById('loading').hidden", 60)
        show(page, "bouncing-logo")
        tell(page, 120, 60, 24)
        page.screenshot(out / "web-logo.png")
        page.scheme("dark")
        show(page, "two-room")
        tell(page, 110, 60, 24)
        page.screenshot(out / "web-two-room.png")
        page.scheme("light")
        page.size(*PHONE, scale=1.5, phone=True)
        time.sleep(0.5)
        page.screenshot(out / "web-phone.png")
        assert not page.console, page.console


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(*(sys.argv[2:] or ["docs/images"])))
