"""The command line of both machines, by Typer: lazy commands, options in panels, one-line errors, a clean Ctrl-C.

A command is a typed function with a docstring; its examples are the last paragraph, under ``Examples:``. It returns
the exit code, or None for 0. Help is plain text: a panel of options is a section with a heading.
"""

from __future__ import annotations

import inspect
import itertools
import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import typer
from typer.core import CompletionItem, TyperCommand, TyperGroup
from typer.main import get_command

from shared.errors import TinyJEPAError
from shared.registry import Registry

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter

WORDS: ContextVar[list[str] | None] = ContextVar("WORDS", default=None)
"""The program and the arguments of the command under way, for the log."""

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_EXAMPLES = "\n\nExamples:\n"


class Command(TyperCommand):
    """A command whose help shows its arguments, then its options by panel, then its examples.

    An option whose metavar is in brackets may stand without a value: it then gets an empty one.
    """

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        bare = {
            name
            for parameter in self.get_params(ctx)
            if (getattr(parameter, "metavar", None) or "").startswith("[")
            for name in parameter.opts
        }
        given = [
            f"{word}=" if word in bare and (after is None or after.startswith("-")) else word
            for word, after in itertools.zip_longest(args, args[1:])
        ]
        return super().parse_args(ctx, given)

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        arguments: list[tuple[str, str]] = []
        panels: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            name, text = record
            default = getattr(parameter, "show_default", None)
            if isinstance(default, str):  # Typer puts what is not a value in parentheses
                text = text.replace(f"({default})", default)
            if parameter.param_type_name == "argument":
                arguments.append((name.partition(" <")[0], text))
            else:
                general = "Other options" if panels and "Options" not in panels else "Options"
                panels.setdefault(getattr(parameter, "rich_help_panel", None) or general, []).append((name, text))
        for heading, records in [("Arguments", arguments), *panels.items()]:
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records, col_max=26)

    def format_epilog(self, ctx: Context, formatter: HelpFormatter) -> None:
        if self.epilog:
            formatter.write_paragraph()
            formatter.write(self.epilog + "\n")


class Commands(TyperGroup):
    """The commands of a ``Registry``: only the one that is called is imported.

    Help and completion list the registry's summaries; an unknown name is refused with the closest match.
    """

    registry: Registry

    def list_commands(self, ctx: Context) -> list[str]:
        return self.registry.names()

    def get_command(self, ctx: Context, cmd_name: str) -> Any:
        """The command, built from its function; raises ``TinyJEPAError`` for an unknown name."""
        if ctx.resilient_parsing and cmd_name not in self.registry:
            return None  # incomplete input
        return build(cmd_name, self.registry.get(cmd_name))

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help())
            raise typer.Exit(EXIT_BAD_INPUT)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        TyperCommand.format_options(self, ctx, formatter)  # type: ignore[arg-type]  # it reads the options only

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.registry.summary(name)) for name in self.registry])

    def format_epilog(self, ctx: Context, formatter: HelpFormatter) -> None:
        Command.format_epilog(self, ctx, formatter)  # type: ignore[arg-type]  # it reads the epilog only

    def shell_complete(self, ctx: Context, incomplete: str) -> list[CompletionItem]:
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        names = [name for name in self.registry if name.startswith(incomplete)]
        return [CompletionItem(name, help=self.registry.summary(name)) for name in names]


def command_line(registry: Registry, help: str) -> Commands:
    """The command line of a registry of functions; ``help`` may end in examples, as a command's docstring does."""

    class Registered(Commands):
        pass

    Registered.registry = registry
    text, examples = _split(help)
    app = typer.Typer(
        cls=Registered, help=text, epilog=examples, context_settings=_SETTINGS, rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )  # fmt: skip
    app.callback()(lambda: None)
    group = get_command(app)
    assert isinstance(group, Commands)
    return group


def build(name: str, function: Callable[..., int | None]) -> Any:
    """Typer's command for one function."""
    text, examples = _split(inspect.getdoc(function) or "")
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name, cls=Command, help=text, epilog=examples)(function)
    return get_command(app)


def run(
    command: Any,
    program: str,
    argv: Sequence[str] | None = None,
    explain: Callable[[Exception], str | None] = lambda error: None,
) -> int:
    """Run a command line and return its exit code.

    Bad input (``TinyJEPAError``, Typer's usage errors, an unusable path, and what ``explain`` has a line for) becomes
    one line on stderr and exit code 2; Ctrl-C becomes one line and exit code 130. Other exceptions are bugs and keep
    their traceback.
    """
    words = WORDS.set([program, *(sys.argv[1:] if argv is None else argv)])
    try:
        result = command.main(args=argv, prog_name=program, standalone_mode=False)
    except typer.TyperException as error:
        return _refuse(program, _usage(error))
    except TinyJEPAError as error:
        return _refuse(program, str(error))
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output left: nothing more to say
        return 0
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        where = f" ({error.filename})" if error.filename else ""
        return _refuse(program, f"{error.strerror or error}{where}: check the path, its permissions and free space")
    except (KeyboardInterrupt, typer.Abort):
        result = EXIT_INTERRUPTED
    except Exception as error:
        if (line := explain(error)) is None:
            raise
        return _refuse(program, line)
    finally:
        WORDS.reset(words)
    if result == EXIT_INTERRUPTED:
        print(f"{program}: interrupted; what is committed stays, rerun the command to resume", file=sys.stderr)
    return result if isinstance(result, int) else 0


def _split(help: str) -> tuple[str, str | None]:
    """The text of a help, and its examples under their heading, which are not wrapped."""
    text, found, examples = inspect.cleandoc(help).partition(_EXAMPLES)
    return text, f"Examples:\n{examples.rstrip()}" if found else None


def _usage(error: typer.TyperException) -> str:
    """A usage error in one line: what is wrong, with which value, and what was probably meant."""
    text = error.format_message()
    invalid = getattr(error.__cause__, "errors", None)  # of pydantic, which checks the values
    if isinstance(error, typer.BadParameter) and invalid is not None:
        first = invalid()[0]
        reason = str(first["msg"]).removeprefix("Value error, ")
        got = "" if first["type"] == "value_error" else f" (got {first['input']!r})"
        text = text.removesuffix(error.message) + reason + got
    elif likely := getattr(error, "possibilities", None):
        text = f"{error.message}. Did you mean '{likely[0]}'?"
    elif context := getattr(error, "ctx", None):
        text = f"{text.rstrip('.')}: see {context.command_path} --help"
    return " ".join(text.split())


def _refuse(program: str, message: str) -> int:
    print(f"{program}: error: {message}", file=sys.stderr)
    return EXIT_BAD_INPUT
