"""Which episodes a collection still has to make: bookkeeping only, no processes."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping


class Plan:
    """Hands out episodes so that a run is the same whatever the number of workers.

    A run is episodes 0 to K-1 with the smallest K whose rows reach ``goal``. How long an episode gets is not
    known before it is made, so episode k is handed out only when it is certainly needed: when the rows known
    of episodes before it, plus ``bound`` for each one not known yet, stay below the goal. With ``counts_rows``
    False the goal is K itself.

    ``have`` maps the episodes that are there already to their rows; ``bound`` is the most rows an episode
    can have.
    """

    def __init__(self, goal: int, bound: int, have: Mapping[int, int], counts_rows: bool = True) -> None:
        self.goal, self.bound, self._counts_rows = goal, bound, counts_rows
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
    def progress(self) -> int:
        """How much of the goal is made, in its own unit."""
        return self._counted if self._counts_rows else self._next - len(self._unknown)

    @property
    def episodes(self) -> int:
        """Episodes handed out or found; K when finished."""
        return self._next

    @property
    def finished(self) -> bool:
        return not self._needs_another() and not self._unknown and not self._flying and not self._again

    @property
    def parallel(self) -> int:
        """How many episodes can be made at the same time from here on."""
        left = -(-(self.goal - self._counted) // self.bound) if self._counts_rows else self.goal - self._next
        return len(self._again) + max(0, left)

    def take(self) -> int | None:
        """The next episode to make, or None while it is not certain that another one is needed."""
        if self._again:
            k = heapq.heappop(self._again)
        elif self._needs_another():
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
        for k in set(episodes).difference(self._again):
            self._flying.discard(k)
            heapq.heappush(self._again, k)

    def missing(self, committed: Iterable[int]) -> set[int]:
        """Episodes of the run up to now that are not among ``committed``."""
        return set(range(self._next)) - set(committed)

    def _needs_another(self) -> bool:
        """Whether the episode after the ones handed out is certainly part of the run."""
        if self._counts_rows:
            return self._counted + self.bound * len(self._unknown) < self.goal
        return self._next < self.goal

    def _skip_known(self) -> None:
        while self._next in self._rows and self._needs_another():
            self._counted += self._rows[self._next]
            self._next += 1
