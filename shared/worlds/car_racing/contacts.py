"""Contacts of the car with road tiles, as reported by Box2D."""

from __future__ import annotations

from typing import Any, Protocol

from Box2D.b2 import contactListener


class Toucher(Protocol):
    """The receiver of contacts: the world."""

    def touch(self, tile: int) -> None:
        """The car's front or a wheel is on a tile."""

    def visit(self, tile: int) -> None:
        """A wheel is on a tile."""


class Contacts(contactListener):
    """Counts the tiles under each wheel and reports touched and visited tiles to the world."""

    def __init__(self, world: Toucher) -> None:
        super().__init__()
        self.world = world
        self.tiles = [0] * 4

    def BeginContact(self, contact: Any) -> None:
        tile, wheel = self._parts(contact)
        self.world.touch(tile)
        if wheel is not None:
            self.tiles[wheel] += 1
            self.world.visit(tile)

    def EndContact(self, contact: Any) -> None:
        tile, wheel = self._parts(contact)
        self.world.touch(tile)
        if wheel is not None:
            self.tiles[wheel] -= 1

    @staticmethod
    def _parts(contact: Any) -> tuple[int, int | None]:
        """Tile index and wheel index; None for the hull."""
        a, b = contact.fixtureA.userData, contact.fixtureB.userData
        tile, other = (a, b) if a is not None and a >= 0 else (b, a)
        return tile, None if other is None else -1 - other
