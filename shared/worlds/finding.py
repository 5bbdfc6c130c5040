"""Which environment a name means: a registered id, one of an installed package, or one of the user's modules."""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import gymnasium as gym

from shared.errors import TinyJEPAError, brief

PACKAGES = {
    "ale": ("ale_py", "ale-py"),
    "babyai": ("minigrid", "minigrid"),
    "minigrid": ("minigrid", "minigrid"),
    "miniworld": ("miniworld", "miniworld"),
    "crafter": ("crafter", "crafter"),
    "fetch": ("gymnasium_robotics", "gymnasium-robotics"),
    "flappybird": ("flappy_bird_gymnasium", "flappy-bird-gymnasium"),
    "frankakitchen": ("gymnasium_robotics", "gymnasium-robotics"),
    "gym_pusht": ("gym_pusht", "gym-pusht"),
    "highway": ("highway_env", "highway-env"),
    "pointmaze": ("gymnasium_robotics", "gymnasium-robotics"),
    "procgen": ("procgen", "procgen"),
    "pyflyt": ("PyFlyt.gym_envs", "PyFlyt"),
    "tetris_gymnasium": ("tetris_gymnasium", "tetris-gymnasium"),
}
"""How ids of well-known packages begin: the module that registers them, and what pip calls it."""

GROUP = "gymnasium.envs"
"""Entry points of packages that register environments."""


@functools.cache
def called_from() -> Path:
    """The directory that this process was called from: the current one when it is first asked for.

    That is before an environment is imported, which may change it.
    """
    return Path.cwd()


def search_in(folder: Path) -> None:
    """Find the modules of this folder, after all that is installed."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def full_id(name: str, others: Sequence[str]) -> str:
    """An id that ``gymnasium.make`` takes: ``name`` itself, or with the module in front that registers it.

    ``module:id`` imports the module, which may lie in the current directory. An id without a module is looked for in
    the installed packages that name themselves to gymnasium, and in those that are known to register such ids.

    Raises ``TinyJEPAError`` where nothing has that name, with the closest match among the registered ids and
    ``others``, or with what to write or to install.
    """
    module, _, identifier = name.rpartition(":")
    if module:
        search_in(called_from())
        _import(module, name)
        if identifier not in gym.registry:
            raise TinyJEPAError(_unregistered(module, identifier))
        return name
    if name in gym.registry and _of(name, "gymnasium"):
        return name
    lowered = {choice.lower(): choice for choice in (*others, *gym.registry)}
    match = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
    for candidate in _modules(name):
        with contextlib.suppress(TinyJEPAError):
            _import(candidate, name)
            if name in gym.registry:
                return f"{candidate}:{name}"
    if name in gym.registry:
        return name
    if (known := PACKAGES.get(_beginning(name))) is not None:
        package, distribution = known
        if importlib.util.find_spec(package.split(".")[0]) is None:
            raise TinyJEPAError(
                f"world '{name}' belongs to the package {package}, which is not installed: pip install "
                f"{distribution}, then --world {package}:{name}"
            )
        raise TinyJEPAError(_unregistered(package, name))
    hint = f" Did you mean '{lowered[match[0]]}'?" if match else ""
    raise TinyJEPAError(
        f"unknown world '{name}'.{hint} Choices: {', '.join(others)}, any installed gymnasium id, or module:id for one "
        "that another package or a module of yours registers, such as ale_py:ALE/Pong-v5"
    )


def check_trusted(name: str, trust: bool) -> None:
    """Refuse a name that a store gives, where it would import a module that nobody here has asked for.

    Without ``trust`` only installed packages are imported that ids without a module may import too: those that name
    themselves to gymnasium and the well-known ones. Raises ``TinyJEPAError``.
    """
    module = name.rpartition(":")[0]
    if not module or trust:
        return
    registering = {module for module, _ in PACKAGES.values()} | {_module(point) for point in _entry_points()}
    if module not in registering or importlib.util.find_spec(module.split(".")[0]) is None:
        raise TinyJEPAError(
            f"the store names a module to import, in '{name}', and importing runs its code: "
            "add --trust-world if you know it"
        )


def _modules(name: str) -> list[str]:
    """Modules that may register an id, the likely ones first."""
    module, _ = PACKAGES.get(_beginning(name), ("", ""))
    space = name.rpartition("/")[0]
    points = [point for point in _entry_points() if point.name in ("__root__", space)]
    named = [module] if module else []
    return list(dict.fromkeys(named + [_module(point) for point in points]))


def _entry_points() -> importlib.metadata.EntryPoints:
    return importlib.metadata.entry_points(group=GROUP)


def _module(point: importlib.metadata.EntryPoint) -> str:
    return point.module.removesuffix(".__init__")


def _beginning(name: str) -> str:
    """``ale`` of ``ALE/Pong-v5``, ``minigrid`` of ``MiniGrid-Empty-5x5-v0``, ``fetch`` of ``FetchReach-v4``."""
    space, slash, rest = name.rpartition("/")
    word = space if slash else rest.split("-")[0]
    if word.lower() in PACKAGES:
        return word.lower()
    return next((known for known in PACKAGES if re.match(rf"{known}(?=[A-Z])", word, re.IGNORECASE)), word.lower())


def _import(module: str, name: str) -> None:
    """Import a module; what it prints goes to standard error."""
    importlib.invalidate_caches()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            importlib.import_module(module)
    except ImportError as error:
        raise TinyJEPAError(
            f"world '{name}': cannot import '{module}' ({error}); install it first, or call from "
            "the directory that it lies in"
        ) from None
    except (Exception, SystemExit) as error:
        raise TinyJEPAError(f"world '{name}': importing '{module}' fails ({brief(error)}): mend it first") from None


def _unregistered(module: str, identifier: str) -> str:
    match = difflib.get_close_matches(identifier, [known for known in gym.registry if _of(known, module)], n=1)
    hint = f" Did you mean '{module}:{match[0]}'?" if match else ""
    return f"module '{module}' registers no environment '{identifier}'.{hint}"


def _of(identifier: str, module: str) -> bool:
    """Whether a registered environment is made by this package."""
    where = gym.registry[identifier].entry_point
    home = where.partition(":")[0] if isinstance(where, str) else getattr(where, "__module__", "")
    return home.split(".")[0] == module.split(".")[0]
