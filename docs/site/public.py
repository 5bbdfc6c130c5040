"""The public API: its reference pages, and what of it has no docstring."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from docs.site.parts import KINDS
from docs.site.text import doc
from shared.worlds import WORLDS

PAGES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "api/brain.md": (
        "Models", "A trained model, and what it does.", ("brain:load", "brain.models.world_model:WorldModel"),
    ),
    "api/shared.md": (
        "Worlds and stores", "What both programs share.",
        ("shared:open_store", "shared:make_world", "shared.store.reader:Store", "shared.worlds:check_world",
         "shared.worlds.base:World", "shared.worlds.policy:Policy", "shared.worlds.tasks:Task",
         "shared.worlds.tasks:Case",
         "shared.worlds.violations:Violation", "shared.errors:TinyJEPAError"),
    ),
    "api/parts.md": (
        "Interfaces of parts", "What a part of your own inherits from ([extending](../extending.md)).",
        ("shared.registry:Registry", "brain.models.encoders.base:Encoder", "brain.models.encoders.base:Frames",
         "brain.objectives.base:Objective", "brain.objectives.base:Terms", "brain.models.predictors.base:Predictor",
         "brain.models.decoders.base:Decoder", "brain.planning.planners.base:Planner",
         "brain.planning.planners.base:Problem", "brain.planning.planners.base:Plan", "brain.planning.costs.base:Cost",
         "brain.planning.costs.base:Setting", "brain.planning.costs.base:Imagination"),
    ),
}  # fmt: skip
"""Page to title, opening line, and the things on it."""

INHERITED = ("forward", "__init__")
"""Methods that the docstring of their class describes."""


def nav() -> list[Any]:
    return [{"Python API": list(PAGES)}]


def pages() -> dict[str, str | bytes]:
    made: dict[str, str | bytes] = {}
    for page, (title, opening, things) in PAGES.items():
        entries = "\n".join(f"\n::: {thing.replace(':', '.')}\n" for thing in things)
        made[page] = f"# {title}\n\n{opening}\n{entries}"
    return made


def undocumented() -> list[str]:
    """The dotted names of the public API, and of the registered parts and worlds, that lack a docstring."""
    missing = []
    for _, _, things in PAGES.values():
        for thing in things:
            found = load(thing)
            name = thing.replace(":", ".")
            missing += [name] * (not doc(found))
            if inspect.isclass(found):
                missing += [f"{name}.{member}" for member, value in vars(found).items() if undescribed(member, value)]
    registries = [registry for _, registry, _ in KINDS.values()] + [WORLDS]
    missing += [reg.path(name).replace(":", ".") for reg in registries for name in reg if not doc(reg.get(name))]
    return missing


def undescribed(name: str, value: Any) -> bool:
    """Whether a member of a class is public, callable or a property, and without a docstring."""
    if name.startswith("_") or name in INHERITED:
        return False
    if isinstance(value, classmethod | staticmethod):
        value = value.__func__
    if isinstance(value, property):
        value = value.fget
    return inspect.isfunction(value) and not value.__doc__


def load(thing: str) -> Any:
    """``module:attribute``"""
    module, _, attribute = thing.partition(":")
    return getattr(importlib.import_module(module), attribute)
