"""Stores in the formats of others. A new format is one file here and one line below.

An exporter is ``export(store, path, progress)``: it writes all episodes of a ``Store`` to ``path``, which does not
exist yet, bit for bit, and calls ``progress(episodes_done)`` now and then.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from shared.errors import TinyJEPAError
from shared.registry import Registry
from shared.store.files import unfinished
from shared.store.reader import Store
from shared.worlds.finding import check_trusted

FORMATS = Registry("format")
FORMATS.register("hdf5", "factory.export.hdf5:export", "one HDF5 file, one array per field, a table of episodes")
FORMATS.register("npz", "factory.export.npz:export", "a folder with one compressed .npz per episode")
FORMATS.register("minari", "factory.export.minari:export", "a Minari data set (offline reinforcement learning)")
FORMATS.register("lerobot", "factory.export.lerobot:export", "a LeRobot v3 data set (robot learning)")


def export_store(
    path: Path,
    form: str,
    out: Path,
    progress: Callable[[int], None] = lambda done: None,
    *,
    trust_world: bool = False,
) -> int:
    """Export the store at ``path``; returns the number of episodes.

    ``out`` appears when it is complete: what an interrupted export leaves is called ``.<out>.partial``, and the next
    one replaces it. Minari needs the world itself: where the store names a module to import it from, only with
    ``trust_world``. Raises ``TinyJEPAError`` for an unknown format, a package that is missing, or an ``out`` that
    exists, ``StoreError`` for a store that is missing, empty or damaged.
    """
    try:
        export = FORMATS.get(form)
    except ModuleNotFoundError as error:
        raise TinyJEPAError(f"format {form} needs {error.name}: pip install 'tinyjepa[export]'") from None
    store = Store(path)
    if not store.episodes:
        raise TinyJEPAError(f"the store {path} is empty: collect episodes first")
    if form == "minari":
        check_trusted(store.spec.world, trust_world)
    if out.exists():
        raise TinyJEPAError(f"{out} exists: remove it, or choose another --out")
    partial = unfinished(out, path)
    if partial.is_dir():
        shutil.rmtree(partial)
    partial.unlink(missing_ok=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    export(store, partial, progress)
    partial.rename(out)
    return len(store.episodes)
