"""A folder for any static file server: the runs' graphs, their worlds in JavaScript, and the page to watch them."""

from __future__ import annotations

import base64
import inspect
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from brain.data.windows import Timing
from brain.export.graphs import write_graphs
from brain.export.runtime import take_runtime
from brain.models.world_model import WorldModel
from brain.runs.folder import write_whole
from brain.runs.judgement import Judgement
from shared.errors import TinyJEPAError
from shared.worlds import make_world, world_class

ASSETS = Path(__file__).parent / "web"
INDEX = "index.json"
WORLDS = {"bouncing-logo": (16, 16, 1), "two-room": (65, 65, 2)}
"""The worlds that ``brain/export/web/worlds`` simulates, and the shape of their frames."""
CHECKED_SEEDS = 4


@dataclass(frozen=True)
class Exhibit:
    """One run on the page."""

    run: Path
    model: WorldModel
    decoder: nn.Module | None
    judgement: Judgement | None
    """the run's ``judge.json``; the page needs it"""


def write_page(folder: Path, exhibits: Sequence[Exhibit], runtime: Path | None) -> list[dict[str, Any]]:
    """Write the page of one run per world, whole or not at all; returns each ``model.json``.

    ``runtime`` is a local copy of onnxruntime-web, see ``take_runtime``. Raises ``TinyJEPAError`` for a run of a world
    that the page cannot simulate, one that was not judged, two of one world, and a folder that holds anything but an
    earlier page.
    """
    for exhibit in exhibits:
        _check(exhibit)
    worlds = [exhibit.model.spec.world for exhibit in exhibits]
    if len(set(worlds)) < len(worlds):
        raise TinyJEPAError(f"two runs of {max(worlds, key=worlds.count)}: the page shows one of each world")
    ours = {path.name for path in ASSETS.iterdir()} | {"ort", "models"}
    held = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if (folder.exists() and not folder.is_dir()) or (held and not (folder / "models" / INDEX).is_file()):
        raise TinyJEPAError(f"{folder} holds other files and no exported page: give --web a new or empty folder")
    if others := sorted(held - ours):
        raise TinyJEPAError(
            f"{folder} holds {others[0]}, which is no part of a page and would be deleted with the earlier one: give "
            "--web a new folder, and copy the page"
        )
    folder = folder.resolve()
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        shutil.copytree(ASSETS, partial)
        take_runtime(partial / "ort", runtime)
        described = []
        for exhibit in exhibits:
            place = partial / "models" / exhibit.model.spec.world
            described.append(write_graphs(place, exhibit.model, exhibit.decoder, exhibit.judgement))
            write_whole(place / "check.json", json.dumps(samples(exhibit.model)) + "\n")
        write_whole(partial / "models" / INDEX, json.dumps({"worlds": worlds}) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return described


def samples(model: WorldModel) -> dict[str, Any]:
    """Observations of the Python world and torch's latents of them, with which the page checks itself.

    ``frames``: base64 of uint8 (N, stack, H, W, C); ``z``: N standardised latents, each a list of its numbers.
    """
    timing, spec = Timing.of(model.recipe.observation), model.spec
    world = make_world(spec.world, spec.frame_shape[0], **spec.world_options)
    world.action_space.seed(0)
    observations = []
    for seed in range(CHECKED_SEEDS):
        frames = [world.reset(seed=seed)[0]]
        for _ in range(timing.history):
            frames.append(world.step(world.action_space.sample())[0])
        observations.append(np.stack(frames)[timing.window(np.array([timing.history]))[0]])
    stacked = np.stack(observations)
    z = model.encode(torch.from_numpy(stacked))[:, 0]
    return {
        "frames": base64.b64encode(stacked.tobytes()).decode(),
        "z": [[round(v, 7) for v in row] for row in z.flatten(1).tolist()],
    }


def _as_it_comes(world: str, options: Mapping[str, Any]) -> bool:
    """Whether all options have the values that they have without being given."""
    defaults = inspect.signature(world_class(world)).parameters
    return all(value == defaults[key].default or not (value or defaults[key].default) for key, value in options.items())


def _check(exhibit: Exhibit) -> None:
    spec = exhibit.model.spec
    if WORLDS.get(spec.world) != spec.frame_shape or not _as_it_comes(spec.world, spec.world_options):
        shape = "x".join(map(str, spec.frame_shape))
        raise TinyJEPAError(
            f"{exhibit.run} is of the world {spec.world} ({shape}, options {spec.world_options}), which the page "
            f"cannot simulate: it knows {' and '.join(WORLDS)} as they come; --onnx exports the graphs of any run"
        )
    if exhibit.model.space.registers or exhibit.model.dynamics.worst:
        raise TinyJEPAError(
            f"{exhibit.run} has an energy of its worst cells, or of cells and a vector, and the page knows the mean of "
            "all numbers: export another run; --onnx exports the graphs of any run"
        )
    if exhibit.judgement is None:
        raise TinyJEPAError(f"{exhibit.run} has no judge.json, so no threshold: make it with brain judge --run")
