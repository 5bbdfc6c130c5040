"""A headless Chromium, spoken to by its debugging protocol: pages, keys, requests, pictures of the screen."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

BINARY = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

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
        self._count += 1
        answer = self._answers[self._count] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": self._count, "method": method, "params": parameters})
        return await asyncio.wait_for(answer, 20)

    async def open(self, url: str, width: int = 1280, height: int = 860, dark: bool = False) -> None:
        for domain in ("Page", "Runtime", "Network", "Log"):
            await self.send(f"{domain}.enable")
        phone = width < 600
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])
        await self.send("Page.navigate", url=url)

    async def do(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        found = await self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise AssertionError(json.dumps(found["exceptionDetails"])[:500])
        return found["result"].get("value")

    async def until(self, script: str, seconds: float = 60) -> Any:
        """Waits until an expression is true, and returns it."""
        for _ in range(int(seconds / 0.02)):
            with contextlib.suppress(AssertionError):
                if value := await self.do(script):
                    return value
            await asyncio.sleep(0.02)
        raise AssertionError(f"never true within {seconds} s: {script}; problems: {self.problems}")

    async def key(self, key: str, code: str = "", kind: str = "press") -> None:
        """``press``, ``keyDown`` or ``keyUp``."""
        for one in ("keyDown", "keyUp") if kind == "press" else (kind,):
            text = key if len(key) == 1 and one == "keyDown" else ""
            await self.send("Input.dispatchKeyEvent", type=one, key=key, code=code or key, text=text)

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
        elif method == "Log.entryAdded" and what["entry"]["level"] == "error":
            self.problems.append(f"{what['entry']['text']} {what['entry'].get('url', '')}")
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
        return Page(await self._session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0))


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Chromium]:
    """Starts a browser with an empty profile and ends it."""
    assert BINARY is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            BINARY, *FLAGS, f"--user-data-dir={profile}", "about:blank",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            port_file = Path(profile) / "DevToolsActivePort"
            for _ in range(400):
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
