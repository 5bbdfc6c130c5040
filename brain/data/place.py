"""The location of a run's store: where it was trained, or where it has moved since."""

from __future__ import annotations

from pathlib import Path

from brain.data.state_mode import reader, standardise
from brain.pretrained import comes_with_the_package
from brain.runs import checkpoint
from brain.runs.figures import damaged, read_judgement
from brain.runs.folder import Run, check_fit
from shared.errors import MissingStoreError
from shared.store.dataset import is_gone
from shared.store.reader import Store
from shared.store.schema import StoreSpec


def open_store(run: Run, place: Path | str | None, *, own: bool = True) -> tuple[Store, str]:
    """The store at ``place``, or the run's own, as its recipe sees it; and a line where a move is remembered by this.

    ``own``: whether ``place`` may be where the run's own store is now, where that is gone. A store that has none of the
    streams that the run was trained on is not.

    Raises ``MissingStoreError`` that says where it was looked for, ``TinyJEPAError`` for a store of another world.
    """
    facts = run.facts()
    try:
        opened = reader(run.recipe())(place or facts["store"])
    except MissingStoreError:
        if place is not None:
            raise
        if collect := facts.get("collect"):
            raise MissingStoreError(
                f"{run.path}: there is no store at {facts['store']}: make it with `{collect}`, or give --store PLACE"
            ) from None
        raise MissingStoreError(
            f"{run.path}: there is no store at {facts['store']}, where run.json expects it: give --store PLACE; where "
            "it has moved, once is enough, and the run remembers it"
        ) from None
    check_fit(facts, opened.spec, str(opened.path), "give its --store")
    standardise(opened, run)
    return opened, remember(run, opened) if own and _may_have_moved_to(run, opened) else ""


def spec_of(run: Run, place: Path | str | None) -> StoreSpec:
    """The run's world as its judge saw it, so that the store may be gone; as the store says with ``place`` or unjudged.

    Raises what ``open_store`` raises, and ``TinyJEPAError`` for a damaged ``judge.json``.
    """
    run.facts()
    judgement = read_judgement(run)
    if judgement is None or place is not None:
        return open_store(run, place)[0].spec
    try:
        return judgement.spec()
    except ValueError as error:
        raise damaged(run.judgement, error, "make it again with brain judge") from None


def _may_have_moved_to(run: Run, store: Store) -> bool:
    """Whether ``store`` has a stream that the run was trained on, or the run does not say on which it was."""
    for weights in (run.predictor, run.encoder):
        facts = checkpoint.read_facts(weights) if weights.exists() else {}
        begun = facts.get("stream")
        known = facts.get("known") or (begun.get("known") if isinstance(begun, dict) else None)
        if known:
            return any(name in store.streams for name in known)
    return True


def remember(run: Run, store: Store) -> str:
    """Where the run's own store is gone, take ``store`` for it from now on; a line that says so, or nothing."""
    known = str(run.facts()["store"])
    if known == store.address or comes_with_the_package(run.path) or not is_gone(known):
        return ""
    try:
        run.moved(store.address)
    except OSError:
        return ""  # a run folder that is only read
    return f"{run.path}: its store is no longer at {known}; from now on it is {store.address}"
