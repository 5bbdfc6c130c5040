"""A human drives: a window, the keyboard, and episodes of policy ``human`` in the same kind of store."""

from __future__ import annotations

import inspect
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from factory.collecting.episodes import episode_seeds
from factory.collecting.job import Job, as_stored
from shared.errors import TinyJEPAError
from shared.store.claim import Claim
from shared.store.dataset import create_store
from shared.store.reader import Store
from shared.store.schema import Episode
from shared.store.writer import StreamWriter
from shared.worlds import WORLDS, make_world
from shared.worlds.base import World
from shared.worlds.episode import Step, play, record
from shared.worlds.policy import keyed_action

HUMAN = "human"
WINDOW_SIDE = 512
"""Longer side of the picture in the window, in pixels, where the world draws none of its own."""


@dataclass
class Controls:
    """What the keyboard said since it was asked last."""

    held: set[str]
    """pygame's names of the keys that are down now"""
    again: bool = False
    """End this episode and begin another (R, or Enter)."""
    leave: bool = False
    """Escape, or the window was closed."""
    paused: bool = False
    """Space toggles it."""


class Window:
    """A pygame window that shows pictures and reads keys; raises ``TinyJEPAError`` where there is no display."""

    def __init__(self, title: str) -> None:
        where = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
        if sys.platform.startswith("linux") and not any(os.environ.get(name) for name in where):
            raise TinyJEPAError(
                "there is no display here (DISPLAY is not set): drive on a machine with a screen, or over ssh -X"
            )
        try:
            import pygame
        except ImportError:
            raise TinyJEPAError("pygame is not installed: pip install 'tinyjepa[factory]'") from None
        self._pygame = pygame
        try:
            pygame.display.init()
            pygame.font.init()
            self._screen = pygame.display.set_mode((600, 400), pygame.RESIZABLE)
        except pygame.error as error:
            raise TinyJEPAError(f"no window can be opened ({error}): check DISPLAY and its rights") from error
        pygame.display.set_caption(title)
        self._controls = Controls(set())

    def controls(self) -> Controls:
        """Take in what happened since the last call."""
        self._controls.again = False
        for event in self._pygame.event.get():
            self._hear(event)
        return self._controls

    def show(self, picture: np.ndarray, caption: str) -> None:
        """Draw an RGB picture, uint8 ``(H, W, 3)``, and a line of text, as large as the window allows."""
        pygame = self._pygame
        width, height = self._screen.get_size()
        scale = min(width / picture.shape[1], height / picture.shape[0])
        size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
        surface = pygame.transform.scale(pygame.surfarray.make_surface(picture.swapaxes(0, 1)), size)
        self._screen.fill((0, 0, 0))
        self._screen.blit(surface, ((width - size[0]) // 2, (height - size[1]) // 2))
        text = pygame.font.Font(None, 22).render(caption, True, (255, 255, 255), (0, 0, 0))
        self._screen.blit(text, (6, 6))
        pygame.display.flip()

    def close(self) -> None:
        self._pygame.display.quit()

    def _hear(self, event: Any) -> None:
        pygame, controls = self._pygame, self._controls
        if event.type == pygame.QUIT:
            controls.leave = True
        elif event.type == pygame.KEYUP:
            controls.held.discard(pygame.key.name(event.key))
        elif event.type == pygame.KEYDOWN:
            name = pygame.key.name(event.key)
            controls.held.add(name)
            controls.leave |= name == "escape"
            controls.again |= name in ("r", "return")
            controls.paused ^= name == "space"


def drive(path: Path, job: Job, window: Window) -> tuple[int, int]:
    """Record episodes until the driver leaves; returns how many, and their frames.

    Each is committed when it ends, so a crash costs the one in hand at most. One that is left before its
    second frame is not kept. Raises ``TinyJEPAError`` for a world without keys or a store of another world.
    """
    spec, run = job
    world = make_world(spec.world, spec.frame_shape[0], **_with_pictures(spec.world, spec.world_options))
    if not world.keys:
        raise TinyJEPAError(f"world '{spec.world}' has no keys to drive it by")
    path = path.absolute()
    spec = create_store(path, as_stored(path, job).spec)
    with Claim(path, run):
        return _record(path, Job(spec, run), world, window)


def _record(path: Path, job: Job, world: World, window: Window) -> tuple[int, int]:
    spec, run = job
    taken = [ref.index for ref in Store(path).episodes if ref.run == run]
    first = max(taken, default=-1) + 1
    episodes = frames = 0
    try:
        while not window.controls().leave:
            episode = drive_episode(world, run.seed, first + episodes, run.max_episode_steps, window)
            if episode.rows < 2:
                continue
            with StreamWriter(path, spec, run, 0) as writer:
                writer.append(episode)
            episodes += 1
            frames += episode.rows
    finally:
        window.close()
        world.close()
    return episodes, frames


class Keyboard:
    """The policy of the person at the keyboard of a window."""

    def __init__(self, world: World, window: Window) -> None:
        self._world, self._window = world, window

    def act(self, frame: np.ndarray, state: np.ndarray) -> np.ndarray:
        return keyed_action(self._world, self._window.controls().held)


def drive_episode(world: World, run_seed: int, k: int, max_steps: int, window: Window) -> Episode:
    """One episode, at the world's control rate where the machine can keep up."""
    seed, _ = episode_seeds(run_seed, k)
    steps = play(world, seed, lambda: Keyboard(world, window), max_steps)
    recording = record(world, _shown(steps, world, f"episode {k}", window), max_steps)
    return Episode(index=k, seed=seed, policy=HUMAN, **recording._asdict())


def _shown(steps: Iterator[Step], world: World, title: str, window: Window) -> Iterator[Step]:
    """The steps as they are shown, each when it is due, until the driver wants no more of them."""
    total, due = 0.0, time.perf_counter()
    for number, step in enumerate(steps):
        yield step
        total += step.reward
        caption = f"{title}, {number / world.control_rate:.1f} s, return {total:.1f}"
        if number:
            due += 1 / world.control_rate
            if (spare := due - time.perf_counter()) > 0 or number % 4 == 0:
                window.show(_picture(world, step.frame), caption)
                time.sleep(max(0.0, due - time.perf_counter()))
            if spare < -1:
                due = time.perf_counter()
        while (controls := window.controls()).paused and not (controls.leave or controls.again):
            window.show(_picture(world, step.frame), f"{caption} - paused: space goes on, R again, Esc leaves")
            time.sleep(0.02)
            due = time.perf_counter()
        if controls.leave or controls.again:
            return


def _with_pictures(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Options that make the world draw for people too, where it can."""
    if name in WORLDS and "render_mode" in inspect.signature(WORLDS.get(name)).parameters:
        return {**options, "render_mode": "rgb_array"}
    return options


def _picture(world: World, frame: np.ndarray) -> np.ndarray:
    """The world's own drawing, or its frame enlarged; RGB uint8."""
    picture = world.render()
    if isinstance(picture, np.ndarray):
        return picture
    scale = WINDOW_SIDE / max(frame.shape[:2])
    picture = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    return picture if picture.ndim == 3 else cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
