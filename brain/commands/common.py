"""What several subcommands of ``brain`` share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from brain import pretrained
from shared.errors import MissingStoreError, TinyJEPAError

if TYPE_CHECKING:
    from brain.recipes.schema import Recipe
    from brain.runs.folder import Run
    from brain.training.taken import Untrained
    from shared.store.reader import Store

EXPERIMENT, TRAINING = "Experiment", "Training"
"""Panels of options."""


def recipe_names() -> list[str]:
    from brain import recipes

    return recipes.names()


RunFolder = Annotated[Path, typer.Option("--run", metavar="RUN", help="Run folder of brain train.")]
RunChoice = Annotated[
    Path | None,
    typer.Option("--run", metavar="RUN", show_default=False, help="Run folder of brain train."),
]
Pretrained = Annotated[
    str | None,
    typer.Option(
        "--pretrained",
        metavar="NAME",
        autocompletion=pretrained.names,
        show_default=False,
        help="In place of --run: a run that comes with the package, such as car-racing.",
    ),
]
StorePlace = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="STORE",
        show_default="the one it was trained on",
        help="Directory of the store, or a URL such as s3://bucket/path.",
    ),
]
RecipeName = Annotated[
    str | None,
    typer.Option(
        metavar="RECIPE",
        autocompletion=recipe_names,
        show_default="the one of the store's world, else car-racing",
        rich_help_panel=EXPERIMENT,
        help="Name of a recipe (see `brain recipes`), or a .toml file.",
    ),
]
Clock = Annotated[
    Literal["wall", "cpu"],
    typer.Option(
        rich_help_panel=TRAINING, help="What --budget counts: wall time, or CPU seconds (fair on a busy machine)."
    ),
]
TrustWorld = Annotated[
    bool, typer.Option("--trust-world", help="Import the module that the store names for its world.")
]
Device = Annotated[str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda or cuda:N.")]


def chosen_runs(runs: Sequence[Path], names: Sequence[str], *, writing: bool = True) -> list[Path]:
    """The folders of ``--run`` and ``--pretrained``: the one place that resolves them, ``pretrained:NAME`` included.

    A pretrained run is copied to ``runs/pretrained-NAME`` before a command writes to it; without ``writing``, it is
    read where the package is, unless there is a copy. Raises ``TinyJEPAError`` for none at all and for unknown names.
    """
    given = [*runs, *(Path(pretrained.PREFIX + name) for name in names)]
    if not given:
        raise TinyJEPAError(f"say which run: --run RUN, or --pretrained NAME ({', '.join(pretrained.names())})")
    found = []
    for run in given:
        name = run.name if pretrained.comes_with_the_package(run) else pretrained.named(run)
        if name is None:
            found.append(run)
        elif writing or pretrained.copy_place(name).exists():
            found.append(pretrained.copied(name))
            typer.echo(f"pretrained {name}: working in {found[-1]}", err=True)
        else:
            found.append(pretrained.folder(name))
    return found


def chosen_run(run: Path | None, name: str | None) -> Path:
    """The folder of ``--run`` or ``--pretrained`` for a command that writes to it.

    Raises what ``chosen_runs`` raises, and ``TinyJEPAError`` for both at once.
    """
    if run is not None and name is not None:
        raise TinyJEPAError("--run and --pretrained exclude each other: give one")
    return chosen_runs([run] if run is not None else [], [name] if name is not None else [])[0]


def chosen_encoders(given: Sequence[Path]) -> list[Path | Untrained]:
    """What ``--encoder`` names: run folders, as ``chosen_runs`` resolves them, or ``untrained``.

    Raises what ``chosen_runs`` raises, and ``TinyJEPAError`` where a run folder here has the name ``untrained``.
    """
    from brain.training.taken import UNTRAINED

    if UNTRAINED in map(str, given) and (here := Path(UNTRAINED) / "run.json").exists():
        whole = Path.cwd() / UNTRAINED
        raise TinyJEPAError(f"--encoder {UNTRAINED} is no run, but {here} is there: call that run {whole}")
    return [UNTRAINED if str(run) == UNTRAINED else chosen_runs([run], [], writing=False)[0] for run in given]


def with_encoder(encoder: Path, recipe: str | None, store: str | None) -> tuple[str, str | None]:
    """``recipe`` and ``store``, or those of the run whose encoder is taken over; no store where that is gone.

    Raises ``TinyJEPAError`` for what is no run folder.
    """
    from brain.runs.folder import Run
    from shared.store.dataset import is_gone

    run = Run(encoder)
    run.recipe()  # refuse what is no run folder
    own = str(run.facts()["store"])
    return recipe or str(encoder / "recipe.toml"), store or (None if is_gone(own) else own)


def check_effort(steps: int | None, budget: object, clock: str) -> None:
    """Raises ``TinyJEPAError`` for options of how long to train that exclude each other, or say nothing."""
    if steps and budget:
        raise TinyJEPAError("--steps and --budget exclude each other: give one")
    if clock != "wall" and not budget:
        raise TinyJEPAError(f"--clock {clock} says what a --budget counts: add --budget, such as 10m")


def store_of(recipe: Recipe) -> Path:
    """``DATA/WORLD`` of the recipe's world, where ``factory collect --world WORLD`` writes."""
    from shared.store.source import default_store

    if not recipe.world:
        raise TinyJEPAError(
            f'recipe {recipe.name} names no world: give --store, or add a line such as world = "car-racing" to it'
        )
    return default_store(recipe.world)


def default_recipe(store: str | None) -> str:
    """The recipe that the world of ``store`` declares; the default one without a store, or where it is not there yet.

    Raises what ``Store`` raises for what is no store.
    """
    from brain import recipes
    from shared.store.reader import Store
    from shared.worlds import world_class

    if store is None:
        return recipes.DEFAULT
    try:
        return world_class(Store(store).spec.world).default_recipe or recipes.DEFAULT
    except MissingStoreError:
        return recipes.DEFAULT


def need_torch() -> None:
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError:
        raise TinyJEPAError("torch is not installed: pip install 'tinyjepa[brain]'") from None


def show_summary(run_path: Path) -> None:
    report = run_path / "report.html"
    if (run_path / "judge.json").exists() and not report.exists():  # of a command that was killed between the two
        from brain.reports.report import write_report

        write_report(run_path, report)
    if report.exists():
        from brain.runs.figures import headline

        for line in headline(run_path):
            typer.echo(line)
        typer.echo(f"report: {report.resolve()}")


def open_store(run: Run, place: str | None, *, own: bool = True) -> Store:
    """The store at ``place``, or the one a run was trained on; says where a moved one is remembered.

    ``own``: whether ``place`` is where the run's own store is now, where that is gone.
    """
    from brain.data import place as places

    opened, line = places.open_store(run, place, own=own)
    if line:
        typer.echo(line, err=True)
    return opened


def open_store_if_there(run: Run, place: str | None) -> Store | None:
    """The same; None where no ``place`` is given and the run's own store is gone."""
    try:
        return open_store(run, place)
    except MissingStoreError:
        if place is not None:
            raise
        return None
