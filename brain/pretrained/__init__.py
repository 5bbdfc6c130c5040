"""Trained runs that come with the package: a folder each, with weights, recipe, ``judge.json`` and card (README.md).

``python -m benchmarks.pretrained NAME`` makes one anew.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from shared.errors import TinyJEPAError
from shared.registry import closest

PREFIX = "pretrained:"
"""A run argument that begins so names one of these."""
CARD = "README.md"
_FOLDER = Path(__file__).parent
_SAME = ("encoder.safetensors", "predictor.safetensors")


def names() -> list[str]:
    return sorted(path.parent.name for path in _FOLDER.glob("*/run.json"))


def folder(name: str) -> Path:
    """The run folder, only to be read. Raises ``TinyJEPAError`` with the closest match for an unknown name."""
    if name not in names():
        raise TinyJEPAError(closest(name, names(), "pretrained run"))
    return _FOLDER / name


def comes_with_the_package(run: Path) -> bool:
    """Whether a run folder is one of these, and must not be written to."""
    return _FOLDER.resolve() in run.resolve().parents


def named(run: Path | str) -> str | None:
    """NAME of a run argument ``pretrained:NAME``; None for any other."""
    text = str(run)
    return text.removeprefix(PREFIX) if text.startswith(PREFIX) else None


def copy_place(name: str) -> Path:
    """Where ``copied`` copies a run to."""
    return Path("runs") / f"pretrained-{name}"


def copied(name: str) -> Path:
    """A copy that can be written to, ``runs/pretrained-NAME``; one that is there is kept, with what was added to it.

    Raises ``TinyJEPAError`` for an unknown name, a copy of other weights, and where it cannot be written.
    """
    source, place = folder(name), copy_place(name)
    if place.exists():
        for part in _SAME:
            if not (place / part).is_file() or (place / part).read_bytes() != (source / part).read_bytes():
                raise TinyJEPAError(f"{place} holds another run than pretrained {name} ({part}): move it away")
        return place
    partial = place.with_name(place.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for file in source.iterdir():
            if file.is_file() and file.name != CARD:  # the card is of the figures as they came
                shutil.copyfile(file, partial / file.name)
        partial.replace(place)
    except OSError as error:
        raise TinyJEPAError(
            f"cannot copy pretrained {name} to {place} ({error.strerror}): go to another folder"
        ) from None
    return place
