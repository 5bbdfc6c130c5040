"""Benchmarks as programs: they run to their end and fill their tables. Their figures mean nothing here."""

from __future__ import annotations

import importlib

import typer
from typer.testing import CliRunner


def run(module: str, *arguments: str) -> str:
    app = typer.Typer()
    app.command()(importlib.import_module(f"benchmarks.{module}").main)
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


def test_the_gpu_benchmark_runs_on_a_cpu_when_only_tried_out() -> None:
    sections = ("stream", "recipes", "vicreg", "predictor", "planning")
    output = run(
        "gpu", "--device", "cpu", "--quick", "--recipe", "car-racing", *(f"--only={name}" for name in sections)
    )
    assert output.startswith("Device: cpu") and "figures mean nothing" in output
    for name in sections:
        assert f"**{name}**" in output
    assert "plain VICReg loop" in output and "not measured" not in output
