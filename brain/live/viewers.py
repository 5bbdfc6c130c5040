"""One mailbox per viewer: a slow viewer gets fewer pictures and does not delay the others."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Iterable
from typing import Any

from brain.live.messages import Packed, Point, message

POINTS = 600
"""Points of the curves kept for each viewer that lags and for the next to connect."""


class Mailbox:
    """What a viewer has not been sent yet: the latest state, the latest picture, and the points since."""

    def __init__(
        self, state: str | None, points: Iterable[Point], packed: Packed | None, plan: str | None = None
    ) -> None:
        """Starts with what the other viewers have already received."""
        self._state, self._packed, self._plan = state, packed, plan
        self._points: deque[Point] = deque(points, maxlen=POINTS)
        self._something = asyncio.Event()
        self._something.set()

    def put_state(self, state: str, fresh: bool) -> None:
        if fresh:
            self._points.clear()
            self._packed = self._plan = None
        self._state = state
        self._something.set()

    def put_plan(self, plan: str) -> None:
        self._plan = plan
        self._something.set()

    def put(self, packed: Packed) -> None:
        self._points.append(packed.point)
        self._packed = packed
        self._something.set()

    async def take(self) -> list[str | bytes]:
        """Wait for content and empty the mailbox: at most one state, one plan and one moment."""
        await self._something.wait()
        self._something.clear()
        messages: list[str | bytes] = []
        if self._state is not None:
            messages.append(self._state)
        if self._plan is not None:
            messages.append(self._plan)
        if self._packed is not None:
            messages.append(message(list(self._points), self._packed))
        self._state, self._packed, self._plan = None, None, None
        self._points.clear()
        return messages


class Hall:
    """All viewers, and what the next one must receive first."""

    def __init__(self) -> None:
        self.mailboxes: set[Mailbox] = set()
        self._state: str | None = None
        self._packed: Packed | None = None
        self._plan: str | None = None
        self._points: deque[Point] = deque(maxlen=POINTS)

    def enter(self) -> Mailbox:
        mailbox = Mailbox(self._state, self._points, self._packed, self._plan)
        self.mailboxes.add(mailbox)
        return mailbox

    def leave(self, mailbox: Mailbox) -> None:
        self.mailboxes.discard(mailbox)

    def state(self, state: dict[str, Any], fresh: bool) -> None:
        self._state = json.dumps(state)
        if fresh:
            self._points.clear()
            self._packed = self._plan = None
        for mailbox in self.mailboxes:
            mailbox.put_state(self._state, fresh)

    def plan(self, plan: str) -> None:
        self._plan = plan
        for mailbox in self.mailboxes:
            mailbox.put_plan(plan)

    def moment(self, packed: Packed) -> None:
        self._points.append(packed.point)
        self._packed = packed
        for mailbox in self.mailboxes:
            mailbox.put(packed)
