"""LeRobot v3 (github.com/huggingface/lerobot): Parquet tables, frames as PNG in them, documents under ``meta``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shared.store.reader import Store
from shared.store.schema import EpisodeRef

VERSION = "v3.0"
IMAGE = "observation.image"
PATH = "{folder}/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
FILE_MB, CHUNK_FILES = 100, 1000
"""Size from which a table goes on in the next file, and files of a folder: LeRobot's own."""
INDICES = ("frame_index", "episode_index", "index", "task_index")


def export(store: Store, path: Path, progress: Callable[[int], None]) -> None:
    """A data set that ``LeRobotDataset(NAME, root=path)`` loads; frames are lossless.

    A store's row is a frame: ``observation.image``, ``observation.state`` and ``action`` where there are any,
    ``next.reward``, and on an episode's last row ``next.done``, ``next.terminated`` and ``next.truncated``. That row's
    action is zero. A frame of two channels gets a third of zeros. The task of an episode is its policy; its factors of
    variation, as JSON, are the column ``factors`` of the table of episodes.
    """
    tasks = sorted({ref.policy for ref in store.episodes})
    features = _features(store)
    schema = pa.schema([(name, _type(feature)) for name, feature in features.items()])
    tables, summary = _Tables(path, schema), _Summary()
    episodes, first = [], 0
    for done, ref in enumerate(store.episodes, 1):
        columns = _columns(store, ref, done - 1, first, tasks.index(ref.policy))
        summary.add(columns)
        place = tables.add(pa.table(_coded(columns, features), schema=schema))
        episodes.append(
            {
                "episode_index": done - 1, "tasks": [ref.policy], "length": ref.rows, "dataset_from_index": first,
                "dataset_to_index": first + ref.rows, "data/chunk_index": place[0], "data/file_index": place[1],
                "meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0, "factors": json.dumps(ref.factors),
            }
        )  # fmt: skip
        first += ref.rows
        progress(done)
    tables.close()
    meta = path / "meta"
    about = path / PATH.format(folder="meta/episodes", chunk_index=0, file_index=0)
    about.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(episodes), about)
    pq.write_table(_task_table(tasks), meta / "tasks.parquet")
    rate = store.spec.control_rate
    info = {
        "codebase_version": VERSION, "robot_type": store.spec.world, "total_episodes": len(episodes),
        "total_frames": first, "total_tasks": len(tasks), "chunks_size": CHUNK_FILES,
        "data_files_size_in_mb": FILE_MB, "video_files_size_in_mb": FILE_MB,
        "fps": int(rate) if rate == int(rate) else rate, "splits": {"train": f"0:{len(episodes)}"},
        "data_path": PATH.replace("{folder}", "data"), "video_path": None, "features": features,
    }  # fmt: skip
    (meta / "info.json").write_text(json.dumps(info, indent=4))
    (meta / "stats.json").write_text(json.dumps(summary.document(), indent=4))


