"""The page and its websocket. All files it serves are in ``brain/live/page``; it contacts no other machine."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

from brain.live.access import Access
from brain.live.loaded import Loaded
from brain.live.messages import Command, Packed
from brain.live.show import Show
from brain.live.viewers import Hall, Mailbox
from shared.errors import TinyJEPAError

PAGE = Path(__file__).parent / "page"
MOST_VIEWERS = 32
STALLED = 20.0
"""Seconds a viewer may take to receive a message before it is disconnected."""

LEAVING = 1.0
"""Seconds given to viewers when the server stops; an open page would delay it by a minute."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Serves ``runs`` until ``stop``. ``url`` is where, once ``start`` is done."""

    def __init__(self, runs: Mapping[str, Loaded], access: Access) -> None:
        self.access = access
        self.hall = Hall()
        self.url = ""
        self.show = Show(runs, _Relay(self), self._fail)
        self._failure: BaseException | None = None
        self._runner: web.AppRunner | None = None
        self._over = asyncio.Event()

    async def start(self, port: int) -> None:
        """Binds (port 0: any that is free) and begins the show. Raises ``TinyJEPAError`` where it cannot bind."""
        self.loop = asyncio.get_running_loop()
        listening = bind(self.access.host, port)
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/", self._index)
        app.router.add_get("/live", self._socket)
        for file in sorted(PAGE.iterdir()):
            app.router.add_get(f"/{file.name}", self._file)
        self._cookie = f"tinyjepa-live-{listening.getsockname()[1]}"
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=LEAVING)
        await self._runner.setup()
        await web.SockSite(self._runner, listening).start()
        self.url = self._address(listening.getsockname()[1])
        self.show.start()

    async def wait(self) -> None:
        """Wait until ``stop`` is called, or the show fails; raises its error."""
        await self._over.wait()
        if self._failure is not None:
            raise self._failure

    def end(self) -> None:
        """Let ``wait`` return."""
        self._over.set()

    async def stop(self) -> None:
        self.show.stop()
        self._over.set()
        if self._runner is not None:
            await self._runner.cleanup()
        if self.show.is_alive():
            await asyncio.to_thread(self.show.join, 5)

    def _address(self, port: int) -> str:
        host = self.access.host
        if host in ("0.0.0.0", "::"):
            host = socket.gethostname()
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{port}/" + (f"?token={self.access.token}" if self.access.token else "")

    def _fail(self, error: BaseException) -> None:
        def end() -> None:
            self._failure = error
            self._over.set()

        self.loop.call_soon_threadsafe(end)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        why = self.access.refuses(request.headers)
        if why is not None:
            return web.Response(status=403, text=f"{why}\n", headers=HEADERS)
        if not self.access.knows(request.query.get("token"), request.cookies.get(self._cookie)):
            text = "This page needs its token: open the address that brain live printed.\n"
            return web.Response(status=401, text=text, headers=HEADERS)
        return await handler(request)

    async def _index(self, request: web.Request) -> web.StreamResponse:
        response = web.Response(body=(PAGE / "index.html").read_bytes(), headers=HEADERS, content_type="text/html")
        if self.access.token is not None:
            response.set_cookie(self._cookie, self.access.token, httponly=True, samesite="Strict")
        return response

    async def _file(self, request: web.Request) -> web.StreamResponse:
        kinds = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".html": "text/html"}
        file = PAGE / request.path.removeprefix("/")
        return web.Response(body=file.read_bytes(), headers=HEADERS, content_type=kinds[file.suffix], charset="utf-8")

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if len(self.hall.mailboxes) >= MOST_VIEWERS:
            return web.Response(status=503, text=f"{MOST_VIEWERS} viewers are here already\n", headers=HEADERS)
        ws = web.WebSocketResponse(heartbeat=15, max_msg_size=4096, compress=False)
        await ws.prepare(request)
        transport = request.transport
        if transport is None:
            return ws  # gone already
        mailbox = self.hall.enter()
        self.show.watched(len(self.hall.mailboxes))
        sender = asyncio.create_task(self._send(ws, transport, mailbox))
        try:
            async for received in ws:
                if received.type != WSMsgType.TEXT:
                    break
                try:
                    command = Command.parse(received.data)
                except TinyJEPAError as error:
                    await ws.close(code=1008, message=str(error).encode()[:120])
                    break
                if command.do == "keys":
                    self.show.hold(mailbox, command.value)
                else:
                    self.show.ask(command)
        finally:
            self.hall.leave(mailbox)
            self.show.hold(mailbox, ())
            self.show.watched(len(self.hall.mailboxes))
            sender.cancel()
        return ws

    async def _send(self, ws: web.WebSocketResponse, transport: asyncio.Transport, mailbox: Mailbox) -> None:
        """Send as fast as this viewer receives; what it misses is merged in its mailbox."""
        with contextlib.suppress(ConnectionError, RuntimeError):
            while not ws.closed:
                for item in await mailbox.take():
                    send = ws.send_str(item) if isinstance(item, str) else ws.send_bytes(item)
                    try:
                        await asyncio.wait_for(send, STALLED)
                    except TimeoutError:
                        transport.abort()
                        return


class _Relay:
    """From the show's thread into the server's loop."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def state(self, state: dict[str, Any], fresh: bool) -> None:
        self._call(self._server.hall.state, state, fresh)

    def moment(self, packed: Packed) -> None:
        self._call(self._server.hall.moment, packed)

    def plan(self, plan: str) -> None:
        self._call(self._server.hall.plan, plan)

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._server.loop.call_soon_threadsafe(function, *arguments)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ``TinyJEPAError`` with a fix."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise TinyJEPAError(f"--host {host} is no address of this machine ({error}): try 127.0.0.1") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(64)
        listening.setblocking(False)
        return listening
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise TinyJEPAError(f"port {port} on {host} is in use: give another --port, or 0 for any") from None
        raise TinyJEPAError(f"cannot listen on {host} port {port} ({error.strerror}): give another one") from None


def serve(runs: Mapping[str, Loaded], access: Access, port: int, ready: Callable[[str], None]) -> None:
    """Serves until Ctrl-C or SIGTERM; ``ready`` is called with the URL.

    Raises ``TinyJEPAError`` where it cannot begin. Needs the main thread, for the signals.
    """

    async def main() -> None:
        server = Server(runs, access)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.end)
        try:
            await server.start(port)
            ready(server.url)
            await server.wait()
        finally:
            await server.stop()

    asyncio.run(main())
