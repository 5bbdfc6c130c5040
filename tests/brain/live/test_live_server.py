"""The live page's server: who may look, what viewers may ask, and one who stalls."""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import shutil
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from brain.live.access import Access
from brain.live.loaded import Loaded
from brain.live.messages import Command, Packed
from brain.live.rides import PLANNER
from brain.live.server import Server
from brain.live.show import SPEEDS, Show
from shared.errors import TinyJEPAError
from tests.brain.live.test_live import TOKEN, parse
from tests.support.living import EXACT, opened, rooms


@pytest.fixture(scope="module")
def loaded(logo: Path) -> Loaded:
    return opened(logo, logo.parent / "store")


def test_access() -> None:
    open_one, closed = Access.make("127.0.0.1", None), Access.make("0.0.0.0", None)
    assert open_one.token is None and open_one.knows(None)
    assert closed.token is not None and len(closed.token) >= 32
    assert closed.knows(closed.token, None) and not closed.knows(None, "", closed.token[:-1])
    for host in ("127.0.0.1:8765", "localhost:8765", "[::1]:8765"):
        assert open_one.refuses({"Host": host}) is None, host
    for headers in (
        {"Host": "evil.example:8765"},
        {"Host": "192.168.0.7:8765"},
        {},
        {"Host": "127.0.0.1:8765", "Origin": "http://evil.example"},
        {"Host": "127.0.0.1:8765", "Origin": "null"},
        {"Host": "127.0.0.1:8765", "Origin": "http://127.0.0.1:9999"},
    ):
        assert open_one.refuses(headers), headers
    assert open_one.refuses({"Host": "127.0.0.1:8765", "Origin": "http://127.0.0.1:8765"}) is None
    assert closed.refuses({"Host": "192.168.0.7:8765"}) is None and closed.refuses({"Host": "evil.example"})
    with pytest.raises(TinyJEPAError, match="16 characters"):
        Access.make("127.0.0.1", "short")


