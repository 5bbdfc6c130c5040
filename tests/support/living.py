"""A run of the bouncing logo for the live page's tests: trained for seconds, calibrated on what it sees live."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from brain import pretrained
from brain.cli import cli as brain
from brain.live.access import Access
from brain.live.loaded import Loaded, load
from brain.live.pilot import Acting
from brain.live.scene import Scene
from brain.live.server import Server
from factory.cli import cli as factory
from shared.cli.console import run
from shared.store.reader import Store
from tests.support.chromium import Chromium, chromium

Visit = Callable[[Server, Chromium], Awaitable[None]]

STEPS = ("--steps", "400", "--set", "objective.rollout=3", "--set", "prediction.rollout=3", "--quiet")


def make_run(folder: Path) -> Path:
    """``folder/store`` and ``folder/logo``: encoder, predictor, decoder and a ``judge.json`` with a threshold."""
    store, path = folder / "store", folder / "logo"
    collect = ["collect", "--world", "bouncing-logo", "--episodes", "60", "--local", "--quiet", "--store", str(store)]
    assert run(factory, "factory", collect) == 0
    for stage in ("encoder", "predictor"):
        train = ["train", "--recipe", "bouncing-logo", "--store", str(store), "--run", str(path), "--stage", stage]
        assert run(brain, "brain", [*train, *STEPS]) == 0
    dream = ["dream", "--run", str(path), "--decoder-steps", "40", "--steps", "8", "--episodes", "2", "--shown", "1"]
    assert run(brain, "brain", [*dream, "--quiet"]) == 0
    scene = Scene(opened(path, store), seed=7)
    energies = [moment.energy for moment in (scene.advance() for _ in range(300)) if moment.energy is not None]
    threshold = 1.5 * float(np.quantile(energies, 0.99))  # no false alarm shall fail a test
    spec = Store(store).spec.model_dump(mode="json")
    energy = {"form": "scaled", "kinds": {}, "validation": {"scaled": {"thresholds": {"1": threshold}}}}
    (path / "judge.json").write_text(json.dumps({"store": {"path": str(store)} | spec, "energy": energy}))
    return path


def make_car_run(folder: Path) -> Path:
    """``folder/store`` and ``folder/car``: hardly trained, with a threshold; no test asks what it notices."""
    store, path = folder / "store", folder / "car"
    collect = [
        "collect",
        "--world",
        "car-racing",
        "--episodes",
        "20",
        "--max-episode-steps",
        "60",
        "--local",
        "--quiet",
    ]
    assert run(factory, "factory", [*collect, "--store", str(store)]) == 0
    small = ["encoder.dim=8", "encoder.width=4", "prediction.batch=32", "objective.batch=16"]
    options = [part for setting in small for part in ("--set", setting)]
    for stage in ("encoder", "predictor"):
        train = ["train", "--recipe", "car-racing", "--store", str(store), "--run", str(path), "--stage", stage]
        assert run(brain, "brain", [*train, "--steps", "3", "--quiet", *options]) == 0
    spec = Store(store).spec.model_dump(mode="json")
    energy = {"form": "scaled", "kinds": {}, "validation": {"scaled": {"thresholds": {"1": 1.0}}}}
    (path / "judge.json").write_text(json.dumps({"store": {"path": str(store)} | spec, "energy": energy}))
    return path


def opened(path: Path, store: Path | None, replay: bool = False) -> Loaded:
    return load(path, Store(store) if store else None, torch.device("cpu"), replay=replay)


TWO_ROOM = pretrained.folder("two-room")
"""A run that comes with the package."""
EXACT = Acting(
    "cem", ("samples=48", "iterations=3", "elites=8", "horizon=12", "block=2", "receding=2"), dynamics="true"
)
"""A planner on the true state, which reaches every goal."""
ENDLESS = replace(EXACT, options=("samples=400", "iterations=5000", "elites=8"))
"""One whose decisions take minutes."""


def rooms(acting: Acting) -> Loaded:
    """The two rooms, with a planner that may act."""
    return load(TWO_ROOM, None, torch.device("cpu"), acting=acting)


def browse(runs: dict[str, Loaded], visit: Visit, token: str | None = None) -> None:
    """Serve the runs by their keys, and visit the page with a browser."""

    async def main() -> None:
        server = Server(runs, Access.make("127.0.0.1", token))
        await server.start(0)
        try:
            async with chromium() as browser:
                await visit(server, browser)
        finally:
            await server.stop()

    asyncio.run(main())
