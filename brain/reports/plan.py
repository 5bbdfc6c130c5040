"""``plan.html``: an agent's episodes, its imagined plans and its success rates; one file, with its video embedded."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from brain.models.decoders.trained import decode
from brain.planning.evaluation import Played
from brain.planning.paths import PathReader
from brain.reports.page import render
from brain.reports.style import COLOURS, panel, style, svg
from brain.runs.folder import write_whole
from shared.store.files import naming
from shared.video import TILE_PIXELS, grid, labelled, tile, write_video
from shared.worlds.base import World

LONGEST = 25.0
"""Maximum frames per second of the video."""
PATHS = 12
"""Number of imagined plans drawn on an episode's map."""


def write_plan(
    folder: Path,
    figures: dict[str, Any],
    shown: Sequence[Played],
    world: World,
    reader: PathReader,
    decoder: nn.Module | None,
) -> list[Path]:
    """``plan.json``, ``plan.mp4`` and ``plan.html`` into ``folder``; without ``shown`` episodes no video, nor one of an
    earlier plan. Returns the files. Raises ``OSError`` with the file's name."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / name for name in ("plan.json", "plan.mp4", "plan.html")]
    video = ""
    if shown:
        with naming(files[1]):
            write_video(files[1], pictures(shown, decoder), min(world.control_rate, LONGEST))
        video = "data:video/mp4;base64," + base64.b64encode(files[1].read_bytes()).decode()
    page = render(
        Path(__file__).parent / "plan.html", figures=figures, video=video, rows=rows(figures),
        maps=[path_map(one, world, reader) for one in shown], imagined=decoder is not None,
        plans=reader.sees(world.maps[0] if world.maps else ()),
    )  # fmt: skip
    write_whole(files[2], page)
    write_whole(files[0], json.dumps(figures, indent=1) + "\n")
    if not shown:
        files.pop(1).unlink(missing_ok=True)
    return files


def rows(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """The page's table: the agent, baselines and upper bounds."""
    agent = {"name": f"{figures['planner']['kind']} on the {figures['dynamics']}", **figures}
    return [agent, *({"name": name, **found} for name, found in figures["baselines"].items())]


def pictures(shown: Sequence[Played], decoder: nn.Module | None) -> Iterator[np.ndarray]:
    """A column per episode: the world, the goal, and, with a decoder, where the present plan is imagined to end."""
    length = max(len(one.recording.frame) for one in shown)
    ends = [[] if decoder is None else _ends(one, decoder) for one in shown]
    for step in range(length):
        tiles, lines = [], 1
        for number, one in enumerate(shown):
            now = min(step, len(one.recording.frame) - 1)
            tiles.append(labelled(tile(one.recording.frame[now]), f"{number + 1}: step {now}{_told(one, now)}"))
        if any(one.goal for one in shown):
            lines += 1
            tiles += [labelled(tile(one.goal.frame), "goal") for one in shown if one.goal]
        if decoder is not None:
            lines += 1
            for one, drawn in zip(shown, ends):
                passed = sum(decision.step <= step for decision in one.decisions)
                tiles.append(labelled(tile(drawn[max(0, passed - 1)]), "imagined end"))
        yield grid(tiles, len(tiles) // lines)


def _ends(played: Played, decoder: nn.Module) -> list[np.ndarray]:
    return [decode(decoder, decision.plan.latents[-1:])[0] for decision in played.decisions]


def _told(played: Played, step: int) -> str:
    if len(played.distances):
        return f", {played.distances[max(0, step - 1)]:.1f} away"
    return f", score {played.recording.reward[:step].sum():.0f}"


def path_map(played: Played, world: World, reader: PathReader) -> str:
    """The way taken, imagined ones where they can be read, and the goal, on the first map; empty without one."""
    names = world.maps[0] if world.maps else ()
    if not names or not set(names) <= set(world.state_names):
        return ""
    columns = [world.state_names.index(name) for name in names]
    circles = [name in world.angles for name in names]
    state = played.recording.state
    with style():
        figure, (axes,) = panel(width=3.4, height=3.2)
        every = max(1, len(played.decisions) // PATHS)
        for decision in played.decisions[::every] if reader.sees(names) else ():
            path = reader.path(decision.plan.latents)
            axes.plot(*parted(path[:, columns], circles).T, color=COLOURS["impossible"], lw=0.8, alpha=0.6)
        axes.plot(*parted(state[:, columns], circles).T, color=COLOURS["model"], lw=1.8)
        axes.plot(*state[0, columns], "o", color=COLOURS["model"], ms=5)
        if played.goal is not None:
            axes.plot(*played.goal.state[columns], "*", color="#1f8a5b", ms=11, clip_on=False)
        axes.set(xlabel=names[0], ylabel=names[1])
        for circle, axis in zip(circles, "xy"):
            if circle:
                axes.set(**{f"{axis}lim": (-np.pi, np.pi)})
        if any(axis.name == names[1] and axis.down for axis in type(world).axes(TILE_PIXELS)):
            axes.invert_yaxis()
        return svg(figure)


def parted(path: np.ndarray, circles: Sequence[bool]) -> np.ndarray:
    """A line (T, 2), with a gap wherever a coordinate on a circle passes from pi to -pi or back."""
    jumps = (np.abs(np.diff(path, axis=0)) > np.pi) & np.array(circles)
    return np.insert(path.astype(np.float64), np.flatnonzero(jumps.any(1)) + 1, np.nan, axis=0)