def test_the_names_of_this_machine_are_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server may take seconds to answer."""
    asked = []

    def named() -> str:
        asked.append(1)
        return "Box.Example"

    monkeypatch.setattr(socket, "getfqdn", named)
    access = Access.make("0.0.0.0", None)
    assert asked == [1]
    for host in ("box.example:8765", f"{socket.gethostname()}:8765"):
        assert access.refuses({"Host": host}) is None, host
    assert access.refuses({"Host": "evil.example"}) and asked == [1]
    assert Access.make("127.0.0.1", None).refuses({"Host": "box.example"}) and asked == [1]


@contextlib.asynccontextmanager
async def served(loaded: Loaded, token: str | None = None) -> AsyncIterator[tuple[Server, aiohttp.ClientSession]]:
    server = Server({"0": loaded}, Access.make("127.0.0.1", token))
    await server.start(0)
    try:
        async with aiohttp.ClientSession() as session:
            yield server, session
    finally:
        await server.stop()


def test_nothing_is_served_without_the_token(loaded: Loaded) -> None:
    async def main() -> None:
        async with served(loaded, TOKEN) as (server, session):
            root = server.url.split("?")[0]
            for path in ("", "live.js", "style.css", "live", "nothing", f"live?token={TOKEN[:-1]}x"):
                async with session.get(root + path) as answer:
                    assert answer.status == 401, path
                    assert TOKEN not in await answer.text()
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(root + "live")
            assert refused.value.status == 401
            async with session.get(server.url, headers={"Host": "evil.example"}) as answer:
                assert answer.status == 403
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(f"{root}live?token={TOKEN}", headers={"Origin": "http://evil.example"})
            assert refused.value.status == 403
            async with session.get(server.url) as answer:
                assert answer.status == 200 and "httponly" in answer.headers["Set-Cookie"].lower()
                assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            cookie = {"Cookie": answer.headers["Set-Cookie"].split(";")[0]}
            async with session.get(root + "live.js", headers=cookie) as script:
                assert script.status == 200
            async with session.ws_connect(root + "live", headers=cookie) as socket:
                assert json.loads((await socket.receive(5)).data)["world"] == "bouncing-logo"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (b"Host: \xff.example", b"403"),
        (b"Host: [x", b"403"),
        (b"Host: 127.0.0.1:1\r\nOrigin: http://[x", b"403"),
        (b"Host: 127.0.0.1:1\r\nOrigin: \xff", b"403"),
        (b"Host: 127.0.0.1:1\r\nCookie: COOKIE=\xff", b"401"),
    ],
)
def test_malformed_headers_are_refused(
    loaded: Loaded, header: bytes, status: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with served(loaded, TOKEN) as (server, _):
            port = int(server.url.split(":")[2].split("/")[0])
            for path in (b"/", b"/?token=%FF"):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                sent = header.replace(b"COOKIE", server._cookie.encode())
                writer.write(b"GET " + path + b" HTTP/1.1\r\n" + sent + b"\r\nConnection: close\r\n\r\n")
                answer = (await reader.read()).split()
                writer.close()
                assert answer[1] == status, (path, answer)

    asyncio.run(main())
    assert not caplog.records


class Listener:
    """An audience that keeps what it is told."""

    def __init__(self) -> None:
        self.said: queue.Queue[dict[str, Any]] = queue.Queue()

    def state(self, state: dict[str, Any], fresh: bool) -> None:
        self.said.put(state)

    def moment(self, packed: Packed) -> None:
        self.said.put({"number": packed.point[0]})

    def plan(self, plan: str) -> None: ...

    def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        for _ in range(1000):
            if wanted(found := self.said.get(timeout=60)):
                return found
        raise AssertionError("never said")


@contextlib.contextmanager
def shown(runs: dict[str, Loaded]) -> Iterator[tuple[Show, Listener]]:
    failures: list[BaseException] = []
    listener = Listener()
    show = Show(runs, listener, failures.append)
    show.watched(1)
    try:
        yield show, listener
    finally:
        show.stop()
        if show.is_alive():
            show.join(60)
    assert failures == []


def test_commands_are_obeyed_between_two_frames(loaded: Loaded) -> None:
    with shown({"0": loaded}) as (show, listener):
        show._speed = 1e-5  # hours for a frame
        show.start()
        listener.until(lambda found: found.get("number") == 1)
        show.ask(Command("dream", "x"))
        assert "a dream has" in listener.until(lambda found: bool(found.get("problem")))["problem"]
        show.ask(Command("speed", max(SPEEDS)))
        listener.until(lambda found: found.get("number") == 3)
        show.ask(Command("pause"))
        listener.until(lambda found: found.get("playing") is False)
        show.ask(Command("step"))
        listener.until(lambda found: "number" in found)


def test_a_run_that_cannot_be_opened_leaves_the_other_one_on(logo: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(logo.parent / "store", store)
    damaged = opened(logo, store, replay=True)
    for frames in store.rglob("frame/c.*"):
        frames.write_bytes(b"x")
    with shown({"0": rooms(EXACT), "1": damaged}) as (show, listener):
        show.start()
        listener.until(lambda found: "number" in found)
        show.ask(Command("run", "1"))
        assert listener.until(lambda found: bool(found.get("problem")))["run"] == "0"
        show.ask(Command("policy", PLANNER))
        listener.until(lambda found: found.get("policy") == PLANNER)
        number = listener.until(lambda found: "number" in found)["number"]
        listener.until(lambda found: found.get("number", 0) > number + 3)


def test_viewers_command_and_one_that_stalls_costs_nothing(loaded: Loaded) -> None:
    async def until(viewer: aiohttp.ClientWebSocketResponse, wanted: Callable[[dict[str, Any]], bool]) -> Any:
        for _ in range(400):
            received = await viewer.receive(5)
            found = json.loads(received.data) if received.type == aiohttp.WSMsgType.TEXT else parse(received.data)[0]
            if wanted(found):
                return found
        raise AssertionError("never said")

    async def main() -> None:
        async with served(loaded) as (server, session):
            host, port = server.url.removeprefix("http://").rstrip("/").split(":")
            _, writer = await asyncio.open_connection(host, int(port), limit=1)
            writer.write(
                f"GET /live HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
            )  # and never read
            viewer = await session.ws_connect(server.url + "live")
            await viewer.send_json({"do": "speed", "value": max(SPEEDS)})
            await until(viewer, lambda found: "points" in found and found["points"][-1][0] > 60)
            assert len(server.hall.mailboxes) == 2
            await viewer.send_json({"do": "intervention", "value": "teleport"})
            state = await until(viewer, lambda found: bool(found.get("events")) and found["events"][-1]["over"])
            assert state["events"][-1]["seen"] == state["events"][-1]["start"]
            await viewer.send_json({"do": "pause"})
            await until(viewer, lambda found: found.get("playing") is False)
            for what, value in (
                ("speed", 99), ("speed", []), ("dream", "x"), ("dream", True), ("run", "../x"), ("run", []),
                ("intervention", {}), ("policy", "x"), ("policy", None), ("intervention", "rm"), ("policy", "planner"),
                ("goal", [0.5, 0.5]), ("goal", [0.5]), ("goal", [2, 0]), ("goal", ["x", 0]), ("goal", None),
                ("goal", [True, 0]), ("goal", [float("nan"), 0]), ("goal", [10**400, 0]),
            ):  # fmt: skip
                wrong = {"do": what, "value": value}
                await viewer.send_json(wrong)
                assert (await until(viewer, lambda found: "problem" in found))["problem"], wrong
            await viewer.send_str("no JSON")
            assert (await viewer.receive(5)).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.BINARY)
            await viewer.close()
            writer.transport.abort()

    asyncio.run(main())
