"""Sweeps of a recipe over values and seeds: one ``brain train`` process per run, as many at once as cores or GPUs."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from brain import recipes
from brain.device import VISIBLE, visible_gpus
from brain.recipes.schema import Recipe
from brain.runs import checkpoint
from brain.runs.figures import read_judgement
from brain.runs.folder import Run, write_whole
from brain.runs.intervals import interval_text
from brain.runs.judgement import BASELINES, UPPER_BOUND
from brain.runs.settings import keep_or_refuse
from brain.training.taken import (
    FLAG,
    Untrained,
    address,
    check_encoder,
    check_untrained,
    refuse_another_encoder,
)
from shared.cores import usable_cores
from shared.errors import TinyJEPAError
from shared.lifetime import end_with, sigterm_interrupts
from shared.registry import closest
from shared.store.source import locate

TABULATED = ("teleport", "hard", "wrong-action-4")
"""The negatives in the table."""
AHEAD = (4, 16)
"""Model steps of the forecast states in the table."""


@dataclass(frozen=True)
class Setting:
    """A choice of values for the keys that a sweep varies."""

    overrides: tuple[str, ...]
    """``key=value`` in the order of the sweep's keys"""
    name: str = ""
    """Its name in a file of settings."""

    @property
    def title(self) -> str:
        return self.name or ", ".join(self.overrides) or "as it is"

    @property
    def slug(self) -> str:
        """Its folder's name; ``base`` when nothing is varied."""
        return re.sub(r"[^A-Za-z0-9.=+-]+", "_", self.name or ",".join(self.overrides)) or "base"


@dataclass
class Job:
    """One run of a sweep."""

    setting: Setting
    seed: int
    folder: Path
    encoder: Path | Untrained | None = None
    """The run whose encoder it takes over, or ``untrained``."""
    failure: str = ""
    """The error message of a failed process."""
    process: subprocess.Popen[str] | None = field(default=None, repr=False)

    @property
    def judged(self) -> bool:
        return (self.folder / "judge.json").exists()


def split_values(text: str) -> list[str]:
    """``a,b,[c,d]`` to ``a``, ``b``, ``[c,d]``: commas within brackets or quotes do not part values."""
    parts, depth, quoted = [""], 0, ""
    for letter in text:
        if quoted:
            quoted = "" if letter == quoted else quoted
        elif letter in "\"'":
            quoted = letter
        else:
            depth += (letter in "[{") - (letter in "]}")
        if letter == "," and depth == 0 and not quoted:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def product(varied: Sequence[str]) -> list[Setting]:
    """The product of all ``key=a,b,c``. Raises ``TinyJEPAError`` for what has no value."""
    choices = []
    for pair in varied:
        key, equals, values = pair.partition("=")
        if not equals or not all(split_values(values)):
            raise TinyJEPAError(f"--set {pair}: write it as key=value or key=value,value,...")
        choices.append([f"{key}={value}" for value in split_values(values)])
    return [Setting(overrides) for overrides in itertools.product(*choices)]


def read_settings(path: Path) -> list[Setting]:
    """Named settings of a TOML file, ``"name" = ["key=value", ...]`` a line, in its order.

    Raises ``TinyJEPAError`` for a file that is missing or says anything else, and for names that share a folder.
    """
    try:
        lines = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TinyJEPAError(f"{path}: cannot be read as settings: {error}") from None
    found: dict[str, Setting] = {}
    for name, overrides in lines.items():
        if not isinstance(overrides, list) or not all(isinstance(pair, str) and "=" in pair for pair in overrides):
            raise TinyJEPAError(f'{path}: "{name}" must be a list of "key=value"')
        setting = Setting(tuple(overrides), name)
        if setting.slug in found:
            raise TinyJEPAError(f'{path}: "{name}" and "{found[setting.slug].name}" share a folder: rename one')
        found[setting.slug] = setting
    if not found:
        raise TinyJEPAError(f"{path}: holds no setting")
    return list(found.values())


def combined(named: Sequence[Setting], varied: Sequence[Setting]) -> list[Setting]:
    """Every named setting with every choice of ``--set``; the latter alone when none is named."""
    return [
        Setting(one.overrides + more.overrides, ", ".join((one.name, *more.overrides)))
        for one in named
        for more in varied
    ] or list(varied)


