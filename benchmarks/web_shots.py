"""Screenshots of an exported page, for the documentation: ``python -m benchmarks.web_shots PAGE [docs/images]``.

PAGE is what ``brain export --web PAGE`` wrote of a run of each world. Needs a Chromium.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from tests.support.chromium import serve, tab

WIDE, PHONE = (1080, 880), (390, 844)


def show(page: Any, world: str) -> None:
    page.do(f"document.querySelector('[data-world={world}]').click()")
    page.until(f"document.querySelector('[data-world={world}]').getAttribute('aria-pressed') === 'true'")


def steps(page: Any, count: int) -> None:
    """Let the page run on, paused between steps, so that a slow box shows the same picture as a fast one."""
    for _ in range(count):
        before = page.do("document.getElementById('reality-note').textContent")
        page.key("s")
        page.until(f"document.getElementById('reality-note').textContent !== {before!r}")


def tell(page: Any, before: int, between: int, dreamt: int) -> None:
    """An ordinary stretch, a teleport, a stretch, and a dream that has come so far."""
    steps(page, before)
    page.key("t")
    steps(page, between)
    page.key("d")
    steps(page, dreamt)
    time.sleep(0.2)


def main(folder: Path, out: Path) -> None:
    """Write ``web-logo.png``, ``web-two-room.png`` and ``web-phone.png`` into ``out``."""
    with serve(folder) as address, tab() as page:
        page.open(address, *WIDE)
        page.until("document.getElementById('loading').hidden", 60)
        show(page, "bouncing-logo")
        tell(page, 120, 60, 24)
        page.picture(out / "web-logo.png")
        page.scheme(dark=True)
        show(page, "two-room")
        tell(page, 110, 60, 24)
        page.picture(out / "web-two-room.png")
        page.scheme(dark=False)
        page.size(*PHONE, scale=1.5)
        time.sleep(0.5)
        page.picture(out / "web-phone.png")
        assert not page.problems, page.problems


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(*(sys.argv[2:] or ["docs/images"])))
