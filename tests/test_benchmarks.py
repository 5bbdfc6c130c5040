"""Benchmarks as programs: they run to their end and fill their tables. Their figures mean nothing here."""

from __future__ import annotations

import importlib

import pytest
import torch
import typer
from typer.testing import CliRunner

from benchmarks.peers_meter import WARM, Meter


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


def test_the_meter_counts_passes_with_gradient_and_ends_the_loop() -> None:
    meter, seen = Meter(), 0
    encoder = meter.watch(torch.nn.Linear(8, 8))

    def loop() -> None:
        nonlocal seen
        while True:
            encoder(torch.ones(4, 8))
            with torch.no_grad():
                encoder(torch.ones(4, 8))
            seen += 1

    taken = meter.per_step(loop, 0.05)
    assert len(meter.stamps) == seen + 1
    assert taken == pytest.approx((meter.stamps[-1] - meter.stamps[WARM]) / (seen - WARM))
    assert meter.stamps[-1] - meter.stamps[WARM] >= 0.05


def test_the_meter_refuses_a_loop_that_ends_too_early() -> None:
    meter = Meter()
    encoder = meter.watch(torch.nn.Linear(8, 8))
    with pytest.raises(RuntimeError, match="ended after 1 steps"):
        meter.per_step(lambda: encoder(torch.ones(4, 8)), 0.05)
