"""Collection through Ray against the same number of plain processes.

    python -m benchmarks.collection                       2 workers, three ways, interleaved
    python -m benchmarks.collection --scaling 1,2,4,8     how throughput and memory grow

* free: each process simulates its share of the episodes and forgets them.
* plain: the same, but each writes its episodes into a store with ``StreamWriter``, all fields.
* Ray: ``factory.collecting.collect.collect`` with as many workers.

The same episodes each time. Time runs from the first episode's beginning to the last commit, so neither way
pays for starting its processes; what starting costs is in ``--start``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import multiprocessing.synchronize
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from factory.collecting.collect import collect
from factory.collecting.episodes import run_episode
from factory.collecting.job import Job, make_job
from factory.collecting.progress import Quiet, Tally
from shared.store.dataset import create_store
from shared.store.reader import Store
from shared.store.writer import StreamWriter
from shared.worlds import make_world


def plain_process(
    path: Path | None,
    job: Job,
    episodes: range,
    ready: multiprocessing.synchronize.Barrier,
    frames: multiprocessing.queues.Queue[int],
) -> None:
    """Simulate, and write if there is a ``path``."""
    spec, run = job
    world = make_world(spec.world, spec.frame_shape[0], **spec.world_options)
    writer = StreamWriter(path, spec, run, episodes.start) if path else None
    ready.wait()
    rows = 0
    for k in episodes:
        episode = run_episode(world, run.policy, run.seed, k, run.max_episode_steps)
        rows += episode.rows
        if writer:
            writer.append(episode)
    if writer:
        writer.close()
    frames.put(rows)


def plain(path: Path | None, job: Job, episodes: int, workers: int) -> float:
    """Frames per second of ``workers`` processes."""
    context = multiprocessing.get_context("spawn")
    if path:
        create_store(path, job.spec)
    ready, frames = context.Barrier(workers + 1), context.Queue()
    processes = [
        context.Process(target=plain_process, args=(path, job, range(n, episodes, workers), ready, frames))
        for n in range(workers)
    ]
    for process in processes:
        process.start()
    ready.wait()
    started = time.perf_counter()
    rows = sum(frames.get() for _ in processes)
    seconds = time.perf_counter() - started
    for process in processes:
        process.join()
    return rows / seconds


class Watch(Quiet):
    """Keeps the tally of a collection."""

    tally: Tally

    def show(self, progress: int, tally: Tally, note: str = "") -> None:
        self.tally = tally


def through_ray(path: Path, job: Job, episodes: int, workers: int) -> float:
    """Frames per second from the first episode's beginning to the last commit."""
    watch = Watch()
    collect(path, job, workers=workers, display=watch, episodes=episodes)
    return watch.tally.frames_per_second


def compare(job: Job, episodes: int, workers: int, repeats: int) -> None:
    import ray

    quiet = {"log_to_driver": False, "logging_level": "ERROR", "include_dashboard": False}
    ray.init(address="local", num_cpus=max(workers, os.cpu_count() or 1), object_store_memory=100 << 20, **quiet)
    results: dict[str, list[float]] = {"free": [], "plain": [], "Ray": []}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            results["free"].append(plain(None, job, episodes, workers))
            results["plain"].append(plain(Path(folder) / "plain", job, episodes, workers))
            results["Ray"].append(through_ray(Path(folder) / "ray", job, episodes, workers))
            assert Store(Path(folder) / "ray").rows == Store(Path(folder) / "plain").rows
    ray.shutdown()
    print(f"{workers} workers, {episodes} episodes, {repeats} repeats; median [min-max]")
    for name, values in results.items():
        print(f"{name:6}{spread(values, '{:8,.0f}')} frames/s")
    for name in ("plain", "free"):
        ratios = [ours / theirs for ours, theirs in zip(results["Ray"], results[name])]
        print(f"Ray / {name:6}{spread(ratios, '{:.3f}')}")


def scaling(episodes: int, counts: list[int]) -> None:
    """Throughput and the peak memory of all processes together, each count in a process of its own."""
    print("workers  frames/s  peak memory of all processes (PSS)  of one simulator")
    for workers in counts:
        folder = Path(tempfile.mkdtemp())
        command = [sys.executable, "-m", "benchmarks.collection", "--child", str(folder / "store")]
        child = subprocess.Popen(
            [*command, "--workers", str(workers), "--episodes", str(episodes)], text=True, stdout=-1
        )
        peak, one, done = [0], [0], threading.Event()
        watcher = threading.Thread(target=watch_memory, args=(child.pid, peak, one, done))
        watcher.start()
        output, _ = child.communicate()
        done.set()
        watcher.join()
        print(f"{workers:7}  {float(output):8,.0f}  {peak[0] / 1e6:10,.0f} MB {one[0] / 1e6:31,.0f} MB", flush=True)
        shutil.rmtree(folder)


def watch_memory(pid: int, peak: list[int], one: list[int], done: threading.Event) -> None:
    """Proportional set size (shared pages counted once) of a process and all that it started."""
    while not done.wait(0.5):
        total = 0
        try:
            family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for process in family:
            try:
                size = process.memory_full_info().pss
                if "Simulator" in " ".join(process.cmdline()):
                    one[0] = max(one[0], size)
                total += size
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        peak[0] = max(peak[0], total)


def start(repeats: int) -> None:
    """Seconds from the command to the first committed-or-made episode."""
    for workers in ("1", "2"):
        seconds = []
        for _ in range(repeats):
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, "-m", "factory.cli", "collect", "--json", "--workers", workers]
                began = time.perf_counter()
                child = subprocess.Popen([*command, "--frames", "1200", "--store", f"{folder}/s"], stdout=-1, text=True)
                while not list(Path(folder).glob("s/log/*.jsonl")):
                    time.sleep(0.005)
                seconds.append(time.perf_counter() - began)
                child.communicate()
        print(f"--workers {workers}: first episode made {spread(seconds, '{:.1f}')} s after the command")


def spread(values: list[float], form: str) -> str:
    low, high = (form.format(value).strip() for value in (min(values), max(values)))
    return f"{form.format(statistics.median(values))} [{low}-{high}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--episodes", type=int, default=120, help="of up to 401 frames")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scaling", metavar="1,2,4,8")
    parser.add_argument("--start", action="store_true")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    job = make_job("car-racing")
    if options.child:
        print(through_ray(options.child, job, options.episodes, options.workers))
    elif options.scaling:
        scaling(options.episodes, [int(count) for count in options.scaling.split(",")])
    elif options.start:
        start(options.repeats)
    else:
        compare(job, options.episodes, options.workers, options.repeats)


if __name__ == "__main__":
    main()