class _Tables:
    """The rows of all episodes, in files of limited size."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self._schema = path, schema
        self._files = 0
        self._writer: pq.ParquetWriter | None = None
        self._bytes = 0

    def add(self, table: pa.Table) -> tuple[int, int]:
        """Write an episode; returns the numbers of its chunk and file."""
        if self._writer is not None and self._bytes + table.nbytes > FILE_MB << 20:
            self.close()
        place = divmod(self._files, CHUNK_FILES)
        if self._writer is None:
            file = self._path / PATH.format(folder="data", chunk_index=place[0], file_index=place[1])
            file.parent.mkdir(parents=True, exist_ok=True)
            self._writer, self._bytes = pq.ParquetWriter(file, self._schema), 0
        self._writer.write_table(table)
        self._bytes += table.nbytes
        return place

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self._files += 1


class _Summary:
    """Least, greatest, mean and deviation of every feature: what LeRobot normalises with."""

    def __init__(self) -> None:
        self._sums: dict[str, list[np.ndarray]] = {}
        self._count: dict[str, int] = {}

    def add(self, columns: dict[str, np.ndarray]) -> None:
        """Columns of an episode, (rows, ...); pictures count per channel, scaled to [0, 1]."""
        for name, values in columns.items():
            flat = values.astype(np.float64)
            flat = flat.reshape(-1, values.shape[-1]) / 255 if name == IMAGE else flat.reshape(len(values), -1)
            new = [flat.min(0), flat.max(0), flat.sum(0), (flat**2).sum(0)]
            old = self._sums.get(name)
            if old is not None:
                new = [np.minimum(old[0], new[0]), np.maximum(old[1], new[1]), old[2] + new[2], old[3] + new[3]]
            self._sums[name] = new
            self._count[name] = self._count.get(name, 0) + len(flat)

    def document(self) -> dict[str, Any]:
        """``stats.json``"""
        stats: dict[str, Any] = {}
        for name, (low, high, total, squares) in self._sums.items():
            count = self._count[name]
            mean = total / count
            found = {"min": low, "max": high, "mean": mean, "std": np.sqrt(np.maximum(squares / count - mean**2, 0))}
            shape = (-1, 1, 1) if name == IMAGE else (-1,)
            stats[name] = {key: value.reshape(shape).tolist() for key, value in found.items()} | {"count": [count]}
        return stats


def _features(store: Store) -> dict[str, Any]:
    spec = store.spec
    height, width, channels = spec.frame_shape
    shown = [height, width, 3 if channels == 2 else channels]
    features: dict[str, Any] = {
        IMAGE: {"dtype": "image", "shape": shown, "names": ["height", "width", "channel"]},
    }
    if spec.state_names:
        features["observation.state"] = _feature("float32", len(spec.state_names), list(spec.state_names))
    if spec.action_dim:
        features["action"] = _feature("float32", spec.action_dim, [f"action.{i}" for i in range(spec.action_dim)])
    features["next.reward"] = _feature("float32")
    features |= {f"next.{name}": _feature("bool") for name in ("done", "terminated", "truncated")}
    return features | {"timestamp": _feature("float32")} | {name: _feature("int64") for name in INDICES}


def _feature(dtype: str, width: int = 1, names: list[str] | None = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [width], "names": names}


def _type(feature: dict[str, Any]) -> pa.DataType:
    """Of a column in the tables: a vector of one is a number."""
    if feature["dtype"] == "image":
        return pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    single = {"float32": pa.float32(), "bool": pa.bool_(), "int64": pa.int64()}[feature["dtype"]]
    return single if feature["shape"] == [1] else pa.list_(single, feature["shape"][0])


def _columns(store: Store, ref: EpisodeRef, number: int, first: int, task: int) -> dict[str, np.ndarray]:
    """The rows of an episode by feature."""
    read = store.read_episode(ref, "frame", "action", "reward", "state")
    frames, rows = read["frame"], np.arange(ref.rows)
    if frames.shape[3] == 2:
        frames = np.concatenate([frames, np.zeros_like(frames[..., :1])], axis=3)
    last = rows == ref.rows - 1
    columns = {IMAGE: frames, "observation.state": read["state"], "action": read["action"]}
    columns = {name: values for name, values in columns.items() if values.shape[1]}
    columns |= {"next.reward": read["reward"], "next.done": last}
    columns |= {"next.terminated": last & ref.terminated, "next.truncated": last & ref.truncated}
    columns["timestamp"] = (rows / store.spec.control_rate).astype(np.float32)
    indices = (rows, np.full_like(rows, number), first + rows, np.full_like(rows, task))
    return columns | dict(zip(INDICES, indices))


def _coded(columns: dict[str, np.ndarray], features: dict[str, Any]) -> list[pa.Array]:
    """The columns as Arrow arrays, frames as PNG."""
    arrays = []
    for name, feature in features.items():
        values, kind = columns[name], _type(feature)
        if name == IMAGE:
            cells = [{"bytes": _png(frame), "path": f"frame-{row:06d}.png"} for row, frame in enumerate(values)]
            arrays.append(pa.array(cells, kind))
        elif pa.types.is_fixed_size_list(kind):
            arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), type=kind))
        else:
            arrays.append(pa.array(values.reshape(-1), kind))
    return arrays


def _png(frame: np.ndarray) -> bytes:
    """uint8 (H, W, 1) or (H, W, 3)"""
    ordered = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR) if frame.shape[2] == 3 else frame
    return cv2.imencode(".png", ordered)[1].tobytes()


def _task_table(tasks: list[str]) -> pa.Table:
    """Tasks by name: the names are the index of the data frame that LeRobot loads."""
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "__index_level_0__": tasks})
    column = {"field_name": "task_index", "name": "task_index", "pandas_type": "int64", "numpy_type": "int64"}
    index = {"field_name": "__index_level_0__", "name": None, "pandas_type": "unicode", "numpy_type": "object"}
    frame = {"index_columns": ["__index_level_0__"], "column_indexes": [], "columns": [column, index]}
    return table.replace_schema_metadata({"pandas": json.dumps(frame | {"pandas_version": "2.0.0"})})
