"""A scene in real time: a thread that advances it and executes viewers' commands."""

from __future__ import annotations

import contextlib
import itertools
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from brain.live.loaded import Loaded
from brain.live.messages import Command, Packed, pack, plan_text, scene_state
from brain.live.scene import Scene
from shared.errors import TinyJEPAError

SPEEDS = (0.1, 0.25, 0.5, 1.0, 2.0)
"""Speeds relative to real time; a machine that cannot keep up runs as fast as it can."""

LONGEST_DREAM = 60
"""Model steps."""

PATIENCE = 0.04
"""Seconds to wait for a decision of the planner before the page is told that it is planning."""

PAUSED = 0.1
"""Seconds after which a show that is paused looks whether it is to stop, and what the planner does."""

WAITING = 256
"""Maximum number of queued commands; more are dropped."""


class Audience(Protocol):
    """The recipients of moments and states; called from the show's thread."""

    def state(self, state: dict[str, Any], fresh: bool) -> None:
        """The state changed; ``fresh`` when another scene begins, so that earlier points mean nothing now."""

    def moment(self, packed: Packed) -> None: ...

    def plan(self, plan: str) -> None:
        """What the planner imagines, as JSON."""


class Show(threading.Thread):
    """Runs one scene at a time. All methods but ``run`` may be called from any thread."""

    def __init__(self, runs: Mapping[str, Loaded], audience: Audience, on_failure: Callable[[BaseException], None]):
        super().__init__(name="show", daemon=True)
        self.runs = runs
        self._audience, self._on_failure = audience, on_failure
        self._commands: queue.Queue[Command] = queue.Queue(WAITING)
        self._watched = threading.Event()
        self._stopping = False
        self._keys: dict[object, frozenset[str]] = {}
        self._holding = threading.Lock()
        self._run = next(iter(runs))
        self._playing, self._speed, self._problem = True, 1.0, ""
        self._scenes, self._server = 0, secrets.token_hex(8)  # a page left open may find another server

    def ask(self, command: Command) -> None:
        """Queue a command; dropped where too many wait."""
        with contextlib.suppress(queue.Full):
            self._commands.put_nowait(command)

    def hold(self, viewer: object, keys: Iterable[str]) -> None:
        """The keys that a viewer holds now; the world hears those of all viewers."""
        with self._holding:
            self._keys.pop(viewer, None)
            if found := frozenset(keys):
                self._keys[viewer] = found

    def watched(self, by: int) -> None:
        """The number of viewers. A show without viewers pauses."""
        if by:
            self._watched.set()
        else:
            self._watched.clear()

    def stop(self) -> None:
        self._stopping = True
        self._watched.set()

    def run(self) -> None:
        try:
            self._open(self._run)
            self._play()
        except BaseException as error:
            self._on_failure(error)
        finally:
            self._close()

    def _play(self) -> None:
        due, wanted = time.perf_counter(), False
        while not self._stopping:
            self._watched.wait()
            until_due = 0.0 if wanted else max(0.0, due - time.perf_counter())
            wanted |= self._obey(until_due if self._playing or wanted else PAUSED)
            now = time.perf_counter()
            due = min(due, now + self._period)  # the speed may have changed
            if not (wanted or (self._playing and now >= due)) or not self._scene.ready(PATIENCE):
                self._tell_plan()
                continue
            wanted = False
            self._advance()
            now = time.perf_counter()
            due += self._period
            if due < now - 0.2 or not self._playing:
                due = now  # too slow, or just woken: no race to make up for it

    @property
    def _period(self) -> float:
        """Seconds between two frames."""
        return 1 / (self._scene.loaded.spec.control_rate * self._speed)

    def _advance(self) -> None:
        with self._holding:
            held = frozenset(itertools.chain.from_iterable(self._keys.values()))
        before = [(event.start, event.stop, event.open, event.seen) for event in self._scene.events]
        try:
            moment = self._scene.advance(held)
        except TinyJEPAError as error:  # bytes of a stored episode are damaged: say so, and let people choose another
            self._problem, self._playing = str(error), False
            self._scene.restart()
            self._tell()
            return
        self._audience.moment(pack(moment))
        self._tell_plan()
        after = [(event.start, event.stop, event.open, event.seen) for event in self._scene.events]
        if moment.cut or before != after:
            self._tell()

    def _obey(self, wait: float) -> bool:
        """Execute queued commands; returns whether one frame is wanted. Waits for one, at most ``wait`` seconds."""
        step, changed = False, False
        with contextlib.suppress(queue.Empty):
            command = self._commands.get(timeout=wait)
            while True:
                changed, self._problem = True, ""
                step |= command.do == "step"
                try:
                    self._do(command)
                except TinyJEPAError as error:
                    self._problem = str(error)
                command = self._commands.get_nowait()
        if changed:
            self._tell()
            self._tell_plan()
        return step

    def _do(self, command: Command) -> None:
        value = command.value
        if command.do == "play":
            self._playing = True
        elif command.do in ("pause", "step"):
            self._playing = False
        elif command.do == "speed":
            if value not in SPEEDS:
                raise TinyJEPAError(f"speed is one of {', '.join(str(speed) for speed in SPEEDS)}")
            self._speed = value
        elif command.do == "intervention":
            if not isinstance(value, str) or value not in self._scene.interventions:
                raise TinyJEPAError(f"an intervention is one of {', '.join(self._scene.interventions)}")
            self._scene.play(value)
            self._playing = True
        elif command.do == "policy":
            self._scene.choose_policy(str(value))
        elif command.do == "goal":
            self._scene.point(*_shares(value))
            self._playing = True
        elif command.do == "restart":
            self._scene.restart()
        elif command.do == "dream":
            steps = value if isinstance(value, int) and not isinstance(value, bool) else 0
            if not 1 <= steps <= LONGEST_DREAM:
                raise TinyJEPAError(f"a dream has 1 to {LONGEST_DREAM} steps")
            self._scene.dream(steps)
            self._playing = True
        elif command.do == "run":
            if not isinstance(value, str) or value not in self.runs:
                raise TinyJEPAError("there is no such run")
            self._open(value)

    def _open(self, run: str) -> None:
        scene = Scene(self.runs[run])  # raises where the run's episodes are damaged: the old scene then goes on
        self._close()
        self._scene, self._run = scene, run
        self._scenes += 1
        self._drawn: tuple[int, int] = (-1, -1)
        self._tell(fresh=True)

    def _close(self) -> None:
        if hasattr(self, "_scene"):
            self._scene.close()

    def _tell_plan(self) -> None:
        """Tell what the planner imagines, where that has changed; ten times a second while it decides."""
        pilot = self._scene.pilot
        now = (-1, -1) if pilot is None else (pilot.version, int(10 * (pilot.busy or 0)))
        if now != self._drawn and (imagined := self._scene.imagined()) is not None:
            self._drawn = now
            self._audience.plan(plan_text(imagined))

    def _tell(self, fresh: bool = False) -> None:
        state = {
            "server": self._server,
            "scene": self._scenes,
            "runs": [[key, self._label(loaded), loaded.spec.world] for key, loaded in self.runs.items()],
            "run": self._run,
            "playing": self._playing,
            "speed": self._speed,
            "speeds": SPEEDS,
            "longest_dream": LONGEST_DREAM,
            "problem": self._problem,
        }
        self._audience.state(state | scene_state(self._scene), fresh)

    def _label(self, loaded: Loaded) -> str:
        """The folder's name, or its path if another run has the same name."""
        names = [one.path.resolve().name for one in self.runs.values()]
        name = loaded.path.resolve().name
        return name if names.count(name) == 1 else str(loaded.path)


def _shares(value: Any) -> tuple[float, float]:
    """A point of the picture. Raises ``TinyJEPAError`` for anything else."""
    if isinstance(value, list) and len(value) == 2 and all(type(share) in (int, float) for share in value):
        across, down = value
        if 0 <= across <= 1 and 0 <= down <= 1:
            return float(across), float(down)
    raise TinyJEPAError("a goal is a point of the picture: two shares of its width and height, 0 to 1")
