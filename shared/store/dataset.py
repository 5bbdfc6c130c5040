"""``dataset.json``: creating and recognising stores.

The file is the ``StoreSpec`` as JSON, plus ``checksum``: the crc32c of the rest, written as JSON with sorted
keys and without spaces. Every log names that checksum, so that no other description can take its place.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from shared.errors import MissingStoreError, StoreError, TinyJEPAError
from shared.links import refuse_links
from shared.store import layout
from shared.store.codec import crc32c
from shared.store.files import publish, sync_directory
from shared.store.schema import IDENTITY, SCHEMA_VERSION, RunSpec, StoreSpec
from shared.store.source import Local, Source, locate


class Description(NamedTuple):
    """What ``dataset.json`` says."""

    spec: StoreSpec
    checksum: int
    run: RunSpec | None
    """The run of streams whose log names none; only schema 1 has it."""


def create_store(path: Path, spec: StoreSpec) -> StoreSpec:
    """Create the store at ``path``, or check that the one there agrees; returns the spec to write with.

    Safe when several processes create at once: one wins, the others are compared with it. An existing store
    keeps its ``inner_rows`` and ``shard_rows``. Raises ``StoreError`` when ``path`` holds a store of other
    content (the line names the field and both values) or other files, ``OSError`` with its file name
    when the directory cannot be made or written.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise StoreError(f"{path} is a file: choose a directory with --store")
    refuse_links(path)
    refuse_occupied(path)
    if not (path / layout.DATASET).exists():
        (path / layout.DATA).mkdir(parents=True, exist_ok=True)
        root = path / layout.DATA / "zarr.json"
        publish(root, layout.root_document())
        if _attributes(root).get("format") != layout.FORMAT:
            raise StoreError(f"{path / layout.DATA} is another program's: choose another --store")
        (path / layout.LOG).mkdir(exist_ok=True)
        sync_directory(path)
        document = spec.document()
        document["checksum"] = _checksum(document)
        publish(path / layout.DATASET, json.dumps(document, indent=1).encode() + b"\n")
    found = load_spec(Local(path)).spec
    agree(path, found, spec)
    return found


def refuse_occupied(path: Path) -> None:
    """Raise ``StoreError`` if ``path`` holds anything but a store.

    Its own beginnings (another process may just be making it), a mount's ``lost+found`` and hidden files do not count.
    """
    if not path.is_dir() or (path / layout.DATASET).exists():
        return
    ours = (layout.DATA, layout.LOG, "lost+found")
    others = sorted(
        entry.name
        for entry in path.iterdir()
        if not (entry.name in ours or entry.name.startswith((".", layout.DATASET)))
        and not layout.COLLECT_FILE.fullmatch(entry.name)
    )
    if others:
        shown = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        raise StoreError(f"{path} is no store and holds other files ({shown}): name a folder of its own")


def agree(path: Path, found: StoreSpec, asked: StoreSpec) -> None:
    """Raise ``StoreError`` if the store at ``path`` has other content than requested."""
    ours, theirs = asked.model_dump(mode="json"), found.model_dump(mode="json")
    for name in IDENTITY:
        if ours[name] != theirs[name]:
            raise StoreError(
                f"the store {path} has {name} {_show(theirs[name])}, but {_show(ours[name])} was asked for: "
                f"use another --store, or the same arguments"
            )


def is_gone(place: Path | str) -> bool:
    """Whether there is no store at a path or URL; not where something is there, or it cannot be asked."""
    try:
        load_spec(locate(place))
    except MissingStoreError:
        return True
    except (TinyJEPAError, OSError):
        return False
    return False


def load_spec(source: Source) -> Description:
    """The description of the store at ``source``, of this schema or an older one.

    Raises ``StoreError`` when it is missing, foreign, newer or damaged.
    """
    file, path = source.name(layout.DATASET), source.name()
    try:
        text = source.read(layout.DATASET).decode()
    except (FileNotFoundError, NotADirectoryError):
        if not source.exists():
            raise MissingStoreError(f"there is no store at {path}: collect one first, or name another") from None
        raise MissingStoreError(f"{path} is not a store, it has no {layout.DATASET}: name another") from None
    except UnicodeDecodeError as error:
        raise StoreError(f"{file} is damaged ({error.reason}): restore it from a copy") from error
    except OSError as error:
        raise StoreError(f"{file}: {error.strerror}: check the path and its rights") from error
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        why = str(error) if text.strip() else "it is empty"
        raise StoreError(f"{file} is damaged ({why}): restore it from a copy") from error
    version = document.get("schema_version") if isinstance(document, dict) else None
    if not isinstance(version, int):
        raise StoreError(f"{file} was written by another program: {path} is not a store")
    if version > SCHEMA_VERSION:
        raise StoreError(f"{file} has schema {version}, this program reads up to {SCHEMA_VERSION}: update it")
    checksum = document.pop("checksum", None)
    try:
        right = checksum == _checksum(document)
    except RecursionError:
        right = False
    if not right or not isinstance(checksum, int):
        raise StoreError(f"{file} is damaged (its checksum does not match): restore it from a copy")
    try:
        run = None
        if version == 1:
            run = RunSpec(**{key: document.pop(key) for key in ("seed", "policy", "max_episode_steps")})
        return Description(StoreSpec.model_validate(document), checksum, run)
    except (KeyError, TypeError) as error:
        raise StoreError(f"{file} is damaged (it names no run): restore it from a copy") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "spec"
        raise StoreError(f"{file} is damaged ({where}: {first['msg']}): restore it from a copy") from error


def _checksum(document: dict[str, Any]) -> int:
    return crc32c(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())


def _attributes(file: Path) -> dict[str, Any]:
    try:
        attributes = json.loads(file.read_bytes()).get("attributes")
    except (ValueError, AttributeError):
        return {}
    return attributes if isinstance(attributes, dict) else {}


def _show(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 120 else text[:117] + "..."
