"""The run folder: the outputs of an experiment, and what it needs to resume.

``recipe.toml`` (resolved), ``run.json`` (store, seed, versions), ``metrics.jsonl``, ``encoder.safetensors`` and
``predictor.safetensors`` (finished stages), ``*.checkpoint.safetensors`` (a stage under way), ``judge.json`` with
``judge-pictures.json``, ``report.html``, ``reward.safetensors`` (of ``brain probe``), ``plan.json`` and
``planning-*.safetensors`` (of ``brain plan``); with ``tensorboard`` or ``wandb``, their files in a folder of that name;
in mode state ``coordinates.json`` (what standardises the state).
``run.json`` of a pretrained run also has ``collect``, the command that makes its store, and ``plan``, those that fit
and measure its planner.
``train.log`` is for people (``shared.cli.runlog``). While a training writes into the folder, it holds ``train.lock``.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from brain import recipes
from brain.device import Precision
from brain.pretrained import CARD
from brain.recipes.schema import Recipe
from brain.runs.metrics import entries
from shared.errors import TinyJEPAError
from shared.links import refuse_links
from shared.store.claim import Lock
from shared.store.files import naming, remove, sync_directory
from shared.store.schema import StoreSpec

FACTS = ("store", "world", "frame_shape", "action_dim", "seed")
"""What every ``run.json`` says."""
LOCK = "train.lock"
BEGINNINGS = ("recipe.toml", "recipe.toml.partial", "run.json.partial", LOCK)
"""All that a start which was cut off before ``run.json`` can leave."""
_JUDGED = (
    "judge.json", "judge-pictures.json", "report.html", "dream.json", "dream.png", "forecast.mp4",
    "overview.html",  # of earlier versions
)  # fmt: skip
_PLANNED = ("plan.json", "plan.html", "plan.mp4", "plan-episodes-*.jsonl")
_SHOWN = ("reconstruction.png", *_JUDGED, *_PLANNED, "onnx/*.onnx", "onnx/model.json")
_STANDARDISED = (
    "decoder.checkpoint.safetensors", "decoder.safetensors", "reward.safetensors", "planning-*.safetensors",
)  # fmt: skip
_READ = ("probe.json", "probe.png", "latents.png")
MADE_WITH = {
    "encoder": ("predictor.checkpoint.safetensors", "predictor.safetensors", *_STANDARDISED, *_READ, *_SHOWN),
    "predictor": (*_STANDARDISED, *_SHOWN),
}
"""Files (or patterns) derived from a stage's weights: invalid once those are retrained.

Stage 2 fits the scale that standardises latents to the episodes that there are then, so that what reads standardised
latents goes with it; a predictor that goes on from stage 1 (``prediction.start`` joint) keeps them as they are.
"""
_CARD_SAYS = "A world model of TinyJEPA for "
"""What the card of a run says, and a file that somebody else wrote under its name does not."""


@dataclass(frozen=True)
class Compute:
    """Settings of the encoder's training that change the bits of the weights; recorded in ``run.json``."""

    precision: Precision = "float32"
    """Of the training step. Latents for the predictor, the judge and every tool are float32."""
    threads: int | None = 1
    """CPU threads; None: measured while training, so that the weights are not exactly repeatable."""
    ranks: int = 1
    """Processes that share each batch, of both training stages."""
    compiled: bool = False
    """Whether the training step went through ``torch.compile``."""
    memory: int = 4 << 30
    """Bytes of frames held, on which the batches of a larger store depend."""


