"""The command line of both machines: help, completion, hints, one-line errors, exit codes, lazy imports."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
import torch
import typer

import brain.cli
import factory.cli
from shared.cli.console import Commands, build, command_line, run
from shared.cli.options import duration, local_path
from shared.registry import Registry
from tests import ROOT

LINES: dict[str, Commands] = {"factory": factory.cli.cli, "brain": brain.cli.cli}
EVERY = [(program, name) for program, line in LINES.items() for name in line.registry]


def small(
    size: Annotated[int, typer.Option(min=1, rich_help_panel="Shape", help="Pixels.")] = 64,
    wait: Annotated[float, typer.Option(parser=duration, show_default="2s", help="Time.")] = 2.0,
    end: Annotated[str, typer.Option(help="How it ends.")] = "well",
) -> int:
    """Do one small thing.

    Examples:
      tool small --size 3
    """
    if end == "full":
        raise OSError(28, "No space left on device", "/data/x")
    if end == "interrupted":
        raise KeyboardInterrupt
    if end == "full GPU":
        reason = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.75 GiB of which"
        raise torch.OutOfMemoryError(f"{reason} 1.00 GiB is free.")
    if end == "bug":
        raise ZeroDivisionError("a bug")
    print(size, wait)
    return 1


@pytest.fixture
def tool() -> Commands:
    registry = Registry("command")
    registry.register("small", f"{__name__}:small", "Do one small thing.")
    registry.register("absent", "no.such.module:command", "Fail when imported.")
    return command_line(registry, "A tool.\n\nExamples:\n  tool small")


def test_a_value_is_parsed_by_its_type_and_the_command_gives_the_exit_code(
    tool: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tool, "tool", ["small", "--size", "3", "--wait", "1.5m"]) == 1
    assert capsys.readouterr().out == "3 90.0\n"
    assert run(tool, "tool", ["small"]) == 1
    assert capsys.readouterr().out == "64 2.0\n"


def test_help_has_panels_defaults_and_examples(tool: Commands, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tool, "tool", ["small", "--help"]) == 0
    text = capsys.readouterr().out
    assert text.index("Do one small thing.") < text.index("\nShape:\n  --size") < text.index("\nOther options:\n")
    assert "[default: 2s]" in text and text.endswith("\nExamples:\n  tool small --size 3\n")
    assert run(tool, "tool", []) == 2
    text = capsys.readouterr().out
    assert "absent  Fail when imported." in text and text.endswith("\nExamples:\n  tool small\n")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["smal"], "unknown command 'smal'. Did you mean 'small'? Choices: small, absent"),
        (["small", "--siz", "1"], "No such option: --siz. Did you mean '--size'?"),
        (["small", "--colour"], "No such option: --colour: see tool small --help"),
        (["small", "--size"], "Option '--size' requires an argument."),
        (["small", "more"], "Got unexpected extra argument(s) (more): see tool small --help"),
        (["small", "--size", "0"], "Invalid value for '--size': Input should be greater than or equal to 1 (got '0')"),
        (["small", "--wait", "-1"], "Invalid value for '--wait': '-1' is not a positive duration: write 90s"),
        (["small", "--end", "full"], "No space left on device (/data/x): check the path, its permissions"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(
    tool: Commands, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    assert run(tool, "tool", arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"tool: error: {line}") and captured.err.count("\n") == 1 and captured.out == ""


def test_an_interruption_is_one_line_and_a_bug_keeps_its_traceback(
    tool: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tool, "tool", ["small", "--end", "interrupted"]) == 130
    assert capsys.readouterr().err == "tool: interrupted; what is committed stays, rerun the command to resume\n"
    with pytest.raises(ZeroDivisionError):
        run(tool, "tool", ["small", "--end", "bug"], explain=brain.cli.explain)


def test_a_gpu_without_free_memory_is_one_line(tool: Commands, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tool, "tool", ["small", "--end", "full GPU"], explain=brain.cli.explain) == 2
    said = capsys.readouterr().err
    assert said.startswith("tool: error: CUDA out of memory. Tried to allocate 2.00 GiB: end what else uses the GPU")
    assert "objective.accumulate" in said and said.count("\n") == 1


def test_ctrl_c_in_a_real_process(tmp_path: Path) -> None:
    words = ["collect", "--world", "bouncing-logo", "--local", "--frames", "10000000", "--store", str(tmp_path / "s")]
    child = subprocess.Popen(
        [sys.executable, "-m", "factory.cli", *words, "--json"], cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    child.stdout.readline()  # it is at work
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=120)
    assert child.returncode == 130 and "Traceback" not in errors, errors
    assert errors.splitlines()[-1].startswith("factory: interrupted; ")


def test_paths_and_durations() -> None:
    assert local_path("a/b") == Path("a/b")
    with pytest.raises(ValueError, match="is a URL"):
        local_path("s3://bucket/cars")
    assert [duration(text) for text in ("90", "90s", "1.5h", "2 m")] == [90.0, 90.0, 5400.0, 120.0]
    for text in ("0", "-1s", "soon", "1d", ""):
        with pytest.raises(ValueError, match="not a positive duration"):
            duration(text)


@pytest.mark.parametrize(("program", "name"), EVERY)
def test_every_help_has_examples_and_fits_80_columns(
    program: str, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(LINES[program], program, [name, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"\nExamples:\n  {program} {name}" in text
    assert not [line for line in text.splitlines() if len(line) > 80]
    assert text.isascii() and "\x1b" not in text
    command: Any = build(name, LINES[program].registry.get(name))
    assert all(parameter.help for parameter in command.params), "each option says what it is"


@pytest.mark.parametrize("program", LINES)
def test_a_help_screen_imports_only_what_it_shows(program: str) -> None:
    watched = "{'zarr', 'numpy', 'gymnasium', 'torch', 'ray', 'pydantic', 'rich'}"
    code = (
        f"import sys; from shared.cli.console import run; from {program}.cli import cli\n"
        f"code = run(cli, '{program}', ['--help'])\n"
        f"print({watched} & set(sys.modules), [m for m in sys.modules if m.startswith('{program}.commands.')], code)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set() [] 0"


def test_only_the_called_command_is_imported() -> None:
    code = (
        "import sys; from shared.cli.console import run; from factory.cli import cli; run(cli, 'factory', ['worlds'])\n"
        "print([m for m in sys.modules if m.startswith('factory.commands.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['factory.commands.worlds']"


def complete(program: str, words: str) -> list[str]:
    """What bash offers for the last of these words."""
    variables = {
        f"_{program.upper()}_COMPLETE": "complete_bash", "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }  # fmt: skip
    code = f"from {program}.cli import main; main()"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("program", "words", "offered"),
    [
        ("factory", "factory ", factory.cli.COMMANDS.names()),
        ("factory", "factory st", ["status"]),
        ("factory", "factory nothing --x", []),
        ("factory", "factory collect --frame", ["--frame-size", "--frames"]),
        ("factory", "factory collect --world car", ["car-racing"]),
        ("brain", "brain train --stage ", ["encoder", "predictor", "energy"]),
        ("brain", "brain recipes two-room-", ["two-room-grid", "two-room-gru"]),
    ],
)
def test_the_shell_completes_commands_options_and_values(program: str, words: str, offered: list[str]) -> None:
    assert sorted(complete(program, words)) == sorted(offered)


@pytest.mark.parametrize(("program", "line"), LINES.items())
def test_the_completion_script_is_shown_and_installed(
    program: str, line: Commands, tmp_path: Path, run_program: Callable[..., str]
) -> None:
    shown = run_program(program, "--show-completion", HOME=str(tmp_path))
    assert f"complete -o default -F _{program}_completion {program}" in shown
    installed = run_program(program, "--install-completion", HOME=str(tmp_path))
    assert "bash completion installed" in installed
    script = next(tmp_path.rglob(f"{program}.sh"))
    assert shown.strip() in script.read_text()


@pytest.fixture
def run_program() -> Callable[..., str]:
    """The output of a program that a bash started, whose completions it is asked for."""

    def call(program: str, option: str, **environment: str) -> str:
        words = f"{sys.executable} -m {program}.cli {option}; true"
        done = subprocess.run(
            ["bash", "-c", words], cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
        )
        return done.stdout

    return call


def test_the_page_of_commands_lists_every_command_once_and_no_other() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(factory|brain) ([a-z]+)` \|", page, re.M)
    assert sorted(rows) == sorted(EVERY)
    assert "docs/commands.md" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_options_that_the_docs_name_exist() -> None:
    """Every ``factory ...`` and ``brain ...`` line of the docs is one that the command takes."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), ROOT / "deploy" / "README.md"]
    wrong, checked = [], 0
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for program, name, rest in re.findall(r"\b(factory|brain) ([a-z]+)((?: +[^\s`|#(;]+)*)", text):
            if name not in LINES[program].registry:
                continue
            command: Any = build(name, LINES[program].registry.get(name))
            words = (word for parameter in command.params for word in (*parameter.opts, *parameter.secondary_opts))
            known = {*words, "--help"}
            options = re.findall(r" (--[a-z-]+)", rest)
            checked += len(options)
            wrong += [f"{page.name}: {program} {name} {option}" for option in options if option not in known]
    assert not wrong and checked > 50
