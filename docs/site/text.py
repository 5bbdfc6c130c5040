"""Pieces of Markdown for generated pages."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined


def doc(thing: Any) -> str:
    """A docstring as Markdown, of the thing itself and not of what it inherits from; empty without one."""
    return inspect.cleandoc(vars(thing).get("__doc__") or "" if inspect.isclass(thing) else thing.__doc__ or "")


def cell(text: object) -> str:
    """Text for a cell of a table."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")


def code(text: object) -> str:
    """Code for a cell of a table; nothing for nothing."""
    return f"`{' '.join(str(text).split())}`".replace("|", "\\|") if str(text) else ""


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already, with a blank line around; empty without rows."""
    rows = list(rows)
    if not rows:
        return ""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n\n"


def type_name(annotation: Any) -> str:
    """A field's type as people write it: ``int``, ``list[int]``, ``pixels or state``."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " or ".join(map(str, arguments))
    if origin in (typing.Union, types.UnionType):
        return " or ".join("none" if one is type(None) else type_name(one) for one in arguments)
    if origin is typing.Annotated:
        return type_name(arguments[0])
    if origin is not None and arguments:
        return f"{origin.__name__}[{', '.join('...' if one is ... else type_name(one) for one in arguments)}]"
    return getattr(annotation, "__name__", str(annotation))


def limits(field: Any) -> str:
    """The range of a field: ``>= 0, < 1``; empty without one."""
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    found = [(sign, getattr(one, name, None)) for one in field.metadata for name, sign in signs.items()]
    return ", ".join(f"{sign} {value}" for sign, value in found if value is not None)


def options(model: type[BaseModel]) -> str:
    """The table of a model's fields: type, range, default and description."""
    rows = []
    for name, field in model.model_fields.items():
        default = "" if field.default is PydanticUndefined or field.default == "" else field.default
        rows.append([
            code(name), code(type_name(field.annotation)), code(limits(field)), code(default),
            cell(field.description or ""),
        ])  # fmt: skip
    return table(["Option", "Type", "Range", "Default", "Meaning"], rows)
