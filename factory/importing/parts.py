"""Which numbers the episodes of a source have in a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from factory.importing.source import Entry

LATER = 1_000_000_000
"""Of an episode that turned out to have several parts when those after it had numbers: part k of number n is
k * LATER + n."""


class Part(NamedTuple):
    """An episode of the store: rows [start, stop) of an episode of the source."""

    entry: int
    start: int
    stop: int


_Way = tuple["_Way | None", range]
"""The numbers of an episode, after those of the episodes before it."""


def parts_of(entries: Sequence[Entry], max_steps: int) -> list[list[Part]]:
    """The parts of each episode of a source, at least one; a part starts with the observation that ended the last."""
    cut = []
    for number, entry in enumerate(entries):
        starts = range(0, max(entry.rows - 1, 1), max_steps)
        cut.append([Part(number, start, min(start + max_steps + 1, entry.rows)) for start in starts])
    return cut


def others(number: int, parts: Mapping[int, Part]) -> list[int]:
    """The numbers of the further parts of an episode that has those of ``LATER``; none for any other number."""
    found: list[int] = []
    while number < LATER and (further := (len(found) + 1) * LATER + number) in parts:
        found.append(further)
    return found


def numbered(
    parts: Sequence[Sequence[Part]], held: Mapping[int, int], same: Callable[[int, Part], bool]
) -> dict[int, Part] | None:
    """The parts by number, such that those a store holds keep theirs; None where it holds others.

    Parts are numbered as they come. But an episode that was broken when those after it were numbered has one number,
    however many parts it has since: the others have those of ``LATER``. They come before the first one in the result,
    and are stored before it: a store that holds the first one alone thereby tells that the episode was never broken.

    ``held``: the rows of the store's episodes by number. ``same`` says whether one of them is a part. It is asked only
    after gaps that an episode of several parts may have left.
    """
    last = max((number % LATER for number in held), default=-1)
    repairs = {number % LATER: number for number in sorted(held) if number >= LATER}
    """The largest number of a further part, by that of its episode."""
    seen = set()
    todo: list[tuple[int, int, bool, _Way | None]] = [(0, 0, False, None)]
    """Ways to go on: an episode, its first number, whether that is open, and the numbers of those before."""
    while todo:
        entry, number, is_open, way = todo.pop()
        if (entry, number, is_open) in seen:
            continue  # it failed
        seen.add((entry, number, is_open))
        if entry == len(parts):
            if number > last:
                return _along(way, parts)
            continue
        own = parts[entry]
        plain, repaired = range(number, number + len(own)), range(number, number + len(own) * LATER, LATER)
        choices = [plain]
        if number in repairs:
            choices = [repaired]
        elif len(own) > 1 and number not in held and number < last:
            choices = [repaired, plain]  # the last one is tried first
        for numbers in choices:
            if any(repairs.get(place, 0) > numbers[-1] for place in numbers):
                continue
            checks = is_open or len(choices) > 1
            for place, part in zip(numbers, own):
                if place in held:
                    if held[place] != part.stop - part.start or (checks and not same(place, part)):
                        break
                    checks = False
            else:
                todo.append((entry + 1, number + (1 if numbers is repaired else len(own)), checks, (way, numbers)))
    return None


def _along(way: _Way | None, parts: Sequence[Sequence[Part]]) -> dict[int, Part]:
    chosen = []
    while way is not None:
        way, numbers = way
        chosen.append(numbers)
    found: dict[int, Part] = {}
    for numbers, own in zip(reversed(chosen), parts):
        pairs = list(zip(numbers, own))
        found.update(pairs if numbers.step == 1 else [*pairs[1:], pairs[0]])
    return found
