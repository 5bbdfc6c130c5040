"""What an import sees of a data set of another format: its episodes, and rows of them as a store keeps them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from shared.errors import TinyJEPAError, brief
from shared.store.schema import Factors


class Choice(NamedTuple):
    """What a user says where a source leaves it open."""

    image: str | None = None
    """Which of several images becomes the frame."""
    states: tuple[str, ...] | None = None
    """Which columns become the state; None: those that the format calls so."""
    rate: float | None = None
    """Steps per second; only videos without actions are resampled to it."""


class Entry(NamedTuple):
    """An episode of a source."""

    name: str
    """What the source calls it."""
    file: Path
    """Where it lies."""
    rows: int
    """Its observations; 0 for a broken one."""
    seed: int | None = None
    """What its environment was reset with, where the source says."""
    policy: str = ""
    """Who acted, where the source says."""
    factors: Factors | None = None
    """Its factors of variation, where the source says."""
    broken: str = ""
    """Why it cannot be read, where that showed at the opening."""


class Rows(NamedTuple):
    """N consecutive observations of an episode, aligned as in a store: the action of a row is the one taken there.

    Of the episode's last row, action and reward have no meaning: the importer sets them to zero.
    """

    frames: Iterable[np.ndarray] | None
    """N images, (H, W), (H, W, C) or (C, H, W), uint8, bool or floats in [0, 1]; None: the source has no images."""
    action: np.ndarray
    """(N, A)"""
    reward: np.ndarray
    """(N,)"""
    state: np.ndarray
    """(N, S)"""
    terminated: bool = False
    truncated: bool = False
    """How the episode ends, whichever rows these are."""


class Reader(Protocol):
    """A data set of one format, open for reading."""

    episodes: Sequence[Entry]
    """In the source's order, which is the same at every opening."""
    name: str
    """What to call the source."""
    former_name: str = ""
    """What earlier versions called it, where that differs."""
    rate: float | None
    """Steps per second; None where the source does not say."""
    action_dim: int
    state_names: tuple[str, ...]
    without_images: bool
    """Whether there are states only."""

    @classmethod
    def knows(cls, path: Path) -> bool:
        """Whether ``path`` looks like this format; opens no more than it must.

        Raises ``TinyJEPAError`` for a file of its kind that cannot be opened.
        """

    def __init__(self, path: Path, choice: Choice) -> None:
        """Raises ``TinyJEPAError`` with one line on what is wrong with it, or has to be chosen."""

    def read(self, number: int, start: int, stop: int) -> Rows:
        """Rows [start, stop) of an episode. Whatever it raises is reported with the episode's file and name."""


def name_of(path: Path) -> str:
    """What to call a source of files: as its folder, dots and all, or as its file without the ending."""
    whole = path.resolve() if path.name in ("", "..") else path
    return whole.name if whole.is_dir() else whole.stem


def natural(name: str) -> list[tuple[int, str]]:
    """To sort names by: ``clip 9`` comes before ``clip 10``."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def one_of(choices: Sequence[str], wanted: str | None, what: str, option: str, first: Sequence[str] = ()) -> str | None:
    """The chosen key: ``wanted``, the first of ``first`` that is there, or the only one; None where there is none.

    Raises ``TinyJEPAError`` for another key, and where several are left.
    """
    if wanted is not None:
        if wanted not in choices:
            raise TinyJEPAError(f"there is no {what} '{wanted}'. Choices: {', '.join(choices) or 'none'}")
        return wanted
    likely = [key for key in first if key in choices]
    if len(choices) > 1 and not likely:
        raise TinyJEPAError(
            f"there is more than one {what}: choose by {option} {choices[0]}, or {', '.join(choices[1:])}"
        )
    return next(iter(likely or choices), None)


def some_of(choices: Sequence[str], wanted: Sequence[str] | None, likely: Sequence[str]) -> tuple[str, ...]:
    """The columns of the state: those ``wanted``, else those of ``likely`` that are there."""
    if wanted is None:
        return tuple(key for key in likely if key in choices)
    for key in wanted:
        if key not in choices:
            raise TinyJEPAError(f"there is no state '{key}'. Choices: {', '.join(choices) or 'none'}")
    return tuple(wanted)


def column_names(key: str, width: int, names: Sequence[str] | None = None) -> tuple[str, ...]:
    """Names of the state columns that ``key`` becomes."""
    if names is not None and len(names) == width:
        return tuple(f"{key}.{name}" for name in names)
    return (key,) if width == 1 else tuple(f"{key}.{i}" for i in range(width))


def flat(values: Any, rows: int) -> np.ndarray:
    """Values of ``rows`` rows as float32 columns, (rows, width)."""
    return np.asarray(values, np.float32).reshape(rows, -1)


def beside(parts: Mapping[str, np.ndarray], rows: int) -> np.ndarray:
    """Columns side by side, float32 (rows, S); S may be 0."""
    return np.concatenate([np.zeros((rows, 0), np.float32), *(flat(part, rows) for part in parts.values())], axis=1)


def taken_at(values: np.ndarray, rows: int, what: str, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Rows [start, stop) of what an episode of ``rows`` observations records once a step.

    Of L + 1 observations a source has L actions, or L + 1 of which the last led to nothing it shows. Raises
    ``ValueError`` for any other number.
    """
    if len(values) not in (rows, rows - 1):
        raise ValueError(f"it has {len(values)} of {what} for {rows} observations, not {rows} or {rows - 1}")
    cut = np.asarray(values[start : rows if stop is None else stop])
    missing = (rows if stop is None else stop) - start - len(cut)
    return np.concatenate([cut, np.zeros((missing, *cut.shape[1:]), cut.dtype)]) if missing else cut


def ends(flags: Any) -> bool:
    """Whether any of an episode's flags is set; ``flags`` may be absent."""
    return flags is not None and bool(np.any(np.nan_to_num(np.asarray(flags, np.float64))))


@contextlib.contextmanager
def blaming(file: Path, episode: str = "") -> Iterator[None]:
    """Whatever goes wrong inside is the source's: ``TinyJEPAError`` with the file and the episode."""
    where = f"{file}, episode {episode}" if episode else str(file)
    try:
        yield
    except TinyJEPAError as error:
        raise TinyJEPAError(f"{where}: {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # what a damaged file makes its library raise is unknown
        raise TinyJEPAError(f"{where} cannot be read: {brief(error)}") from error
