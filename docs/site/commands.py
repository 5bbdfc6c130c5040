"""The command line reference: a page for each program, from its Typer commands."""

from __future__ import annotations

import inspect
from typing import Any

import brain.cli
import factory.cli
from docs.site.text import cell, code, table

PROGRAMS = {"factory": factory.cli.cli, "brain": brain.cli.cli}


def nav() -> list[str]:
    return [f"commands/{program}.md" for program in PROGRAMS]


def pages() -> dict[str, str | bytes]:
    return {f"commands/{program}.md": page(program, group) for program, group in PROGRAMS.items()}


def page(program: str, group: Any) -> str:
    """Help, options and examples of every command of a program."""
    context = group.make_context(program, [], resilient_parsing=True)
    lines = [f"# {program}\n\n{inspect.cleandoc(group.help or '')}\n", examples(group.epilog)]
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        lines += [f"## {program} {name}\n\n{inspect.cleandoc(found.help or '')}\n", examples(found.epilog)]
        lines.append(parameters(found, found.make_context(name, [], parent=context, resilient_parsing=True)))
    return "\n".join(lines)


def examples(epilog: str | None) -> str:
    """The last paragraph of a help, as a block."""
    _, _, found = (epilog or "").partition("\n")
    return f"```\n{inspect.cleandoc(found)}\n```\n" if found else ""


def parameters(command: Any, context: Any) -> str:
    """A table for each panel of options; the arguments first."""
    panels: dict[str, list[list[str]]] = {}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None:
            continue
        name, text = record
        default = getattr(parameter, "show_default", None)
        if isinstance(default, str):  # Typer puts what is not a value in parentheses
            text = text.replace(f"({default})", default)
        if parameter.param_type_name == "argument":
            panels.setdefault("Argument", []).append([code(name.partition(" <")[0]), cell(text)])
        elif "--help" not in parameter.opts:
            panels.setdefault(getattr(parameter, "rich_help_panel", None) or "Options", []).append(
                [code(name), cell(text)]
            )
    first = {"Argument": panels.pop("Argument")} if "Argument" in panels else {}
    return "\n".join(table([panel, "Meaning"], rows) for panel, rows in (first | panels).items())
