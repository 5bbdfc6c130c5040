"""Metrics for Prometheus: plain text on 127.0.0.1, in exposition format 0.0.4."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from shared.errors import TinyJEPAError

HOST = "127.0.0.1"
"""Not reachable from other machines; a remote Prometheus needs ssh or a proxy."""


class Exporter:
    """Serves ``/metrics`` until it is closed; ``show`` replaces the metrics.

    Raises ``TinyJEPAError`` when the port is taken. Port 0 takes a free one, which ``port`` then names.
    """

    def __init__(self, program: str, port: int) -> None:
        self._prefix = f"tinyjepa_{program}_"
        self._page = b""
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = self.path.split("?")[0] in ("/", "/metrics")
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.end_headers()
                self.wfile.write(exporter._page if found else b"see /metrics\n")

            def log_message(self, format: str, *args: Any) -> None:
                pass

        try:
            self._server = ThreadingHTTPServer((HOST, port), Handler)
        except OSError as error:
            raise TinyJEPAError(f"--metrics-port {port}: {error.strerror}: give another port") from None
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()

    def show(self, facts: Mapping[str, Any]) -> None:
        """The numbers among ``facts``, each as a gauge called ``tinyjepa_<program>_<name>``."""
        lines = []
        for name, value in facts.items():
            if isinstance(value, int | float):
                lines += [f"# TYPE {self._prefix}{name} gauge", f"{self._prefix}{name} {float(value):.10g}"]
        self._page = ("\n".join(lines) + "\n").encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
