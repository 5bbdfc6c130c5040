"""``factory status --watch``, ``brain status``, and their figures for Prometheus."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from brain.cli import cli as brain_cli
from brain.runs.status import lines, look
from factory.cli import cli as factory_cli
from factory.inspection.watching import Collection
from shared.cli.console import run as run_command
from shared.cli.metrics import Exporter
from shared.errors import TinyJEPAError
from shared.store.dataset import create_store
from shared.store.writer import StreamWriter
from tests import ROOT
from tests.support.dots import RUN, dot_episode, dot_spec


def test_a_collection_is_seen_to_grow(tmp_path: Path) -> None:
    spec = create_store(tmp_path / "s", dot_spec())
    writer = StreamWriter(tmp_path / "s", spec, RUN, 0)
    seen = Collection(tmp_path / "s", goal=1000)
    first = seen.look()
    assert first["frames"] == 0 and first["writers_alive"] == 1 and first["seconds_left"] is None
    for index in range(6):
        writer.append(dot_episode(index))
    time.sleep(0.05)
    second = seen.look()
    assert second["frames"] == 4 * 61 and second["frames_per_second"] > 0 and second["seconds_left"] > 0
    assert second["free_bytes"] > 0 and second["seconds_since_commit"] < 10
    writer.close()
    third = seen.look()
    assert (third["frames"], third["episodes"], third["writers_alive"], third["writers_closed"]) == (366, 6, 0, 1)
    text = "\n".join(seen.lines(third))
    assert "366 in 6 episodes" in text and "to 1,000 frames" in text


def run_folder(path: Path) -> Path:
    path.mkdir()
    (path / "run.json").write_text("{}")
    entry = {"stage": "encoder", "step": 40, "time": time.time() - 100, "lr": 1e-3, "loss": 0.5, "effective_rank": 12.5}
    (path / "metrics.jsonl").write_text("{}\n" + json.dumps(entry) + "\n" + '{"stage": "enc')
    (path / "progress.json").write_text('{"fraction": 0.25, "seconds_left": 300.0, "frames_behind": 1234}')
    return path


def test_a_training_is_seen(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    facts = look(run)
    assert (facts["step"], facts["loss"], facts["frames_behind"], facts["effective_rank"]) == (40, 0.5, 1234, 12.5)
    text = "\n".join(lines(run, facts))
    assert "25%" in text and "5 min" in text and "1,234 frames" in text and "QUIET" in text
    (run / "metrics.jsonl").unlink()
    assert "no step yet" in "\n".join(lines(run, look(run)))


def test_the_commands(tmp_path: Path, dots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_folder(tmp_path / "run")
    assert run_command(brain_cli, "brain", ["status", "--run", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["step"] == 40
    assert run_command(brain_cli, "brain", ["status", "--run", str(tmp_path)]) == 2
    assert run_command(brain_cli, "brain", ["status", "--run", str(run), "--metrics-port", "1"]) == 2
    assert run_command(factory_cli, "factory", ["status", str(dots), "--json"]) == 2
    assert run_command(factory_cli, "factory", ["status", str(tmp_path / "none"), "--watch"]) == 2
    assert capsys.readouterr().err.count("\n") == 4


def test_prometheus_finds_the_figures(dots: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "factory.cli", "status", str(dots), "--watch", "--every", "0.2", "--json"]
    process = subprocess.Popen(
        [*command, "--metrics-port", str(port)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["frames"] == 40 * 61
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            page = answer.read().decode()
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert "# TYPE tinyjepa_factory_frames gauge\ntinyjepa_factory_frames 2440\n" in page
        with pytest.raises(TinyJEPAError, match="give another port"):
            Exporter("factory", port)
    finally:
        process.terminate()
        process.communicate(timeout=20)
