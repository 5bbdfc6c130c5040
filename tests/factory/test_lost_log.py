"""A lost log, from the command line: seeds and policies come from the run, and an older store's run from its data."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from factory.cli import cli
from factory.collecting.collect import collect
from factory.collecting.job import Job, make_job
from factory.export import export_store
from factory.importing import open_source
from factory.importing.importer import import_source
from shared.cli.console import run
from shared.store import layout
from shared.store.dataset import create_store
from shared.store.reader import Store
from shared.store.schema import Episode, RunSpec
from shared.store.writer import StreamWriter
from tests.factory.test_collect import assert_same_episodes
from tests.support.collecting import small_run


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, a stream each, whose episodes fit into a shard."""
    path, (spec, first) = tmp_path_factory.mktemp("lost") / "store", small_run()
    collect(path, Job(spec, first), episodes=6)
    collect(path, Job(spec, replace(first, seed=8)), episodes=4, append=True)
    return path


def lose(store: Path, seed: int) -> str:
    """Delete the log of the stream of that run; its name."""
    (name,) = [stream.name for stream in Store(store).streams.values() if stream.run and stream.run.seed == seed]
    layout.log_file(store, name).unlink()
    return name


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err
    assert error.startswith("factory: error: ") and error.count("\n") == 1, error
    return error


def test_every_command_names_it_and_the_way_back_works(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "store"
    shutil.copytree(whole, path)
    name = lose(path, 5)
    for command in (["status"], ["preview"], ["export", "--format", "npz", "--out", str(tmp_path / "npz")]):
        assert run(cli, "factory", [command[0], str(path), *command[1:]]) == 2
        assert name in one_line(capsys)
    again = ["collect", "--frame-size", "16", "--max-episode-steps", "40", "--seed", "5", "--local", "--quiet"]
    assert run(cli, "factory", [*again, "--episodes", "6", "--store", str(path)]) == 2
    assert f"--rebuild-log {name}" in one_line(capsys)
    assert run(cli, "factory", ["gc", str(path), "--older-than", "0"]) == 0
    assert "in 0 places" in capsys.readouterr().out
    assert run(cli, "factory", ["verify", str(path), "--quiet"]) == 1
    assert f"WRONG stream {name}" in capsys.readouterr().out
    assert run(cli, "factory", ["verify", str(path), "--quiet", "--json", "--rebuild-log", name]) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["faults"] == [] and "6 episodes" in output.err
    assert_same_episodes(path, whole)
    assert Store(path).episodes == Store(whole).episodes, "runs, seeds, policies and places too"


def test_the_run_of_an_older_stream_is_proven_by_its_first_episode(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Streams did not always name their run in ``zarr.json``: one that makes the same episode is the one."""
    path = tmp_path / "store"
    shutil.copytree(whole, path)
    spec, first = small_run()
    collect(path, Job(spec, first), episodes=9)
    names = [stream.name for stream in Store(path).streams.values() if stream.run == first]
    for name in names:
        document = layout.stream_directory(path, name) / "zarr.json"
        document.write_bytes(layout.stream_document(spec, name, None))
    lost = next(name for name in names if Store(path).streams[name].episodes[0].index == 6)
    before = Store(path).episodes
    layout.log_file(path, lost).unlink()
    assert run(cli, "factory", ["verify", str(path), "--quiet", "--rebuild-log", lost]) == 0, capsys.readouterr().out
    assert Store(path).episodes == before
    capsys.readouterr()
    for name in names:
        layout.log_file(path, name).unlink()
    assert run(cli, "factory", ["verify", str(path), "--quiet", "--rebuild-log", lost]) == 2
    assert "no run of the store's other streams makes" in one_line(capsys)
    assert not layout.log_file(path, lost).exists()


def test_a_module_that_a_store_names_is_imported_only_when_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from factory.collecting.job import make_job
    from tests.support import hostile

    collect(tmp_path / "store", make_job(hostile.ID, "mixed", frame_size=16), episodes=3)
    (name,) = Store(tmp_path / "store").streams
    before = Store(tmp_path / "store").episodes
    layout.log_file(tmp_path / "store", name).unlink()
    command = ["verify", str(tmp_path / "store"), "--quiet", "--rebuild-log", name]
    assert run(cli, "factory", command) == 2
    assert "--trust-world" in one_line(capsys)
    assert run(cli, "factory", [*command, "--trust-world"]) == 0
    assert Store(tmp_path / "store").episodes == before


@pytest.mark.parametrize("policy", ["mixed", "mixed-rooms"])
def test_every_mix_is_drawn_again(policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "store"
    collect(path, make_job("two-room", policy, seed=5, max_episode_steps=20), episodes=12)
    before = Store(path).episodes
    assert len({ref.policy for ref in before}) > 1
    assert run(cli, "factory", ["verify", str(path), "--quiet", "--rebuild-log", lose(path, 5)]) == 0
    assert Store(path).episodes == before


def test_of_a_recorded_plan_only_the_log_knew_the_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec, _ = small_run()
    path, recorded = tmp_path / "store", RunSpec(5, "plan-cem-0123abcd", 40)
    create_store(path, spec)
    with StreamWriter(path, spec, recorded, 0) as writer:
        fields = {
            name: np.zeros((3, width), np.float32)
            for name, width in (("action", spec.action_dim), ("state", len(spec.state_names)))
        }
        frames = np.zeros((3, *spec.frame_shape), np.uint8)
        writer.append(
            Episode(
                0, 77, "plan-cem", frames, reward=np.zeros(3, np.float32), **fields, terminated=True, truncated=False
            )
        )
    assert run(cli, "factory", ["verify", str(path), "--quiet", "--rebuild-log", lose(path, 5)]) == 0
    assert "seeds, and policies of single episodes, are not" in capsys.readouterr().out
    assert [(ref.seed, ref.policy, ref.run) for ref in Store(path).episodes] == [(0, "plan-cem", recorded)]


def test_of_an_import_only_the_log_knew_seeds_and_policies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = make_job("bouncing-logo", seed=5, frame_size=16, max_episode_steps=20)
    collect(tmp_path / "store", job, episodes=3)
    export_store(tmp_path / "store", "npz", tmp_path / "logo")
    path = tmp_path / "imported"
    import_source(open_source(tmp_path / "logo"), path)
    splits = [ref.split for ref in Store(path).episodes]
    assert run(cli, "factory", ["verify", str(path), "--quiet", "--rebuild-log", lose(path, 0)]) == 0
    assert "seeds, and policies of single episodes, are not" in capsys.readouterr().out
    assert [(ref.seed, ref.policy) for ref in Store(path).episodes] == [(k, "logo") for k in range(3)]
    assert [ref.split for ref in Store(path).episodes] == splits
