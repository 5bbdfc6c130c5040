"""A folder of videos, or a single one, with or without tables of actions.

Next to ``drive.mp4`` may lie ``drive.csv``: a header and a row per frame, or one less, in the frames' order. Or there
is one ``actions.csv`` for all, whose column ``video`` says which. Columns ``reward``, ``terminated`` and ``truncated``
are what they are called; those called ``state`` or ``state.<name>`` are states; ``video``, ``frame`` and ``time`` count
for nothing; all other columns are the action.

A file is cut into episodes by the importer's step limit. Without actions its frames can be resampled.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from factory.importing.source import Choice, Entry, Reader, Rows, blaming, name_of, natural, taken_at
from factory.importing.videofile import SUFFIXES, VideoFile
from shared.errors import TinyJEPAError

ALL = "actions.csv"
NO_ACTION = {"video", "frame", "time", "timestamp", "reward", "terminated", "truncated"}
SAME_RATE = 0.02
"""Share by which the rates of files may differ and count as one."""


class Table(NamedTuple):
    """Columns of numbers, a row per frame."""

    columns: dict[str, np.ndarray]

    def names(self, states: bool) -> tuple[str, ...]:
        """Of the states, or of the actions."""
        kept = [name for name in self.columns if name not in NO_ACTION]
        return tuple(name for name in kept if (name.split(".")[0] == "state") == states)

    def part(self, names: tuple[str, ...]) -> np.ndarray:
        """float32 (rows, len(names))"""
        rows = len(next(iter(self.columns.values())))
        return np.stack([self.columns[name] for name in names], 1) if names else np.zeros((rows, 0), np.float32)


class Videos(Reader):
    """Files in the order of their names, numbers by their value; folders inside are looked through."""

    without_images = False

    @classmethod
    def knows(cls, path: Path) -> bool:
        return bool(_files(path))

    def __init__(self, path: Path, choice: Choice) -> None:
        if choice.image is not None or choice.states is not None:
            raise TinyJEPAError("videos have one image each, and states by the names of their columns: see --help")
        self.name, self.former_name = name_of(path.resolve()), path.resolve().stem
        files = _files(path)
        self._videos, broken = dict[Path, VideoFile](), dict[Path, str]()
        self._reading: VideoFile | None = None
        for file in files:
            try:
                with blaming(file):
                    self._videos[file] = VideoFile(file)
            except TinyJEPAError as error:
                broken[file] = str(error)
        if not self._videos:
            raise TinyJEPAError(next(iter(broken.values())))
        self._tables = _tables(files)
        first = next(iter(self._tables.values()), None)
        self._acts = first.names(states=False) if first else ()
        self._states = first.names(states=True) if first else ()
        self.action_dim, self.state_names = len(self._acts), self._states
        for file, table in self._tables.items():
            if (table.names(False), table.names(True)) != (self._acts, self._states):
                raise TinyJEPAError(f"the table of {file} has other columns than the first: give all the same")
        if first and (bare := [file for file in files if file not in self._tables]):
            raise TinyJEPAError(f"{bare[0]} has no table of actions, and others have: add it, or leave all tables out")
        self.rate = choice.rate if choice.rate and not first else self._common_rate()
        resampled = choice.rate is not None and not first
        self._frames = {file: self._chosen(video, resampled) for file, video in self._videos.items()}
        root = path if path.is_dir() else path.parent
        self.episodes = [
            Entry(str(file.relative_to(root)), file, len(self._frames.get(file, ())), broken=broken.get(file, ""))
            for file in files
        ]

    def read(self, number: int, start: int, stop: int) -> Rows:
        file = self.episodes[number].file
        video, frames = self._videos[file], self._frames[file][start:stop]
        if self._reading is not video and self._reading is not None:
            self._reading.close()
        self._reading = video
        table = self._tables.get(file)
        if table is None:
            empty = np.zeros((stop - start, 0), np.float32)
            return Rows(video.frames(frames), empty, np.zeros(stop - start, np.float32), empty)
        rows, columns = self.episodes[number].rows, table.columns

        def cut(values: np.ndarray, what: str) -> np.ndarray:
            return taken_at(values, rows, what, start, stop)

        states = table.part(self._states)
        if self._states and len(states) != rows:
            raise ValueError(f"its table has {len(states)} rows of states for {rows} frames")
        return Rows(
            frames=video.frames(frames),
            action=cut(table.part(self._acts), "actions"),
            reward=cut(columns["reward"], "rewards") if "reward" in columns else np.zeros(stop - start, np.float32),
            state=states[start:stop] if self._states else np.zeros((stop - start, 0), np.float32),
            terminated=bool(np.any(columns.get("terminated", 0))),
            truncated=bool(np.any(columns.get("truncated", 0))),
        )

    def _common_rate(self) -> float:
        first, *others = self._videos.values()
        for video in others:
            if abs(video.rate - first.rate) > SAME_RATE * first.rate:
                fix = "split them" if self._tables else f"resample them by --rate {first.rate:g}"
                raise TinyJEPAError(
                    f"{video.path} has {video.rate:.4g} frames per second, {first.path.name} {first.rate:.4g}: {fix}"
                )
        return first.rate

    def _chosen(self, video: VideoFile, resampled: bool) -> np.ndarray:
        """Numbers of the frames that become rows: all, or those closest to even times."""
        if not resampled:
            return np.arange(len(video.times))
        assert self.rate is not None
        seconds = float(video.times[-1] - video.times[0])
        times = video.times[0] + np.arange(int(seconds * self.rate + 1e-6) + 1) / self.rate
        return video.nearest(times)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = [file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file()]
        return sorted(found, key=lambda file: natural(str(file.relative_to(path))))
    return [path] if path.suffix.lower() in SUFFIXES and path.is_file() else []


def _tables(files: list[Path]) -> dict[Path, Table]:
    """The tables by video."""
    tables = {file: _read(own) for file in files if (own := file.with_suffix(".csv")).is_file()}
    for folder in sorted({file.parent for file in files}):
        if (shared := folder / ALL).is_file():
            tables |= _shared(shared, [file for file in files if file.parent == folder])
    return tables


def _read(file: Path) -> Table:
    with blaming(file), file.open(newline="", encoding="utf-8-sig") as opened:
        return _table(list(csv.DictReader(opened)))


def _shared(file: Path, videos: list[Path]) -> dict[Path, Table]:
    """A table for several videos, which its column ``video`` names, with or without their ending."""
    with blaming(file), file.open(newline="", encoding="utf-8-sig") as opened:
        rows = list(csv.DictReader(opened))
        if not rows or "video" not in rows[0]:
            raise ValueError("it has no column 'video' that says which video a row belongs to")
        tables = {}
        for video in videos:
            own = [row for row in rows if row["video"] in (video.name, video.stem)]
            if own:
                tables[video] = _table(own)
    return tables


def _table(rows: list[dict[str, str]]) -> Table:
    if not rows:
        raise ValueError("it has no rows below its header")
    words = {"true": 1.0, "false": 0.0}
    columns = {}
    for name in rows[0]:
        if name == "video":
            continue
        values = []
        for line, row in enumerate(rows, 2):
            text = (row[name] or "").strip()
            try:
                values.append(words[text.lower()] if text.lower() in words else float(text))
            except ValueError:
                raise ValueError(f"line {line}, column '{name}': {text!r} is no number") from None
        columns[name] = np.array(values, np.float32)
    return Table(columns)
