"""A headless Chromium, spoken to by its debugging protocol: pages, keys, requests, pictures of the screen.

``chromium`` is for asynchronous code; ``tab`` is one page of it for code that is not. ``serve`` gives them a folder.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import http.server
import inspect
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp

BINARY = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)

CALL_SECONDS, START_SECONDS, WAIT_SECONDS = 120, 120, 90

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--mute-audio",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--no-default-browser-check", "--disable-features=Translate,OptimizationHints,MediaRouter",
    "--disable-background-timer-throttling", "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding", "--remote-debugging-port=0",
)  # fmt: skip

CHOOSE = (
    "(field => {{ field.value = '{value}'; field.dispatchEvent(new Event('change')); return 0 }})"
    "(document.getElementById('{id}'))"
)
"""The script that chooses an option of a field."""


class Page:
    """A tab. ``problems`` are console errors and exceptions, ``requests`` the addresses it asked."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._count = 0
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._reader = asyncio.create_task(self._read())

    async def send(self, method: str, **parameters: Any) -> Any:
        """The result of a call of the protocol; raises ``AssertionError`` where it is an error."""
        self._count += 1
        answer = self._answers[self._count] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": self._count, "method": method, "params": parameters})
        return await asyncio.wait_for(answer, CALL_SECONDS)

    async def open(self, url: str, width: int = 1280, height: int = 860, dark: bool = False) -> None:
        await self.size(width, height)
        await self.scheme(dark)
        await self.send("Page.navigate", url=url)

    async def size(self, width: int, height: int, scale: float = 0) -> None:
        """Pixels; below 600 across it is a phone, with two screen pixels to each unless ``scale`` says otherwise."""
        phone = width < 600
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=scale or (2 if phone else 1), mobile=phone,
        )  # fmt: skip
        await self.send("Emulation.setTouchEmulationEnabled", enabled=phone)

    async def scheme(self, dark: bool) -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])

    async def do(self, script: str) -> Any:
        """The value of a JavaScript expression, awaited where it is a promise."""
        found = await self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        if "exceptionDetails" in found:
            raise AssertionError(json.dumps(found["exceptionDetails"])[:500])
        return found["result"].get("value")

    async def until(self, script: str, seconds: float = WAIT_SECONDS) -> Any:
        """Waits until an expression is true, and returns it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(AssertionError):
                if value := await self.do(script):
                    return value
            await asyncio.sleep(0.02)
        shown = await self.do("document.body.innerText")
        raise AssertionError(f"never true within {seconds} s: {script}; problems: {self.problems}; shown: {shown}")

    async def key(self, key: str, code: str = "", kind: str = "press") -> None:
        """``press``, ``keyDown`` or ``keyUp``."""
        for one in ("keyDown", "keyUp") if kind == "press" else (kind,):
            text = key if len(key) == 1 and one == "keyDown" else ""
            await self.send("Input.dispatchKeyEvent", type=one, key=key, code=code or key, text=text)

    async def click(self, across: float, down: float) -> None:
        """Press and release the mouse at a point of the window, in pixels."""
        for kind in ("mousePressed", "mouseReleased"):
            await self.send(
                "Input.dispatchMouseEvent", type=kind, x=across, y=down, button="left", buttons=1, clickCount=1
            )

    async def picture(self, file: Path) -> None:
        shot = await self.send("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(shot["data"]))

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type != aiohttp.WSMsgType.TEXT:
                break
            content = json.loads(message.data)
            if "id" in content:
                answer = self._answers.pop(content["id"], None)
                if answer and not answer.done():
                    if "error" in content:
                        answer.set_exception(AssertionError(content["error"]["message"]))
                    else:
                        answer.set_result(content["result"])
                continue
            self._hear(content["method"], content["params"])

    def _hear(self, method: str, what: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(what["exceptionDetails"])[:500])
        elif method == "Runtime.consoleAPICalled" and what["type"] in ("error", "warning", "assert"):
            self.problems.append(json.dumps(what["args"])[:500])
        elif method == "Log.entryAdded" and what["entry"]["level"] in ("error", "warning"):
            entry = what["entry"]
            if not entry["text"].startswith("Canvas2D: Multiple readback"):  # it is the tests that read pixels back
                self.problems.append(f"{entry['text']} {entry.get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(what["request"]["url"])
        elif method == "Network.webSocketCreated":
            self.requests.append(what["url"])


class Chromium:
    """A browser; ``page`` opens tabs."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session, self._port = session, port

    async def page(self) -> Page:
        async with self._session.put(f"http://127.0.0.1:{self._port}/json/new?about:blank") as answer:
            target = await answer.json()
        page = Page(await self._session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0))
        for domain in ("Page", "Runtime", "Network", "Log"):
            await page.send(f"{domain}.enable")
        return page


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Chromium]:
    """Starts a browser with an empty profile and ends it."""
    assert BINARY is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            BINARY, *FLAGS, f"--user-data-dir={profile}", "about:blank",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, env=os.environ | {"HOME": profile},
        )  # fmt: skip
        try:
            port_file = Path(profile) / "DevToolsActivePort"
            for _ in range(20 * START_SECONDS):
                if port_file.exists() and port_file.read_text().strip():
                    break
                await asyncio.sleep(0.05)
            port = int(port_file.read_text().splitlines()[0])
            async with aiohttp.ClientSession() as session:
                yield Chromium(session, port)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 5)
            except TimeoutError:
                process.kill()
                await process.wait()


class _Waiting:
    """A page whose calls wait for their answers, which another thread's loop receives."""

    def __init__(self, page: Page, loop: asyncio.AbstractEventLoop) -> None:
        self._page, self._loop = page, loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._page, name)
        if not inspect.iscoroutinefunction(found):
            return found
        return lambda *given, **named: asyncio.run_coroutine_threadsafe(found(*given, **named), self._loop).result()


@contextlib.contextmanager
def tab() -> Iterator[Any]:
    """A ``Page`` of a browser of its own, for code that is not asynchronous: its methods are called without await."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    opened = contextlib.AsyncExitStack()

    async def enter() -> Page:
        return await (await opened.enter_async_context(chromium())).page()

    try:
        yield _Waiting(asyncio.run_coroutine_threadsafe(enter(), loop).result(), loop)
    finally:
        asyncio.run_coroutine_threadsafe(opened.aclose(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Python's own static file server over ``folder``, on a free port; the address ends with a slash."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()
