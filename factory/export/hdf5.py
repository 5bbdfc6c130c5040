"""HDF5: the fields of all episodes end to end, and a table that says where each episode lies."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from shared.store import layout
from shared.store.reader import Store

CHUNK_ROWS = 64


def export(store: Store, path: Path, progress: Callable[[int], None]) -> None:
    """Datasets ``frame``, ``action``, ``reward``, ``flags``, ``state`` (rows, ...), gzip level 1; group ``episodes``.

    ``episodes`` has one entry per episode in ``first``, ``rows``, ``index``, ``seed``, ``policy``, ``terminated``,
    ``truncated``, ``run_seed`` and ``factors`` (values of factors of variation by name, as JSON). Attributes: world,
    its options, control rate, names of the state columns.
    """
    fields = {name: field for name, field in layout.fields(store.spec).items() if name != "episode"}
    with h5py.File(path, "w") as file:
        file.attrs["world"] = store.spec.world
        file.attrs["world_options"] = str(store.spec.world_options)
        file.attrs["control_rate_hz"] = store.spec.control_rate
        file.attrs["state_names"] = list(store.spec.state_names)
        arrays = {
            name: file.create_dataset(
                name, (store.rows, *field.shape), field.dtype, chunks=(min(CHUNK_ROWS, store.rows), *field.shape),
                compression="gzip", compression_opts=1,
            )
            for name, field in fields.items()
        }  # fmt: skip
        first = 0
        for done, ref in enumerate(store.episodes, 1):
            for name, values in store.read_episode(ref, *fields).items():
                arrays[name][first : first + ref.rows] = values
            first += ref.rows
            progress(done)
        rows = np.array([ref.rows for ref in store.episodes])
        table = file.create_group("episodes")
        table["first"] = np.cumsum(rows) - rows
        table["rows"] = rows
        table["index"] = [ref.index for ref in store.episodes]
        table["seed"] = [ref.seed for ref in store.episodes]
        table["run_seed"] = [ref.run.seed for ref in store.episodes]
        table["policy"] = [ref.policy for ref in store.episodes]
        table["terminated"] = [ref.terminated for ref in store.episodes]
        table["truncated"] = [ref.truncated for ref in store.episodes]
        table["factors"] = [json.dumps(ref.factors) for ref in store.episodes]
