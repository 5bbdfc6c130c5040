"""Collections are the same whatever the number of workers and whoever dies on the way: real Ray, real kill -9."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from factory.cluster.session import _guard
from factory.collecting.collect import collect
from factory.collecting.episodes import episode_seeds, run_episode
from factory.collecting.job import Job, make_job
from factory.collecting.progress import Quiet, Tally
from factory.collecting.schedule import Plan
from shared.cli.runlog import keep
from shared.errors import TinyJEPAError
from shared.store.reader import Store
from shared.worlds import make_world
from tests import ROOT
from tests.support import hostile
from tests.support.collecting import small_run

FRAMES = 1200


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    """One Ray for all collections of this module that run in this process."""
    _guard(None)  # the mode of every Ray of this process: it keeps the first one it sees
    import ray

    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run, collected by one process that nobody disturbs."""
    path = tmp_path_factory.mktemp("undisturbed") / "store"
    collect(path, small_run(), FRAMES)
    return path


def assert_same_episodes(a: Path, b: Path) -> None:
    ours, theirs = Store(a), Store(b)
    assert [ref.index for ref in ours.episodes] == [ref.index for ref in theirs.episodes]
    for one, other in zip(ours.episodes, theirs.episodes):
        assert (one.seed, one.policy, one.rows, one.terminated) == (
            other.seed,
            other.policy,
            other.rows,
            other.terminated,
        )
        mine, yours = ours.read_episode(one), theirs.read_episode(other)
        for field in mine:
            assert np.array_equal(mine[field], yours[field]), f"episode {one.index}: {field}"


