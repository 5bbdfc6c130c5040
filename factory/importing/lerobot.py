"""`LeRobot <https://github.com/huggingface/lerobot>`_ data sets, version 3: Parquet tables, videos or images.

``meta/info.json`` describes the columns, ``meta/episodes`` says in which files the rows of an episode lie and from
which second its video runs. A row is an observation and the action taken there, so an episode of N rows has N
observations, and its last action led to nothing it shows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from factory.importing.source import (
    Choice,
    Entry,
    Reader,
    Rows,
    beside,
    blaming,
    column_names,
    ends,
    flat,
    one_of,
    some_of,
)
from factory.importing.videofile import VideoFile
from shared.errors import TinyJEPAError

INFO = Path("meta", "info.json")
MAJOR = "v3."
STATES = ["observation.state", "observation.environment_state", "next.state"]
OTHER = {"timestamp", "frame_index", "episode_index", "index", "task_index"}


class LeRobot(Reader):
    """The folder that holds ``meta``, ``data`` and ``videos``."""

    @classmethod
    def knows(cls, path: Path) -> bool:
        return (path / INFO).is_file()

    def __init__(self, path: Path, choice: Choice) -> None:
        self._path, self.name = path, path.resolve().name
        with blaming(path / INFO):
            info = json.loads((path / INFO).read_text(encoding="utf-8"))
            version, features = str(info["codebase_version"]), info["features"]
            self.rate = float(info["fps"])
        if not version.startswith(MAJOR):
            raise TinyJEPAError(
                f"{path} is a LeRobot data set of version {version}, and this reads version 3: convert it with "
                "lerobot's convert_dataset_v21_to_v30"
            )
        self._features: dict[str, Any] = features
        images = [key for key, feature in features.items() if feature["dtype"] in ("video", "image")]
        numbers = [
            key
            for key, feature in features.items()
            if feature["dtype"].startswith(("float", "int", "bool", "uint")) and len(feature["shape"]) == 1
        ]
        columns = [key for key in numbers if key not in OTHER and not key.startswith(("action", "next."))]
        self._image = one_of(images, choice.image, "camera", "--image")
        self._states = some_of(columns, choice.states, STATES)
        self.without_images = self._image is None
        self.action_dim = int(np.prod(features["action"]["shape"], dtype=int)) if "action" in features else 0
        self.state_names = tuple(
            name
            for key in self._states
            for name in column_names(key, features[key]["shape"][0], _names(features[key].get("names")))
        )
        self._data_path, self._video_path = str(info["data_path"]), str(info.get("video_path") or "")
        self._about = self._list()
        self.episodes = [Entry(str(row["episode_index"]), self._file(row), row["length"]) for row in self._about]
        self._table: tuple[Path, pa.Table] | None = None
        self._video: VideoFile | None = None

    def read(self, number: int, start: int, stop: int) -> Rows:
        entry, about = self.episodes[number], self._about[number]
        table = self._rows(entry.file, about["episode_index"])
        if len(table) != entry.rows:
            raise ValueError(f"it has {len(table)} rows, not the {entry.rows} that meta/episodes names")
        part, count = table.slice(start, stop - start), stop - start
        over = next((key for key in ("next.terminated", "next.done") if key in table.column_names), None)
        cut = "next.truncated"
        return Rows(
            frames=self._frames(about, part),
            action=_numbers(part, "action") if self.action_dim else np.zeros((count, 0), np.float32),
            reward=_numbers(part, "next.reward")[:, 0] if "next.reward" in table.column_names else np.zeros(count),
            state=beside({key: _numbers(part, key) for key in self._states}, count),
            terminated=over is not None and ends(_numbers(table, over)),
            truncated=cut in table.column_names and ends(_numbers(table, cut)),
        )

    def _list(self) -> list[dict[str, Any]]:
        """What ``meta/episodes`` says of each, by number."""
        found: list[dict[str, Any]] = []
        for file in sorted((self._path / "meta" / "episodes").glob("*/*.parquet")):
            with blaming(file):
                names = [name for name in pq.read_schema(file).names if not name.startswith("stats/")]
                found += pq.read_table(file, columns=names).to_pylist()
        return sorted(found, key=lambda row: row["episode_index"])

    def _file(self, about: dict[str, Any]) -> Path:
        place = {"chunk_index": about["data/chunk_index"], "file_index": about["data/file_index"]}
        return self._path / self._data_path.format(**place)

    def _rows(self, file: Path, episode: int) -> pa.Table:
        """An episode's rows; the file of the last one is kept, since neighbours lie together."""
        if self._table is None or self._table[0] != file:
            self._table = file, pq.read_table(file)
        table = self._table[1]
        return table.filter(pc.equal(table["episode_index"], episode))

    def _frames(self, about: dict[str, Any], part: pa.Table) -> Iterator[np.ndarray] | None:
        if self._image is None:
            return None
        if self._features[self._image]["dtype"] == "image":
            return (_decoded(cell) for cell in part[self._image].to_pylist())
        video = f"videos/{self._image}"
        place = {"chunk_index": about[f"{video}/chunk_index"], "file_index": about[f"{video}/file_index"]}
        file = self._path / self._video_path.format(video_key=self._image, **place)
        if self._video is None or self._video.path != file:
            with blaming(file, str(about["episode_index"])):
                self._video = VideoFile(file)
        times = about[f"{video}/from_timestamp"] + part["timestamp"].to_numpy().astype(np.float64)
        numbers = self._video.nearest(times)
        off = np.abs(self._video.times[numbers] - times)
        if off.max() > 0.5 / self.rate:
            seconds = float(times[off.argmax()])
            raise ValueError(f"{file} has no picture at {seconds:.3f} s: the nearest is {off.max():.3f} s off")
        return self._blamed(self._video, numbers, str(about["episode_index"]))

    def _blamed(self, video: VideoFile, numbers: np.ndarray, episode: str) -> Iterator[np.ndarray]:
        with blaming(video.path, episode):
            yield from video.frames(numbers)


def _numbers(table: pa.Table, key: str) -> np.ndarray:
    """A column as float32 (rows, width)."""
    column = table[key].combine_chunks()
    while pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
        column = column.flatten()
    return flat(column.to_numpy(zero_copy_only=False), len(table))


def _names(names: Any) -> list[str] | None:
    """Names of a vector's numbers: a list, or lists by kind."""
    if isinstance(names, dict):
        names = [name for group in names.values() if isinstance(group, list) for name in group]
    return [str(name) for name in names] if isinstance(names, list) else None


def _decoded(cell: dict[str, Any]) -> np.ndarray:
    """A PNG or JPEG of a table as uint8 (H, W, C)."""
    picture = cv2.imdecode(np.frombuffer(cell["bytes"] or b"", np.uint8), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise ValueError("a picture in its table cannot be decoded")
    if picture.ndim == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_BGRA2RGBA if picture.shape[2] == 4 else cv2.COLOR_BGR2RGB)
    return picture
