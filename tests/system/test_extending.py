"""``docs/extending.md`` is true: its files are written into a copy of the source, and its commands run there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from tests import ROOT

BLOCK = re.compile(r"^```(\w+)((?: \w+=\S+)*)\n(.*?)^```$", re.M | re.S)
LINT = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
MODULES = {"factory": "factory.cli", "brain": "brain.cli", "pytest": "pytest"}


def test_the_page_can_be_followed(tmp_path: Path) -> None:
    for folder in ("shared", "factory", "brain", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    commands: list[str] = []
    written, files = 0, list[str]()
    for language, words, text in BLOCK.findall((ROOT / "docs" / "extending.md").read_text(encoding="utf-8")):
        told = dict(word.split("=") for word in words.split())
        if language == "console":
            commands += text.splitlines()
        elif "file" in told:
            (tmp_path / told["file"]).write_text(text, encoding="utf-8")
            files.append(told["file"])
            written += 1
        elif "append" in told:
            target = tmp_path / told["append"]
            before = target.read_text(encoding="utf-8")
            place = before.index(f"\n{told['before']}") + 1 if "before" in told else len(before)
            target.write_text(before[:place] + text + before[place:], encoding="utf-8")
            written += 1
    assert written == 7 and len(commands) == 5
    python = [file for file in files if file.endswith(".py")]
    linted = subprocess.run(["ruff", "check", *python], cwd=tmp_path, capture_output=True, text=True, env=LINT)
    assert linted.returncode == 0 and len(python) == 4, linted.stdout
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    for command in commands:
        program, *arguments = shlex.split(command)
        done = subprocess.run(
            [sys.executable, "-m", MODULES[program], *arguments],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        if arguments[0] == "recipes":
            printed = tomllib.loads(done.stdout)
            for section, key in (("encoder", "side"), ("objective", "temperature")):
                assert key in printed[section] and re.search(rf"^{key} = \S+ +# \w", done.stdout, re.M), done.stdout
            assert "spread" in printed["prediction"]["predictor"]
            assert "covariance" not in printed["objective"]  # only what this objective reads
        if program == "pytest":
            passed = re.search(r"(\d+) passed", done.stdout)
            assert passed and int(passed[1]) >= 40 and "failed" not in done.stdout
    assert (tmp_path / "runs" / "orbit" / "report.html").exists()
