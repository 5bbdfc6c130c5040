"""Access control: a token unless the page is local, and no requests on behalf of other sites."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from shared.errors import TinyJEPAError

SHORTEST_TOKEN = 16


def is_loopback(host: str) -> bool:
    """Whether an address or name is a loopback address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


@dataclass(frozen=True)
class Access:
    """The access rules of one server."""

    host: str
    """address it binds to"""
    token: str | None
    """None: no token is needed on the loopback address"""
    names: frozenset[str] = frozenset()
    """in lower case, by which other machines may call this one"""

    @classmethod
    def make(cls, host: str, token: str | None) -> Access:
        """With a fresh token where ``host`` is no loopback address and none is given.

        Raises ``TinyJEPAError`` for a token that is short or does not fit into a URL.
        """
        if token is not None and not _fits(token):
            raise TinyJEPAError(
                f"--token needs {SHORTEST_TOKEN} characters or more, letters, digits, - and _ only: "
                "leave it out and one is made"
            )
        if is_loopback(host):
            return cls(host, token)
        own = socket.gethostname().lower()
        names = {host.lower(), own, f"{own}.local", socket.getfqdn().lower()}  # may ask a name server, so once
        return cls(host, token or secrets.token_urlsafe(24), frozenset(names))

    def knows(self, *given: str | None) -> bool:
        """Whether one of the tokens given is the right one; compared in constant time."""
        if self.token is None:
            return True
        found = False
        for one in given:
            found |= hmac.compare_digest(self.token.encode(), (one or "").encode(errors="surrogatepass"))
        return found

    def refuses(self, headers: Mapping[str, str]) -> str | None:
        """Why a request is refused because of its ``Host`` or ``Origin``; None if it is allowed.

        A page of another site that had its name point here (DNS rebinding) gives itself away by the ``Host`` header,
        one that connects across sites by ``Origin``.
        """
        host = headers.get("Host", "")
        if not self._is_ours(_name(host)):
            return f"{_name(host)[:60]!a} is not the name of this server: open it by its address"
        origin = headers.get("Origin")
        if origin is not None and _host(origin) != host.lower():
            return "a page of another site may not ask here"
        return None

    def _is_ours(self, name: str) -> bool:
        if is_loopback(name):
            return True
        if is_loopback(self.host):
            return False
        try:
            ipaddress.ip_address(name)
            return True  # an address cannot be rebound
        except ValueError:
            return name.lower() in self.names


def _fits(token: str) -> bool:
    """Whether a token is long enough, and fits into a URL."""
    plain = token.replace("-", "").replace("_", "")
    return len(token) >= SHORTEST_TOKEN and token.isascii() and plain.isalnum()


def _host(origin: str) -> str:
    """Name and port of an ``Origin`` header, in lower case; empty for what is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _name(host: str) -> str:
    """The name of a ``Host`` header, without port and brackets."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
