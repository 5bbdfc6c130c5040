"""The same four episodes as data sets of other formats, written with the format's own library or by its schema."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import gymnasium as gym
import h5py
import hdf5plugin
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage

STEPS = (7, 3, 12, 5)
SIDE = 16
RATE = 20
ACTIONS = 2
STATES = 3


class Played(NamedTuple):
    """An episode of L steps as Gymnasium gives it: L + 1 observations, L actions and rewards."""

    frames: np.ndarray
    """uint8 (L + 1, 16, 16, 3)"""
    states: np.ndarray
    """float32 (L + 1, 3)"""
    actions: np.ndarray
    """float32 (L, 2)"""
    rewards: np.ndarray
    """float32 (L,)"""
    terminated: bool


def played(number: int) -> Played:
    """Episode ``number``: noise, the even ones terminated, the others truncated."""
    rng, steps = np.random.default_rng(number), STEPS[number]
    return Played(
        rng.integers(0, 256, (steps + 1, SIDE, SIDE, 3), dtype=np.uint8),
        rng.normal(size=(steps + 1, STATES)).astype(np.float32),
        rng.normal(size=(steps, ACTIONS)).astype(np.float32),
        rng.normal(size=steps).astype(np.float32),
        number % 2 == 0,
    )


EPISODES = [played(number) for number in range(len(STEPS))]


class Made(NamedTuple):
    """A data set that a maker wrote."""

    path: Path
    complete: bool
    """Whether it holds the observation after the last action; else an episode is one step shorter."""
    exact: bool
    """Whether its images are lossless."""
    states: bool
    """Whether it holds states."""


def minari(folder: Path) -> Made:
    path = folder / "noise-v0"
    images, acts = gym.spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8), gym.spaces.Box(-9, 9, (ACTIONS,), np.float32)
    path.mkdir()
    storage = MinariStorage.new(path / "data", images, acts, None, jpeg_encoding=False)
    buffers = []
    for number, episode in enumerate(EPISODES):
        over = np.arange(len(episode.rewards)) == len(episode.rewards) - 1
        buffers.append(
            EpisodeBuffer(
                id=number, seed=100 + number, observations=episode.frames, actions=episode.actions,
                rewards=episode.rewards, terminations=over & episode.terminated,
                truncations=over & (not episode.terminated), infos={"state": episode.states},
            )
        )  # fmt: skip
    storage.update_episodes(buffers)
    storage.update_metadata({"dataset_id": "noise-v0", "algorithm_name": "normal", "minari_version": "0.5.4"})
    return Made(path, True, True, True)


def stable_worldmodel(folder: Path) -> Made:
    """Rows as its ``World.record_dataset`` writes them: actions moved left, rewards and flags as they came."""
    path = folder / "noise.h5"
    nan = np.full((1, ACTIONS), np.nan, np.float32)
    columns: dict[str, list[np.ndarray]] = {
        "pixels": [episode.frames for episode in EPISODES],
        "goal": [np.zeros_like(episode.frames) for episode in EPISODES],
        "state": [episode.states.astype(np.float64) for episode in EPISODES],
        "action": [np.concatenate([episode.actions, nan]) for episode in EPISODES],
        "reward": [np.append(np.float32(np.nan), episode.rewards) for episode in EPISODES],
        "terminated": [np.append(np.zeros(len(e.rewards), bool), e.terminated) for e in EPISODES],
        "truncated": [np.append(np.zeros(len(e.rewards), bool), not e.terminated) for e in EPISODES],
        "step_idx": [np.arange(len(episode.frames)) for episode in EPISODES],
        "ep_idx": [np.full(len(episode.frames), number) for number, episode in enumerate(EPISODES)],
    }
    lengths = np.array([len(episode.frames) for episode in EPISODES])
    with h5py.File(path, "w", libver="latest") as file:
        for name, parts in columns.items():
            packed = hdf5plugin.Blosc(cname="lz4", clevel=5) if parts[0].ndim > 1 else {}
            file.create_dataset(name, data=np.concatenate(parts), **packed)
        file["ep_len"], file["ep_offset"] = lengths.astype(np.int32), np.cumsum(lengths) - lengths
    return Made(path, True, True, True)


def robomimic(folder: Path, next_obs: bool = False) -> Made:
    path = folder / "noise.hdf5"
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["total"] = sum(STEPS)
        arguments = {"env_name": "Noise", "env_type": 1, "env_kwargs": {"control_freq": RATE}}
        data.attrs["env_args"] = json.dumps(arguments)
        for number, episode in enumerate(EPISODES):
            demo = data.create_group(f"demo_{number}")
            demo.attrs["num_samples"] = len(episode.rewards)
            demo["actions"], demo["rewards"] = episode.actions, episode.rewards
            demo["dones"] = np.arange(len(episode.rewards)) == (len(episode.rewards) - 1 if episode.terminated else -1)
            if not next_obs:
                demo["states"] = episode.states[:-1]
            for group, rows in (("obs", slice(None, -1)), *([("next_obs", slice(1, None))] if next_obs else [])):
                demo[f"{group}/agentview_image"] = episode.frames[rows]
                demo[f"{group}/robot0_eye_in_hand_image"] = 255 - episode.frames[rows]
                demo[f"{group}/robot0_eef_pos"] = episode.states[rows]
    return Made(path, next_obs, True, True)


def npz(folder: Path) -> Made:
    path = folder / "noise"
    path.mkdir()
    for number, episode in enumerate(EPISODES):
        np.savez_compressed(
            path / f"episode-{number:03d}.npz", observations=episode.frames, actions=episode.actions,
            rewards=episode.rewards, states=episode.states, terminated=episode.terminated,
            truncated=not episode.terminated,
        )  # fmt: skip
    return Made(path, True, True, True)


def lerobot(folder: Path, video: bool = False) -> Made:
    """By the published schema of version 3.0: all episodes in one file of each kind."""
    path = folder / "noise"
    key = "observation.images.top"
    shown = {"dtype": "video" if video else "image", "shape": [SIDE, SIDE, 3], "names": ["height", "width", "channel"]}
    features: dict[str, Any] = {
        key: shown,
        "observation.state": {"dtype": "float32", "shape": [STATES], "names": ["x", "y", "z"]},
        "action": {"dtype": "float32", "shape": [ACTIONS], "names": ["u", "v"]},
        "next.reward": {"dtype": "float32", "shape": [1], "names": None},
        "next.done": {"dtype": "bool", "shape": [1], "names": None},
    }
    own = {"timestamp": "float32", **dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), "int64")}
    features |= {name: {"dtype": dtype, "shape": [1], "names": None} for name, dtype in own.items()}
    data_path = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    video_path = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    info = {
        "codebase_version": "v3.0", "robot_type": None, "total_episodes": len(STEPS), "total_frames": sum(STEPS),
        "total_tasks": 1, "chunks_size": 1000, "fps": RATE, "splits": {"train": f"0:{len(STEPS)}"},
        "data_path": data_path, "video_path": video_path if video else None, "features": features,
    }  # fmt: skip
    rows: dict[str, list[Any]] = {name: [] for name in features if not (video and name == key)}
    episodes, pictures = [], []
    for number, episode in enumerate(EPISODES):
        steps, first = STEPS[number], sum(STEPS[:number])
        about = {"episode_index": number, "tasks": ["noise"], "length": steps, "dataset_from_index": first}
        about |= {"dataset_to_index": first + steps, "data/chunk_index": 0, "data/file_index": 0}
        if video:
            about |= {f"videos/{key}/chunk_index": 0, f"videos/{key}/file_index": 0}
            about |= {
                f"videos/{key}/from_timestamp": first / RATE,
                f"videos/{key}/to_timestamp": (first + steps) / RATE,
            }
        episodes.append(about)
        pictures += list(episode.frames[:-1])
        for step in range(steps):
            values = {
                "observation.state": episode.states[step].tolist(), "action": episode.actions[step].tolist(),
                "next.reward": float(episode.rewards[step]), "next.done": step == steps - 1 and episode.terminated,
                "timestamp": step / RATE, "frame_index": step, "episode_index": number, "index": first + step,
                "task_index": 0,
            }  # fmt: skip
            if not video:
                coded = cv2.imencode(".png", cv2.cvtColor(episode.frames[step], cv2.COLOR_RGB2BGR))[1].tobytes()
                values[key] = {"bytes": coded, "path": f"frame-{step:06d}.png"}
            for name, value in values.items():
                rows[name].append(value)
    place = {"chunk_index": 0, "file_index": 0}
    tables = {
        data_path.format(**place): pa.table(rows),
        "meta/episodes/chunk-000/file-000.parquet": pa.Table.from_pylist(episodes),
        "meta/tasks.parquet": pa.table({"task_index": [0], "task": ["noise"]}),
    }
    for name, table in tables.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path / name)
    (path / "meta/info.json").write_text(json.dumps(info))
    if video:
        write_video(path / video_path.format(video_key=key, **place), pictures)
    return Made(path, False, not video, True)


def videos(folder: Path, tables: bool = True) -> Made:
    path = folder / "noise"
    for number, episode in enumerate(EPISODES):
        write_video(path / f"clip {number + 8}.mp4", list(episode.frames))
        if tables:
            with (path / f"clip {number + 8}.csv").open("w", newline="") as file:
                table = csv.writer(file)
                table.writerow(["frame", "u", "v", "reward", "terminated", "state.x", "state.y", "state.z"])
                for row, state in enumerate(episode.states):
                    last = row == len(episode.rewards)
                    acted = [0, 0, 0] if last else [*episode.actions[row], episode.rewards[row]]
                    table.writerow([row, *acted, "true" if last and episode.terminated else "false", *state])
    return Made(path, True, False, tables)


def write_video(path: Path, frames: list[np.ndarray], rate: int = RATE) -> None:
    """H.264 without a visible loss: noise still differs by a few levels from what was written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate))
        stream.width, stream.height, stream.pix_fmt = frames[0].shape[1], frames[0].shape[0], "yuv444p"
        stream.options = {"crf": "1", "g": "4", "bf": "2"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def exported(folder: Path) -> Made:
    """As ``factory export`` writes a store, whose rows are those of ``Played`` with a last action of zero."""
    path = folder / "noise.h5"
    padding = np.zeros((1, ACTIONS), np.float32)
    lengths = np.array([len(episode.frames) for episode in EPISODES])
    with h5py.File(path, "w") as file:
        file["frame"] = np.concatenate([episode.frames for episode in EPISODES])
        file["action"] = np.concatenate([np.concatenate([episode.actions, padding]) for episode in EPISODES])
        file["reward"] = np.concatenate([np.append(episode.rewards, np.float32(0)) for episode in EPISODES])
        file["state"] = np.concatenate([episode.states for episode in EPISODES])
        file.attrs["control_rate_hz"], file.attrs["state_names"] = float(RATE), ["x", "y", "z"]
        table = file.create_group("episodes")
        table["first"], table["rows"] = np.cumsum(lengths) - lengths, lengths
        table["seed"], table["policy"] = [10, 11, 12, 13], ["normal"] * len(EPISODES)
        table["terminated"] = [episode.terminated for episode in EPISODES]
        table["truncated"] = [not episode.terminated for episode in EPISODES]
    return Made(path, True, True, True)


MAKERS: dict[str, Callable[[Path], Made]] = {
    "lerobot": lerobot,
    "minari": minari,
    "stable-worldmodel": stable_worldmodel,
    "robomimic": robomimic,
    "hdf5": exported,
    "npz": npz,
    "videos": videos,
}
"""One for every registered format."""
