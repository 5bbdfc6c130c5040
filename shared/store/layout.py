"""The layout of a store, and the Zarr v3 documents that describe it.

::

    PATH/dataset.json                    the StoreSpec
    PATH/log/<stream>.jsonl              commit log, one writer each; the only source of truth for readers
    PATH/collect-<host>.log              what the collections of a box did, for people (``shared.cli.runlog``)
    PATH/collect-<run>.lock              who makes a run just now (``shared.store.claim``)
    PATH/data.zarr/zarr.json             root group
    PATH/data.zarr/<stream>/zarr.json    one group per writer start
    PATH/data.zarr/<stream>/<field>/     one array per field: zarr.json and c.<i>...
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from shared.store.schema import FIRST, LAST, SCHEMA_VERSION, TERMINATED, TRUNCATED, RunSpec, StoreSpec

DATASET = "dataset.json"
LOG = "log"
DATA = "data.zarr"
FORMAT = "tinyjepa-store"
COLLECT_FILE = re.compile(r"collect-.+\.(log(\.\d+)?|lock)")
"""Logs of collections in the store's folder, the older ones with a number, and the locks of those under way."""

ZSTD_LEVEL = 1


@dataclass(frozen=True)
class FieldLayout:
    """One array of a stream: ``dtype`` and the shape of one row."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    dimensions: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    sharded: bool = False

    def chunk_key(self, i: int) -> str:
        """File name of shard (or chunk) ``i``, e.g. ``c.17.0.0.0``."""
        return ".".join(["c", str(i)] + ["0"] * len(self.shape))


def fields(spec: StoreSpec) -> dict[str, FieldLayout]:
    """The arrays of every stream; ``action`` and ``state`` are absent when they have no columns."""
    columns = len(spec.state_names)
    bits = {"first": FIRST, "last": LAST, "terminated": TERMINATED, "truncated": TRUNCATED}
    layouts = [
        FieldLayout("frame", np.dtype("u1"), spec.frame_shape, ("row", "y", "x", "channel"), sharded=True),
        FieldLayout("action", np.dtype("<f4"), (spec.action_dim,), ("row", "action")),
        FieldLayout("reward", np.dtype("<f4"), (), ("row",)),
        FieldLayout("flags", np.dtype("u1"), (), ("row",), {"bits": bits}),
        FieldLayout("episode", np.dtype("<i8"), (), ("row",)),
        FieldLayout("state", np.dtype("<f4"), (columns,), ("row", "column"), {"columns": spec.state_names}),
    ]
    return {layout.name: layout for layout in layouts if 0 not in layout.shape}


def most_bytes(field: FieldLayout, spec: StoreSpec) -> int:
    """Maximum size of a shard's file of this field: incompressible rows, checksums, tables."""
    raw = spec.shard_rows * field.dtype.itemsize * math.prod(field.shape)
    chunks = spec.shard_rows // spec.inner_rows if field.sharded else 1
    return raw + raw // 64 + 1024 * chunks + 1024


def stream_directory(path: Path, stream: str) -> Path:
    return path / DATA / stream


def log_name(stream: str) -> str:
    return f"{stream}.jsonl"


def log_file(path: Path, stream: str) -> Path:
    return path / LOG / log_name(stream)


def collect_log(path: Path, host: str) -> Path:
    """Where the collections that ``host`` drives are told for people."""
    return path / f"collect-{host}.log"


def group_document(attributes: dict[str, Any]) -> bytes:
    """``zarr.json`` of a group."""
    return _dump({"zarr_format": 3, "node_type": "group", "attributes": attributes})


def root_document() -> bytes:
    """``zarr.json`` of the whole."""
    return group_document({"format": FORMAT, "schema_version": SCHEMA_VERSION})


def stream_document(spec: StoreSpec, stream: str, run: RunSpec | None) -> bytes:
    """``zarr.json`` of a stream, with the run that is needed to make a lost log anew."""
    worker = int(stream.rpartition("-")[0].rpartition("-w")[2])
    attributes = {"worker": worker, "world": spec.world, "control_rate_hz": spec.control_rate}
    if run is not None:
        attributes |= {"run": dataclasses.asdict(run), "run_crc32c": run.checksum}
    return group_document(attributes)


def run_of_document(data: bytes) -> RunSpec | None:
    """The run in a stream's ``zarr.json``; None where there is none, or its checksum differs."""
    try:
        attributes = json.loads(data)["attributes"]
        run = RunSpec(**attributes["run"])
        return run if attributes["run_crc32c"] == run.checksum else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def array_document(layout: FieldLayout, spec: StoreSpec, rows: int) -> bytes:
    """``zarr.json`` of a field with ``rows`` committed rows."""
    endian = {"configuration": {"endian": "little"}} if layout.dtype.itemsize > 1 else {}
    crc = {"name": "crc32c"}
    codecs: list[dict[str, Any]] = [
        {"name": "bytes", **endian},
        {"name": "zstd", "configuration": {"level": ZSTD_LEVEL, "checksum": False}},
        crc,
    ]
    if layout.sharded:
        sharding = {
            "chunk_shape": [spec.inner_rows, *layout.shape],
            "codecs": codecs,
            "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, crc],
            "index_location": "end",
        }
        codecs = [{"name": "sharding_indexed", "configuration": sharding}]
    chunk_shape = [spec.shard_rows, *layout.shape]
    return _dump(
        {
            "zarr_format": 3,
            "node_type": "array",
            "shape": [rows, *layout.shape],
            "data_type": layout.dtype.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk_shape}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
            "fill_value": 0.0 if layout.dtype.kind == "f" else 0,
            "codecs": codecs,
            "dimension_names": list(layout.dimensions),
            "attributes": layout.attributes,
        }
    )


def _dump(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=1).encode()