class CurveLog(Protocol):
    """A receiver of training curves, such as TensorBoard or Weights & Biases."""

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Scalars by their tags, at a step of their stage."""

    def close(self) -> None:
        """Flush and close."""


class Run:
    """A run folder. Raises ``TinyJEPAError`` where it belongs to another recipe, seed or world."""

    def __init__(self, path: Path) -> None:
        refuse_links(path)
        self.path = path
        self.logs: list[CurveLog] = []
        """Other receivers of the curves; ``close`` closes them."""

    @property
    def encoder(self) -> Path:
        return self.path / "encoder.safetensors"

    @property
    def predictor(self) -> Path:
        return self.path / "predictor.safetensors"

    @property
    def decoder(self) -> Path:
        return self.path / "decoder.safetensors"

    @property
    def reward(self) -> Path:
        return self.path / "reward.safetensors"

    @property
    def coordinates(self) -> Path:
        return self.path / "coordinates.json"

    @property
    def judgement(self) -> Path:
        return self.path / "judge.json"

    @property
    def pictures(self) -> Path:
        return self.path / "judge-pictures.json"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def checkpoint(self, stage: str) -> Path:
        return self.path / f"{stage}.checkpoint.safetensors"

    def begin(
        self,
        recipe: Recipe,
        spec: StoreSpec,
        store: str,
        seed: int,
        compute: Compute | None = None,
        flags: Sequence[str] = (),
        device: str = "",
    ) -> None:
        """Create the folder, or check that an earlier run in it was this one.

        ``flags`` are those of the first ``brain train`` that nothing else in ``run.json`` says, and ``device`` what it
        runs on, as text.
        """
        facts = {
            "store": store,
            "world": spec.world,
            "frame_shape": list(spec.frame_shape),
            "action_dim": spec.action_dim,
            "seed": seed,
            "compute": asdict(compute or Compute()),
            "flags": list(flags),
            "device": device,
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "numpy": np.__version__,
            },
        }
        self._make()
        if not (self.path / "run.json").exists():
            write_whole(self.path / "recipe.toml", recipes.dump(recipe))
            write_whole(self.path / "run.json", json.dumps(facts, indent=2) + "\n")
            return
        earlier, before = recipes.labelled_as(self.recipe(), recipe), self.facts()
        if earlier != recipe:
            names = f"'{earlier.name}'" + (" with other values" if earlier.name == recipe.name else "")
            changed = _first_difference(earlier, recipe)
            raise TinyJEPAError(
                f"{self.path} belongs to recipe {names} ({changed}): give another --run, or the same recipe and --set"
            )
        check_fit(before, spec, store, f"{self.path} is of another world, give another --run")
        if before["seed"] != seed:
            raise TinyJEPAError(f"{self.path} was trained with seed {before['seed']}, not {seed}: give another --run")

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other trainings out of the folder, which is made; one that cannot be written to stays as it is.

        The operating system lets go of it when this process ends, however it ends. Raises ``TinyJEPAError`` while
        another process trains the run, and where the folder is none of a run.
        """
        self._make()
        if not os.access(self.path, os.W_OK):
            yield
            return
        cure = "wait for it, or give another --run"
        with Lock(self.path / LOCK, lambda who: f"another process trains {self.path}{who}: {cure}"):
            yield

    def moved(self, store: str) -> None:
        """Remember where the run's store is now; ``run.json`` keeps where it was."""
        facts = self.facts()
        before = facts.get("earlier_stores")
        facts["earlier_stores"] = [*(before if isinstance(before, list) else []), facts["store"]]
        facts["store"] = store
        write_whole(self.path / "run.json", json.dumps(facts, indent=2) + "\n")

    def recipe(self) -> Recipe:
        """The resolved recipe that the run was made with."""
        recipe = recipes.load(str(self._existing("recipe.toml")))
        return recipe if recipe.world else recipe.model_copy(update={"world": self.facts()["world"]})

    def facts(self) -> dict[str, Any]:
        """``run.json``: store, world, frame shape, seed, versions."""
        path = self._existing("run.json")
        try:
            facts: Any = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(facts, dict) or not {*FACTS} <= facts.keys():
                raise ValueError(f"it lacks one of {', '.join(FACTS)}")
            return facts
        except (ValueError, RecursionError) as error:
            raise TinyJEPAError(f"{path} is damaged ({error}): give another --run") from None

    def compute(self) -> Compute:
        """How the run's encoder is trained. Runs from before it was recorded count as ``Compute()``."""
        kept = self.facts().get("compute", {})
        try:
            return Compute(**kept)
        except TypeError as error:
            raise TinyJEPAError(f"{self.path / 'run.json'} is damaged ({error}): give another --run") from None

    def record_compute(self, compute: Compute) -> None:
        """Change what ``run.json`` says of it."""
        write_whole(self.path / "run.json", json.dumps(self.facts() | {"compute": asdict(compute)}, indent=2) + "\n")

    def log(self, stage: str, step: int, **terms: float) -> None:
        """Append one line to ``metrics.jsonl``, and scalars tagged ``stage/term`` to every one of ``logs``."""
        line = {"stage": stage, "step": step, "time": round(time.time(), 3)}
        line |= {name: float(f"{value:.6g}") for name, value in terms.items()}
        metrics = self.path / "metrics.jsonl"
        with naming(metrics), metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        for log in self.logs:
            log.write(step, {f"{stage}/{name}": float(value) for name, value in terms.items()})

    def forget(self, stage: str) -> list[str]:
        """Remove what was made with an earlier model of ``stage``; returns the files that were there."""
        same_scale = stage == "predictor" and self.recipe().prediction.start == "joint"
        names = [name for name in MADE_WITH[stage] if not (same_scale and name in _STANDARDISED)]
        there = [path for name in names for path in sorted(self.path.glob(name))]
        card = self.path / CARD
        if card.is_file() and _CARD_SAYS in card.read_text(encoding="utf-8", errors="replace"):
            there.append(card)
        for path in there:
            path.unlink()
        return [str(path.relative_to(self.path)) for path in there]

    def close(self) -> None:
        """End the ``logs``; the folder stays as it is."""
        for log in self.logs:
            log.close()

    def rewind_log(self, stage: str, step: int) -> None:
        """Drop a stage's lines at or after ``step``: they are trained again from the checkpoint."""
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return
        text = path.read_text(encoding="utf-8", errors="replace")
        kept = [line + "\n" for line, entry in entries(text) if entry["stage"] != stage or entry["step"] < step]
        write_whole(path, "".join(kept))

    def _make(self) -> None:
        """Create the folder. Raises ``TinyJEPAError`` for a file, and for a folder of other files that holds no run."""
        if self.path.exists() and not self.path.is_dir():
            raise TinyJEPAError(f"{self.path} is a file: give --run a folder")
        if (self.path / "run.json").exists():
            return
        if self.path.exists() and any(entry.name not in BEGINNINGS for entry in self.path.iterdir()):
            raise TinyJEPAError(f"{self.path} holds other files and no run: give --run a new or empty folder")
        self.path.mkdir(parents=True, exist_ok=True)
        sync_directory(self.path.parent)

    def _existing(self, name: str) -> Path:
        path = self.path / name
        if not path.is_file():
            raise TinyJEPAError(f"{self.path} is no run folder ({name} is missing): make one with brain train --run")
        return path


def check_fit(trained: Mapping[str, Any], spec: StoreSpec, place: str, cure: str) -> None:
    """Whether a store is of the world that a run was trained on: the one check of that.

    ``trained`` is ``run.json`` or the spec of a model, ``place`` where the store is. Raises ``TinyJEPAError``, which
    names the difference and ends in ``cure``.
    """
    found = spec.model_dump(mode="json")
    for key in ("world", "frame_shape", "action_dim"):
        expected = list(trained[key]) if key == "frame_shape" else trained[key]
        if found[key] != expected:
            raise TinyJEPAError(f"{place} has {key} {found[key]}, but the model was trained with {expected}: {cure}")


def write_whole(path: Path, text: str, *, sync: bool = True) -> None:
    """Write a text file whole or not at all; with ``sync`` it is on the disk when this returns."""
    temporary = path.with_name(path.name + ".partial")
    try:
        with naming(path), temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            if sync:
                file.flush()
                os.fsync(file.fileno())
    except OSError:
        remove(temporary)
        raise
    temporary.replace(path)
    if sync:
        sync_directory(path.parent)


def _first_difference(a: Recipe, b: Recipe) -> str:
    key, old, new = next(recipes.differences(a, b))
    return f"{key} is {old}, not {new}"
