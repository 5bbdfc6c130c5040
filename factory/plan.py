"""Which episodes a collection still has to make: bookkeeping only, no processes."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping


class Plan:
    """Hands out episodes so that a run is the same whatever the number of workers.

    A run is episodes 0 to K-1 with the smallest K whose rows reach ``goal``. How long an episode gets is not
    known before it is made, so episode k is handed out only when it is certainly needed: when the rows known
    of episodes before it, plus ``bound`` for each one not known yet, stay below the goal.

    ``have`` maps the episodes that are there already to their rows; ``bound`` is the most rows an episode
    can have.
    """

    def __init__(self, goal: int, bound: int, have: Mapping[int, int]) -> None:
        self.goal, self.bound = goal, bound
        self._rows = dict(have)
        self._next = 0
        self._counted = 0
        self._unknown: set[int] = set()
        self._flying: set[int] = set()
        self._again: list[int] = []
        self._skip_known()

    @property
    def rows(self) -> int:
        """Rows of the episodes before the next one to hand out, as far as known."""
        return self._counted

    @property
    def episodes(self) -> int:
        """Episodes handed out or found; K when finished."""
        return self._next

    @property
    def finished(self) -> bool:
        return self._counted >= self.goal and not self._flying and not self._again

    @property
    def parallel(self) -> int:
        """How many episodes can be made at the same time from here on."""
        return len(self._again) + max(0, -(-(self.goal - self._counted) // self.bound))

    def take(self) -> int | None:
        """The next episode to make, or None while it is not certain that another one is needed."""
        if self._again:
            k = heapq.heappop(self._again)
        elif self._counted + self.bound * len(self._unknown) < self.goal:
            k = self._next
            self._next += 1
            self._unknown.add(k)
            self._skip_known()
        else:
            return None
        self._flying.add(k)
        return k

    def done(self, k: int, rows: int) -> None:
        """Episode ``k`` is made and has ``rows`` rows."""
        self._flying.discard(k)
        if k in self._unknown:
            self._unknown.discard(k)
            self._rows[k] = rows
            self._counted += rows
            self._skip_known()

    def lost(self, episodes: Iterable[int]) -> None:
        """These episodes were handed out, or even made, but never committed: they are handed out again."""
        for k in set(episodes):
            self._flying.discard(k)
            heapq.heappush(self._again, k)

    def missing(self, committed: Iterable[int]) -> set[int]:
        """Episodes of the run up to now that are not among ``committed``."""
        return set(range(self._next)) - set(committed)

    def _skip_known(self) -> None:
        while self._next in self._rows and self._counted + self.bound * len(self._unknown) < self.goal:
            self._counted += self._rows[self._next]
            self._next += 1
