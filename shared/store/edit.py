"""Choosing episodes of a store: those kept go into a new store, the others, if wished, into a second one."""

from __future__ import annotations

import dataclasses
import operator
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from shared.errors import StoreError, TinyJEPAError
from shared.store.dataset import create_store
from shared.store.files import unfinished
from shared.store.reader import Store
from shared.store.schema import Episode, EpisodeRef, Factors
from shared.store.writer import StreamWriter

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
NUMBERS = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
CONDITION = re.compile(r"\s*([a-z]\w*)(?:\[(\d+)\])?\s*(<=|>=|!=|==|=|<|>)\s*(.+?)\s*")

Test = Callable[[Store, EpisodeRef], bool]


def parse(text: str) -> Test:
    """A choice of episodes: numbers (``0-9,12``), or a condition on ``steps``, ``return``, ``policy`` or a factor.

    >>> parse("steps >= 20"), parse("return<0"), parse("policy = pursuit"), parse("3,5-7"), parse("road_colour[0]<90")
    """
    plain = text.replace(" ", "")
    if NUMBERS.fullmatch(plain):
        bounds = [[int(end) for end in part.split("-")] for part in plain.split(",")]
        if any(part[0] > part[-1] for part in bounds):
            raise TinyJEPAError(f"'{text}': a range goes from low to high, such as 3-5")
        return lambda store, ref: any(part[0] <= ref.index <= part[-1] for part in bounds)
    match = CONDITION.fullmatch(text)
    if match is None:
        raise TinyJEPAError(
            f"'{text}' chooses no episodes: write numbers such as 0-9,12 or a condition such as steps>=20, return<0 or "
            "policy=pursuit"
        )
    name, place, sign, value = match.groups()
    compare = COMPARISONS["=" if sign == "==" else sign]
    if name == "policy":
        if sign not in ("=", "==", "!="):
            raise TinyJEPAError(f"'{text}': compare a policy with = or !=")
        return lambda store, ref: compare(ref.policy, value)
    try:
        number = float(value)
    except ValueError:
        raise TinyJEPAError(f"'{text}': {value!r} is no number") from None
    if name == "steps":
        return lambda store, ref: compare(ref.rows - 1, number)
    if name == "return":
        return lambda store, ref: compare(_return(store, ref), number)
    return lambda store, ref: compare(_factor(ref, name, place), number)


def _return(store: Store, ref: EpisodeRef) -> float:
    return float(np.sum(store.read_episode(ref, "reward")["reward"], dtype=float))


def _factor(ref: EpisodeRef, name: str, place: str | None) -> float:
    """A number of a factor of an episode; raises ``TinyJEPAError`` where it has none of that name."""
    known = ref.factors or {}
    if name not in known:
        names = ", ".join(["steps", "return", "policy", *known])
        raise TinyJEPAError(f"episode {ref.index} has no '{name}' to choose by: choose from {names}")
    value = known[name]
    numbers = value if isinstance(value, tuple) else (value,)
    if (place is None and len(numbers) > 1) or int(place or 0) >= len(numbers):
        raise TinyJEPAError(
            f"factor '{name}' has {len(numbers)} number{'s' if len(numbers) > 1 else ''}: write "
            + " or ".join(f"{name}[{n}]" if len(numbers) > 1 else name for n in range(len(numbers)))
        )
    return numbers[int(place or 0)]


class Edited(NamedTuple):
    """What an edit did."""

    kept: int
    rest: int
    """Episodes."""


def edit(
    path: Path,
    into: Path,
    keep: Sequence[str] = (),
    drop: Sequence[str] = (),
    rest: Path | None = None,
    show: Callable[[int, int], None] = lambda done, total: None,
    factors: Callable[[EpisodeRef], Factors | None] = lambda ref: ref.factors,
) -> Edited:
    """Write the episodes that meet every ``keep`` and no ``drop`` to a new store, and the others to ``rest``.

    Episodes keep their run, number, seed and policy, and with them their split; every field is copied bit for bit. The
    store at ``path`` does not change. New stores appear when all are complete: an interrupted edit leaves
    ``.<into>.partial``, which the next one replaces. ``show`` is told episodes done and in all. ``factors`` gives the
    values of an episode's factors of variation, where its log may be too old to say.

    Raises ``TinyJEPAError`` for a choice that cannot be read or leaves nothing, and where a new store's place is taken;
    ``StoreError`` for a store that is missing or damaged.
    """
    if not keep and not drop:
        raise TinyJEPAError("nothing to choose by: give --keep or --drop")
    wanted, unwanted = [parse(text) for text in keep], [parse(text) for text in drop]
    store = Store(path)
    if store.spec.schema_version < 2:
        raise StoreError(f"{path} has schema {store.spec.schema_version}, whose logs name no run: collect anew")
    for place in (into, rest):
        if place is not None and place.exists():
            raise TinyJEPAError(f"{place} exists: an edit writes a new store, so name another place")
        if place is not None and path.resolve() in place.resolve().parents:
            raise TinyJEPAError(f"{place} lies in the store {path}: name a place outside")
    if rest is not None and rest.resolve() == into.resolve():
        raise TinyJEPAError("--into and --rest name the same place: choose two")
    refs = [dataclasses.replace(ref, factors=factors(ref)) for ref in store.episodes]
    for text, test in zip(drop, unwanted):
        if not any(test(store, ref) for ref in refs):
            raise TinyJEPAError(f"--drop {text} selects no episode of {path}: drop others")
    kept, others = list[EpisodeRef](), list[EpisodeRef]()
    for ref in refs:
        stays = all(test(store, ref) for test in wanted) and not any(test(store, ref) for test in unwanted)
        (kept if stays else others).append(ref)
    if not kept:
        raise TinyJEPAError(f"this choice keeps none of the {len(others):,} episodes of {path}")
    if rest is not None and not others:
        raise TinyJEPAError(f"all {len(kept):,} episodes of {path} are kept, and nothing is left for --rest")
    total = len(kept) + (len(others) if rest is not None else 0)
    done = 0
    written = [(unfinished(place, path), place) for place in (into, rest) if place is not None]
    for (partial, _), refs in zip(written, (kept, others)):
        shutil.rmtree(partial, ignore_errors=True)
        partial.parent.mkdir(parents=True, exist_ok=True)
        done = _copy(store, refs, partial, lambda count: show(count, total), done)
    for partial, place in written:
        partial.rename(place)
    return Edited(len(kept), len(others))


def _copy(store: Store, refs: Sequence[EpisodeRef], target: Path, show: Callable[[int], None], done: int) -> int:
    """The episodes as a store at ``target``, a stream for each run; returns how many are done."""
    spec = create_store(target, store.spec)
    for run in sorted({ref.run for ref in refs}):
        with StreamWriter(target, spec, run, worker=0) as writer:
            for ref in refs:
                if ref.run != run:
                    continue
                fields = store.read_episode(ref, "frame", "action", "reward", "state")
                episode = Episode(
                    index=ref.index,
                    seed=ref.seed,
                    policy=ref.policy,
                    frame=fields["frame"],
                    action=fields["action"],
                    reward=fields["reward"],
                    state=fields["state"],
                    terminated=ref.terminated,
                    truncated=ref.truncated,
                    factors=ref.factors,
                )
                writer.append(episode)
                done += 1
                show(done)
    return done
