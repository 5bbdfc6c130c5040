"""What the two command lines share: commands loaded when called, one-line errors with exit code 2, a clean Ctrl-C."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from shared.errors import TinyJEPAError
from shared.registry import Registry, closest

COMMAND = "tinyjepa.command"
"""Where click's ``meta`` has the words of the command, for the log."""

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


class LocalPath(click.ParamType):
    """A path on this box; a URL is refused, since it would become a folder called ``s3:``."""

    name = "path"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", str(value)):
            self.fail(f"{value} is a URL, and this works on directories: copy a finished store there", param, ctx)
        return Path(str(value))


class Count(click.IntRange):
    """A whole number of at least ``min``, which may be written as ``6e3``, ``6_000`` or ``6,000``."""

    name = "integer"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value).strip()
        if re.fullmatch(r"\d{1,3}(,\d{3})+", text):
            text = text.replace(",", "")
        elif re.fullmatch(r"\d+(\.\d*)?[eE]\+?\d{1,2}", text) and (number := Decimal(text)) == int(number):
            text = str(int(number))
        return int(click.IntRange.convert(self, text, param, ctx))  # type: ignore[arg-type]


class Commands(click.Group):
    """A group whose subcommands are a ``Registry``: only the one that is called is imported.

    Help lists the registry's summaries; an unknown name is refused with the closest match.
    """

    def __init__(self, registry: Registry, **settings: Any) -> None:
        super().__init__(**settings)
        self.registry = registry

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        words = [info_name or "", *args]
        context = super().make_context(info_name, args, parent, **extra)
        context.meta[COMMAND] = words
        return context

    def list_commands(self, ctx: click.Context) -> list[str]:
        return self.registry.names()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        if cmd_name not in self.registry:
            raise click.UsageError(closest(cmd_name, self.registry.names(), "command"), ctx)
        command: click.Command = self.registry.get(cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.registry.summary(name)) for name in self.registry])


def run(command: click.Command, program: str, argv: Sequence[str] | None = None) -> int:
    """Run a click command line and return its exit code.

    Bad input (``TinyJEPAError``, click's usage errors, an unusable path) becomes one line on stderr
    and exit code 2; Ctrl-C becomes one line and exit code 130. Other exceptions are bugs and keep their
    traceback.
    """
    try:
        result = command.main(args=argv, prog_name=program, standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return EXIT_BAD_INPUT
    except click.ClickException as error:
        return _refuse(program, " ".join(error.format_message().split()))
    except TinyJEPAError as error:
        return _refuse(program, str(error))
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output left: nothing more to say
        return 0
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        where = f" ({error.filename})" if error.filename else ""
        return _refuse(program, f"{error.strerror or error}{where}: check the path, its rights and free space")
    except (KeyboardInterrupt, click.Abort):
        print(f"{program}: interrupted; what is committed stays, run the same command to go on", file=sys.stderr)
        return EXIT_INTERRUPTED


def _refuse(program: str, message: str) -> int:
    print(f"{program}: error: {message}", file=sys.stderr)
    return EXIT_BAD_INPUT