def sweep(
    recipe: str,
    store: str,
    out: Path,
    choices: Sequence[Setting],
    seeds: Sequence[int],
    *,
    more: Sequence[str] = (),
    encoders: Sequence[Path | Untrained] = (),
    device: str = "auto",
    jobs: int | None = None,
    say: Callable[[str], None] = print,
) -> list[Job]:
    """Make every run that is not judged yet and return all of them; ``more`` is passed on to ``brain train``.

    ``encoders``: runs whose encoders are taken over, or ``untrained``, one for all seeds, or one for each.

    A seed of every setting comes before the next seed; what is named twice is made once. Every setting is validated
    first, every folder that is there must be of its recipe, and ``out`` of the same store and ``more``. A run that
    fails keeps its last line in ``failure``, and the rest goes on. Ctrl-C lets the runs under way write a checkpoint;
    the same call goes on from there.
    """
    choices, seeds = list(dict.fromkeys(choices)), list(dict.fromkeys(seeds))
    encoder_of = dict(zip(seeds, itertools.cycle(encoders)))
    folders: dict[str, Setting] = {}
    for setting in choices:
        if folders.setdefault(setting.slug, setting) is not setting:
            raise TinyJEPAError(f"{setting.title} and {folders[setting.slug].title} share the folder {setting.slug}")
    plan = [
        Job(setting, seed, out / setting.slug / f"seed-{seed}", encoder_of.get(seed))
        for setting in choices
        for seed in seeds
    ]
    for job in plan:
        wanted = recipes.load(recipe, job.setting.overrides)
        refuse_another(job.folder, wanted)
        if job.encoder == "untrained":
            check_untrained(Run(job.folder), wanted)
        elif job.encoder is not None:
            check_encoder(Run(job.encoder), wanted)
            refuse_another_encoder(Run(job.folder), Run(job.encoder))
        elif (job.folder / "run.json").exists() and FLAG in Run(job.folder).facts().get("flags", ()):
            raise TinyJEPAError(f"{job.folder} was made with {FLAG}: give it again, or another --out")
    begun = any(out.glob("*/seed-*/run.json"))  # by whichever call: the folder is one comparison
    keep_or_refuse(out, locate(store).address, {"training": " ".join(more)}, begun)
    gpus = visible_gpus(device)
    more = ["--device", "cuda" if gpus else device, *more]  # the only one that a run sees
    slots = list(range(jobs or len(gpus) or usable_cores()))
    threads = max(1, usable_cores() // len(slots)) if gpus else 1  # a GPU's judge draws with the rest
    waiting, running = sorted((job for job in plan if not job.judged), key=lambda job: job.seed), dict[int, Job]()
    say(f"{len(plan)} runs, {len(plan) - len(waiting)} judged before, {min(len(slots), len(waiting))} at a time")
    with _stopping(running):
        while waiting or running:
            for slot in slots:
                if slot not in running and waiting:
                    job = running[slot] = waiting.pop(0)
                    job.process = _start(job, recipe, store, more, threads, gpus[slot % len(gpus)] if gpus else None)
            time.sleep(0.2)
            for slot, job in list(running.items()):
                assert job.process is not None
                if job.process.poll() is None:
                    continue
                del running[slot]
                if job.process.returncode:
                    said = (job.folder.parent / f"{job.folder.name}.log").read_text(encoding="utf-8").splitlines()
                    job.failure = said[-1] if said else f"exit code {job.process.returncode}"
                left = len(waiting) + len(running)
                outcome = f"failed: {job.failure}" if job.failure else "judged"
                say(f"{job.setting.slug}, seed {job.seed}: {outcome} ({left} left)")
    return plan


def table(plan: Sequence[Job], columns: Sequence[str] = ()) -> tuple[list[str], list[list[str]]]:
    """Head and rows: a setting a row; a figure is the mean and half the 95 % interval over the seeds judged.

    ``columns`` are the figures to show, all without any. Raises ``TinyJEPAError`` for one that no run has.
    """
    by_setting: dict[Setting, list[Job]] = {}
    for job in plan:
        by_setting.setdefault(job.setting, []).append(job)
    figures = {id(job): _figures(job) for job in plan if job.judged}
    there = list(dict.fromkeys(name for found in figures.values() for name in found))
    if figures and (unknown := [name for name in columns if name not in there]):
        raise TinyJEPAError(closest(unknown[0], there, "column"))
    names = list(columns) or there
    rows = []
    for setting, group in by_setting.items():
        judged = [figures[id(job)] for job in group if job.judged]
        cells = [interval_text([found[name] for found in judged if name in found]) for name in names]
        rows.append([setting.title, f"{len(judged)} of {len(group)}", *cells])
    return ["setting", "runs", *names], rows


def check_columns(names: Sequence[str]) -> None:
    """Refuse what no run will ever have; what names a state depends on the world."""
    known = [f"{kind} {what}" for kind in TABULATED for what in ("AUC", "AUC plain", "baseline", "oracle")]
    known += ["violations AUC", "violations pairs", "violations found"]
    known += ["rollout 4", "persistence 4", "embedding std", "effective rank", "images/CPU s"]
    of_states = ["R2 STATE", *(f"error {steps} STATE" for steps in AHEAD)]
    for name in names:
        if name not in known and not any(name.startswith(column.removesuffix("STATE")) for column in of_states):
            raise TinyJEPAError(closest(name, [*known, *of_states], "column"))


def write(plan: Sequence[Job], out: Path, columns: Sequence[str] = ()) -> Path:
    """``sweep.md`` (of ``columns``) and ``sweep.json`` (all figures) into ``out``; returns the former."""
    head, rows = table(plan, columns)
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    failures = [f"- {job.setting.slug}, seed {job.seed}: {job.failure}" for job in plan if job.failure]
    write_whole(out / "sweep.md", "\n".join([*lines, *(["", "Failed:", "", *failures] if failures else []), ""]))
    runs = [
        {
            "name": job.setting.name,
            "setting": list(job.setting.overrides),
            "seed": job.seed,
            "run": str(job.folder),
            "failure": job.failure,
        }
        | ({"figures": _figures(job)} if job.judged else {})
        for job in plan
    ]
    write_whole(out / "sweep.json", json.dumps(runs, indent=1) + "\n")
    return out / "sweep.md"


def refuse_another(folder: Path, recipe: Recipe) -> None:
    """Raises ``TinyJEPAError`` for a run folder that was trained with another recipe, whatever it says of itself."""
    kept = folder / "recipe.toml"
    if kept.exists() and recipes.labelled_as(recipes.load(str(kept)), recipe) != recipe:
        raise TinyJEPAError(f"{folder} was trained with another recipe: remove it, or give another --out")


def _figures(job: Job) -> dict[str, float]:
    """What the table shows of a run: the report's headline, baselines beside the AUCs, and images per second."""
    judged = read_judgement(Run(job.folder))
    assert judged is not None
    found: dict[str, float] = {}

    def add(name: str, value: float | None) -> None:
        if value is not None:
            found[name] = value

    for kind in TABULATED:
        scores = judged.energy.kinds[kind].auc if kind in judged.energy.kinds else {}
        known = [value for name in BASELINES if (value := scores.get(name)) is not None]
        add(f"{kind} AUC", scores.get("model"))
        add(f"{kind} AUC plain", scores.get("plain"))
        add(f"{kind} baseline", max(known, default=None))
        add(f"{kind} oracle", scores.get(UPPER_BOUND))
    if (mean := judged.violations_mean) is not None:
        add("violations AUC", mean.auc)
        add("violations pairs", mean.relative_accuracy)
        add("violations found", mean.detection_rate)
    if judged.main_probes is not None:
        for name, score in judged.main_probes[1].get("model", {}).items():
            add(f"R2 {name}", score)
    if 4.0 in judged.rollout.steps:
        at = judged.rollout.steps.index(4.0)
        add("rollout 4", judged.rollout.model[at])
        add("persistence 4", judged.rollout.persistence[at])
    for name, errors in judged.forecasts.states.items():
        for steps in AHEAD:
            if steps in judged.forecasts.steps:
                add(f"error {steps} {name}", errors["model"][judged.forecasts.steps.index(steps)])
    if judged.latent is not None:
        add("embedding std", judged.latent.embedding_std)
        add("effective rank", judged.latent.effective_rank)
    facts = checkpoint.read_facts(job.folder / "encoder.safetensors")
    if {"images", "cpu_seconds"} <= facts.keys():  # the encoders of the package do not say
        found["images/CPU s"] = facts["images"] / max(facts["cpu_seconds"], 1e-9)
    return found


def _start(
    job: Job, recipe: str, store: str, more: Sequence[str], threads: int, gpu: str | None
) -> subprocess.Popen[str]:
    """``brain train``, in a process group of its own, its words in a log beside the run folder."""
    job.folder.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "brain.cli", "train", "--store", store, "--run", str(job.folder)]
    command += ["--recipe", recipe, "--seed", str(job.seed), "--quiet", *more]
    command += [FLAG, address(job.encoder)] if job.encoder is not None else []
    command += [part for override in job.setting.overrides for part in ("--set", override)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    if gpu is not None:
        environment |= dict.fromkeys(VISIBLE, gpu)
    with (job.folder.parent / f"{job.folder.name}.log").open("w", encoding="utf-8") as log:
        return subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=environment, text=True, start_new_session=True,
            preexec_fn=functools.partial(end_with, os.getpid()),
        )  # fmt: skip


@contextlib.contextmanager
def _stopping(running: dict[int, Job]) -> Iterator[None]:
    """On the way out by Ctrl-C, SIGTERM or an error, ask the runs under way to write a checkpoint and end."""

    try:
        with sigterm_interrupts():
            yield
    finally:
        processes = [job.process for job in running.values() if job.process is not None]
        for process in processes:
            process.send_signal(signal.SIGINT)
        for process in processes:
            process.wait()
