"""The two-room world: ``geometry`` (where the walls are), ``world`` (one episode), ``batch`` (many at once)."""

from __future__ import annotations

from shared.worlds.two_room.batch import TwoRoomBatch
from shared.worlds.two_room.world import TwoRoom

__all__ = ["TwoRoom", "TwoRoomBatch"]