def writers(path: Path) -> dict[int, int]:
    """Commits so far by the process id of every stream that is not closed."""
    found = {}
    for log in path.glob("log/*.jsonl"):
        lines = [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
        if lines and "closed" not in lines[-1]:
            found[lines[0]["pid"]] = len(lines) - 1
    return found


def await_commits(path: Path, commits: int, process: subprocess.Popen[str]) -> None:
    """Return once the streams being written to have that many commits; the process must still run then."""
    while sum(writers(path).values()) < commits:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    assert process.poll() is None


# The plan


def test_the_plan_gives_the_same_episodes_in_any_order_and_with_any_losses() -> None:
    for trial in range(200):
        rng = random.Random(trial)
        lengths = [rng.randint(1, 30) for _ in range(400)]
        goal, workers = rng.randint(1, 900), rng.choice([1, 2, 5, 40])
        have = {k: lengths[k] for k in range(60) if rng.random() < rng.choice([0, 0.5, 1])}
        plan, flying, made = Plan(goal, 30, have), set(), set(have)
        while not plan.finished:
            while len(flying) < workers and (k := plan.take()) is not None:
                assert k not in flying and k not in made
                flying.add(k)
            if flying and rng.random() < 0.2:
                lost = set(rng.sample(sorted(flying), rng.randint(1, len(flying))))
                lost |= set(rng.sample(sorted(made), min(2, len(made)))) & set(range(plan.episodes))
                flying, made = flying - lost, made - lost
                plan.lost(lost)
            elif flying:
                k = rng.choice(sorted(flying))
                flying.discard(k)
                made.add(k)
                plan.done(k, lengths[k])
        smallest = next(n for n in range(1, 400) if sum(lengths[:n]) >= goal)
        assert plan.episodes == smallest and plan.rows == sum(lengths[:smallest])
        assert plan.missing(made) == set()


# Without Ray


def test_a_store_holds_exactly_the_episodes_of_its_run(undisturbed: Path) -> None:
    store = Store(undisturbed)
    spec = store.spec
    assert [ref.index for ref in store.episodes] == list(range(len(store.episodes)))
    assert store.rows >= FRAMES > store.rows - store.episodes[-1].rows
    world = make_world(spec.world, 16)
    for ref in reversed(store.episodes[::7]):
        episode, stored = run_episode(world, "mixed", 5, ref.index, 40), store.read_episode(ref)
        assert (ref.seed, ref.policy) == (episode.seed, episode.policy)
        for field in ("frame", "action", "reward", "state"):
            assert np.array_equal(stored[field], getattr(episode, field))


def test_an_episode_that_is_lost_twice_is_made_once() -> None:
    """As when a worker dies while it closes its stream: its end is told, and its episodes are not in the store."""
    plan = Plan(4, 1, {}, counts_rows=False)
    assert [plan.take() for _ in range(4)] == [0, 1, 2, 3]
    plan.lost({2, 3})
    plan.lost({2, 3})
    assert [plan.take() for _ in range(3)] == [2, 3, None]


def test_a_finished_store_is_left_alone_and_a_higher_goal_extends_it(tmp_path: Path, undisturbed: Path) -> None:
    path = tmp_path / "store"
    assert collect(path, small_run(), 300).new_frames >= 300
    before = sorted((file, file.stat().st_mtime_ns) for file in path.rglob("*"))
    again = collect(path, small_run(), 200, workers=2)
    assert again.new_frames == 0 and again.frames >= 200
    assert sorted((file, file.stat().st_mtime_ns) for file in path.rglob("*")) == before
    collect(path, small_run(), FRAMES)
    assert_same_episodes(path, undisturbed)


def test_another_run_does_not_mix_into_a_store(undisturbed: Path) -> None:
    spec, run = small_run()
    with pytest.raises(TinyJEPAError, match="has world_options"):
        collect(undisturbed, Job(spec.model_copy(update={"world_options": {"hud": True}}), run), FRAMES)
    for change in ({"seed": 6}, {"policy": "uniform"}, {"max_episode_steps": 41}):
        with pytest.raises(TinyJEPAError, match=f"{next(iter(change)).replace('_', ' ')}.*--append"):
            collect(undisturbed, Job(spec, replace(run, **change)), FRAMES)


def test_append_adds_a_run_and_leaves_the_others_alone(tmp_path: Path) -> None:
    path, (spec, run) = tmp_path / "store", small_run()
    collect(path, Job(spec, run), 200)
    first = {ref: Store(path).read_episode(ref)["frame"] for ref in Store(path).episodes}
    other = Job(spec, replace(run, seed=6))
    assert collect(path, other, 100, append=True).frames >= 100
    assert collect(path, other, 200).new_frames > 0, "a run that is there goes on without --append"
    assert collect(path, Job(spec, run), 200).new_frames == 0
    store = Store(path)
    assert store.runs == [run, other.run] and store.rows >= 400
    for ref, frames in first.items():
        assert np.array_equal(store.read_episode(ref)["frame"], frames)
    assert [ref.index for ref in store.episodes if ref.run == other.run] == list(
        range(len(store.episodes) - len(first))
    )


def test_episodes_as_a_goal(tmp_path: Path) -> None:
    done = collect(tmp_path / "store", small_run(), episodes=3)
    assert done.episodes == 3 == len(Store(tmp_path / "store").episodes)
    assert collect(tmp_path / "store", small_run(), episodes=3, workers=2).new_frames == 0
    assert collect(tmp_path / "store", small_run(), episodes=5, workers=2).episodes == 5
    assert [ref.index for ref in Store(tmp_path / "store").episodes] == [0, 1, 2, 3, 4]


def test_an_error_in_the_world_names_the_episode_and_keeps_the_rest(tmp_path: Path) -> None:
    seed, _ = episode_seeds(0, 4)
    job = make_job(hostile.ID, "uniform", options={"poison": seed, "how": "raise"}, frame_size=16)
    with pytest.raises(TinyJEPAError) as caught:
        collect(tmp_path / "store", job, 200)
    message = str(caught.value)
    assert f"episode 4 (world seed {seed})" in message and "RuntimeError: the floor gave way" in message
    assert [ref.index for ref in Store(tmp_path / "store").episodes] == [0, 1, 2, 3]


def test_a_full_disk_is_one_line_and_loses_nothing_committed(tmp_path: Path) -> None:
    """A limit on file size stands for the full disk: both are an OSError in the middle of a write."""
    path = tmp_path / "store"
    code = (
        "import resource, sys; from pathlib import Path; from tests.support.collecting import small_run;"
        "from factory.collecting.collect import collect; from shared.errors import TinyJEPAError;"
        "spec = small_run(); path = Path(sys.argv[1]); collect(path, spec, 300);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))\n"
        "try: collect(path, spec, 1200)\n"
        "except TinyJEPAError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"cannot write to {path}: File too large") and done.stdout.count("\n") == 1
    assert Store(path).rows >= 300
    collect(path, small_run(), 400)
    assert Store(path).rows >= 400


# On Ray


@pytest.mark.parametrize("workers", [2, 4])
def test_any_number_of_workers_makes_the_same_episodes(
    ray_here: None, tmp_path: Path, undisturbed: Path, workers: int
) -> None:
    done = collect(tmp_path / "store", small_run(), FRAMES, workers)
    assert_same_episodes(tmp_path / "store", undisturbed)
    store = Store(tmp_path / "store")
    assert done.frames == store.rows and done.episodes == len(store.episodes)
    assert all(stream.closed for stream in store.streams.values())
    assert 2 <= len(store.streams) <= workers  # one that starts late may find nothing left to do


class Killer(Quiet):
    """A display that kills the simulators with -9, one after the other, once each has committed something."""

    def __init__(self, path: Path, victims: int) -> None:
        self.path, self.victims = path, victims
        self.killed: list[int] = []

    def show(self, rows: int, tally: Tally, note: str = "") -> None:
        ready = [pid for pid, commits in writers(self.path).items() if commits and pid not in self.killed]
        if ready and len(self.killed) < self.victims:
            os.kill(ready[0], signal.SIGKILL)
            self.killed.append(ready[0])


@pytest.mark.system
def test_killed_simulators_cost_nothing_but_time(ray_here: None, tmp_path: Path, undisturbed: Path) -> None:
    path = tmp_path / "store"
    killer = Killer(path, victims=3)
    with keep() as log:
        log.open(tmp_path / "run.log")
        collect(path, small_run(), FRAMES, workers=2, display=killer)
    text = (tmp_path / "run.log").read_text()
    assert len(re.findall(r"WARNING  simulator \d died \(.+\): \d+ of its episodes are committed", text)) == 3
    assert len(re.findall(r"INFO     simulator \d is at work, process \d+", text)) >= 4
    assert len(killer.killed) == 3
    streams = Store(path).streams.values()
    assert sum(not stream.closed for stream in streams) == 3 and len(streams) >= 4
    assert_same_episodes(path, undisturbed)


@pytest.mark.system
def test_an_episode_that_kills_its_simulator_again_and_again_ends_the_collection(
    ray_here: None, tmp_path: Path
) -> None:
    seed, _ = episode_seeds(0, 6)
    job = make_job(hostile.ID, "uniform", options={"poison": seed}, frame_size=16)
    job = Job(job.spec.model_copy(update={"inner_rows": 4, "shard_rows": 8}), job.run)
    with pytest.raises(TinyJEPAError) as caught:
        collect(tmp_path / "store", job, 300, workers=2)
    assert f"episode 6 (world seed {seed}) killed its simulator 3 times" in str(caught.value)
    kept = {ref.index for ref in Store(tmp_path / "store").episodes}
    assert len(kept) >= 3 and 6 not in kept


def test_an_error_in_an_actor_is_one_line_too(ray_here: None, tmp_path: Path) -> None:
    seed, _ = episode_seeds(0, 6)
    job = make_job(hostile.ID, "uniform", options={"poison": seed, "how": "raise"}, frame_size=16)
    with pytest.raises(TinyJEPAError) as caught:
        collect(tmp_path / "store", job, 300, workers=2)
    assert f"episode 6 (world seed {seed}): RuntimeError: the floor gave way" in str(caught.value)
    assert "\n" not in str(caught.value)
    store = Store(tmp_path / "store")
    assert store.rows > 0 and all(stream.closed for stream in store.streams.values())


# Processes of their own


@pytest.mark.system
def test_a_killed_head_start_costs_nothing_but_time(tmp_path: Path, undisturbed: Path) -> None:
    """The plain process that simulates while Ray starts dies in the middle of its work."""
    path = tmp_path / "store"
    command = [sys.executable, "-m", "tests.support.collecting", str(path), str(FRAMES), "2"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as driver:
        await_commits(path, 1, driver)
        (early,) = writers(path)
        assert f"PPid:\t{driver.pid}\n" in Path(f"/proc/{early}/status").read_text()
        os.kill(early, signal.SIGKILL)
        output, _ = driver.communicate()
    assert driver.returncode == 0, output
    assert_same_episodes(path, undisturbed)
    assert sum(not stream.closed for stream in Store(path).streams.values()) == 1


@pytest.mark.system
def test_a_killed_driver_goes_on_where_it_was(tmp_path: Path, undisturbed: Path) -> None:
    path = tmp_path / "store"
    command = [sys.executable, "-m", "tests.support.collecting", str(path), "100000", "2"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as driver:
        await_commits(path, 3, driver)
        driver.kill()
    collect(path, small_run(), FRAMES)
    assert Store(path).rows >= FRAMES
    episodes = len(Store(undisturbed).episodes)
    assert [ref.index for ref in Store(path).episodes[:episodes]] == list(range(episodes))
    world = make_world("car-racing", 16)
    for ref in Store(path).episodes[:episodes:4]:
        episode = run_episode(world, "mixed", 5, ref.index, 40)
        assert np.array_equal(Store(path).read_episode(ref, "frame")["frame"], episode.frame)


@pytest.mark.system
@pytest.mark.parametrize(("workers", "number"), [("1", signal.SIGTERM), ("2", signal.SIGINT)])
def test_ctrl_c_commits_what_is_there_and_the_next_run_goes_on(
    tmp_path: Path, workers: str, number: signal.Signals
) -> None:
    """The signal goes to the whole process group, as a terminal sends it."""
    path = tmp_path / "store"
    command = [sys.executable, "-m", "factory.cli", "collect", "--frame-size", "16", "--max-episode-steps", "40"]
    command += ["--store", str(path), "--workers", workers]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as driver:
        while not writers(path):
            assert driver.poll() is None, driver.communicate()
            time.sleep(0.01)
        os.killpg(driver.pid, number)
        _, errors = driver.communicate()
    assert driver.returncode == 130 and "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("factory: interrupted"), errors
    store = Store(path)
    assert store.rows > 0 and all(stream.closed for stream in store.streams.values())
    goal = store.rows + 100
    command[-1] = "1"
    done = subprocess.run([*command, "--frames", str(goal)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "new in" in done.stdout, done.stderr
    store.refresh()
    assert store.rows >= goal and [ref.index for ref in store.episodes] == list(range(len(store.episodes)))
