"""One run, frame by frame: the trajectory on display, another beside it, interventions, events and dreams."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from brain.data.windows import OnlineWindow
from brain.evaluation.interventions import Lead, Shown
from brain.live.events import Event
from brain.live.loaded import Loaded
from brain.live.pilot import Pilot
from brain.live.plane import Plane
from brain.live.rides import KEYS, PLANNER, RECORDED, WorldRide
from brain.live.violations import offered
from brain.live.watcher import Dream, Watcher
from brain.models.decoders.trained import decode
from shared.errors import TinyJEPAError
from shared.worlds.base import World

PAST = 64
"""Number of recent frames that can be played backwards."""

INTERVENTION_FRAMES = 12
"""Minimum length of an intervention in frames."""

INTERVENTION_STEPS = 3
"""Minimum length of an intervention in model steps."""

EVENTS = 5
"""Number of events kept."""

PLANE_EPISODES, PLANE_OBSERVATIONS, PLANE_GAP = 8, 16, 4
"""The latent plane is fitted to this many episodes, observations per episode, and minimum frames between them."""


@dataclass(frozen=True)
class Moment:
    """One frame and all values derived from it."""

    number: int
    frame: np.ndarray
    """uint8 (H, W, C), as shown"""
    elsewhere: np.ndarray
    """of the other trajectory, uint8 (H, W, C)"""
    energy: float | None
    elsewhere_energy: float | None
    intervention: str | None
    """the intervention that made this frame"""
    cut: bool
    """whether an episode begins here"""
    z: np.ndarray | None
    """standardised latent, float32 (D,)"""
    foreseen: np.ndarray | None
    """what was expected here one model step before, float32 (D,)"""
    place: tuple[float, float] | None
    """of the latent in the plane"""
    drawn: np.ndarray | None
    """``foreseen`` decoded, uint8 (H, W, C); None without a decoder"""
    dream: tuple[int, int, float, np.ndarray | None] | None
    """model steps done, steps in all, error, decoded frame"""


@dataclass
class Scene:
    """Advances frame by frame. Deterministic: the same run, seed, commands and keys give the same moments."""

    loaded: Loaded
    seed: int = 0
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=EVENTS))

    def __post_init__(self) -> None:
        self.policy = self.loaded.policies[0]
        self.number = 0
        timing = self.loaded.timing
        self.intervention_frames = max(INTERVENTION_FRAMES, INTERVENTION_STEPS * timing.stride)
        self.interventions = offered(self.loaded)
        self.past: list[Shown] = []
        self.other_action = np.zeros(self.loaded.spec.action_dim, np.float32)
        self._watcher = Watcher(self.loaded.model, timing, self.loaded.calibration.kind)
        self._held: frozenset[str] = frozenset()
        self._intervention: tuple[str, Iterator[Shown | Lead]] | None = None
        self._waiting: str | None = None
        self._dream: Dream | None = None
        self._dream_error = 0.0
        self._dream_frame: np.ndarray | None = None
        self._z: Tensor | None = None
        self._led = self._played = False
        self.pilot = None if self.loaded.planning is None else Pilot(self.loaded.planning, self.seed)
        self._aimed: tuple[float, float] | None = None
        self._ride, self._other = self.loaded.rides(self.seed, self.pilot)
        self._other_window = OnlineWindow(timing)
        self.plane = self._fit_plane()
        self.begin_other()
        self.restart()

    @property
    def title(self) -> str:
        return self._ride.title

    def why_not(self, intervention: str) -> str | None:
        """Why an intervention is not available in this world; None if it is."""
        if self.interventions[intervention].needs_actions and self.loaded.spec.action_dim == 0:
            return "nobody acts in this world"
        return None

    def choose_policy(self, policy: str) -> None:
        """Change the source of actions. A recorded policy and the planner begin another episode."""
        if policy not in self.loaded.policies:
            raise TinyJEPAError(f"nobody called '{policy}' can act here")
        if self.pilot and self.policy == PLANNER != policy:
            self.pilot.leave()
        self.policy = policy
        if policy.startswith(RECORDED) or policy == PLANNER:
            self.restart()

    def point(self, across: float, down: float) -> None:
        """The planner acts, towards a point of the picture: shares of its width and height, [0, 1].

        Raises ``TinyJEPAError`` where it cannot act, or points set no goals.
        """
        if self.pilot is None:
            raise TinyJEPAError(f"no planner can act here: {self.loaded.no_planner}")
        if not self.pilot.points:
            raise TinyJEPAError("a point of the picture sets no goal in this world")
        self.policy, self._aimed = PLANNER, (across, down)
        self._aim()

    def ready(self, patience: float) -> bool:
        """Whether the next frame can be made at once, or within ``patience`` seconds; else the planner is deciding."""
        if self.policy != PLANNER or self._starting or self.pilot is None or self.world is None:
            return True
        if self._intervention and self._led:
            return True  # an episode of its own, in which the planner does not act
        return self.pilot.ready(self._ride.frame, self.world.state(), patience)

    def imagined(self) -> dict[str, Any] | None:
        """What the planner imagines (``Pilot.view``), and its plan and goal in the plane; None without a planner."""
        if self.pilot is None or self.world is None:
            return None
        latents, goal = self.pilot.latents, self.pilot.goal
        drawn = {
            "plane": [] if latents is None else self.plane.places(list(latents.cpu().numpy())),
            "goal_plane": [] if goal is None else self.plane.places(list(goal.z.cpu().numpy())),
        }
        return self.pilot.view(self.world) | drawn

    def close(self) -> None:
        if self.pilot:
            self.pilot.close()

    def restart(self) -> None:
        """Begin another episode with the next frame."""
        self._starting = True

    def play(self, intervention: str) -> bool:
        """Begin an intervention with the next frame, or when the one that runs is over; the last that waits counts.

        Where an episode has just begun it waits for the second frame. False where it cannot be played in this world.
        """
        if self.why_not(intervention):
            return False
        self._waiting = intervention
        return True

    def dream(self, steps: int) -> bool:
        """Begin to dream ``steps`` model steps from the frame that is shown; False where nothing was seen yet."""
        if self._z is None or self._starting:
            return False
        self._dream = Dream(self.loaded.model, self._z, self.loaded.timing.stride, steps)
        self._dream_error = 0.0
        self._dream_frame = self._draw(self._z)
        return True

    def advance(self, held: frozenset[str] = frozenset()) -> Moment:
        """The next frame, given the keys held down."""
        timing = self.loaded.timing
        self._held = held
        self.number += 1
        self._step_other()
        intervention, shown = self._next()
        frame, action = shown or (self._begin(), None)
        cut = action is None
        if action is None:
            self._forget(frame)
        else:
            self.past = [*self.past[1 - PAST :], (frame, action)]
        reading = self._watcher.see(frame, action, self._other_window.observation())
        self._z = reading.z
        if self._dream and action is not None and self._dream.hear(action):
            self._dream_frame = self._draw(self._dream.z)
            self._dream_error = self._dream.error(reading.z) if reading.z is not None else 0.0
        if intervention:
            self._mark(intervention)
        for event in self.events:
            if event.open:
                event.follow(self.number, reading.energy, self.loaded.calibration.threshold, timing)
        z = None if reading.z is None else reading.z[0].cpu().numpy()
        return Moment(
            number=self.number,
            frame=frame,
            elsewhere=self._other.frame,
            energy=reading.energy,
            elsewhere_energy=reading.elsewhere,
            intervention=intervention,
            cut=cut,
            z=z,
            foreseen=None if reading.foreseen is None else reading.foreseen[0].cpu().numpy(),
            place=None if z is None else self.plane.places([z])[0],
            drawn=None if reading.foreseen is None else self._draw(reading.foreseen),
            dream=self._dreamt(),
        )

    def drive(self) -> Shown | None:
        action = self._ride.step(self.policy, self._held)
        return None if action is None else (self._ride.frame, action)

    def swap(self) -> None:
        self._ride, self._other = self._other, self._ride
        self._other_window.clear()
        for frame, _ in self.past:
            self._other_window.add(frame)
        self._look_again()

    @property
    def world(self) -> World | None:
        return self._ride.world

    def _next(self) -> tuple[str | None, Shown | Lead | None]:
        """The active intervention and the next frame shown; nothing if an episode has to begin.

        An intervention whose episode ends before its first frame waits for the next episode.
        """
        if self._starting:
            return None, None
        if self._intervention:
            name, frames = self._intervention
            shown = next(frames, None)
            if shown is not None:
                self._played = True
                self._led |= isinstance(shown, Lead)
                return None if isinstance(shown, Lead) else name, shown
            self._intervention = None
            if self._led:
                self._look_again()
            if not self._played:
                true = self.drive()
                if true is None:
                    self._waiting = self._waiting or name
                return None, true
        if self._waiting and len(self.past) >= 2:
            self._intervention, self._waiting = self._start(self._waiting), None
            return self._next()
        return None, self.drive()

    def _start(self, intervention: str) -> tuple[str, Iterator[Shown | Lead]]:
        self._led = self._played = False
        return intervention, self.interventions[intervention].play(self, self.intervention_frames)

    def _begin(self) -> np.ndarray:
        """Begin an episode: its first frame."""
        self._ride.begin(self.policy)
        self._starting, self._intervention = False, None
        self._aim()
        return self._ride.frame

    def _aim(self) -> None:
        """Do what ``point`` asked for, once an episode has begun."""
        if self._aimed and not self._starting and isinstance(self._ride, WorldRide):
            self._ride.aim(*self._aimed)
            self._aimed = None

    def _look_again(self) -> None:
        """The world is not what the planner's last action made of it."""
        if self.policy == PLANNER and self.pilot and isinstance(self._ride, WorldRide):
            self._ride.look_again()

    def _forget(self, frame: np.ndarray) -> None:
        """Forget the history: no transition leads to this frame."""
        self._dream = None
        self._watcher.forget()
        self.past = [(frame, np.zeros(self.loaded.spec.action_dim, np.float32))]
        for event in self.events:
            event.end(self.number)

    def _step_other(self) -> None:
        action = self._other.step(self._other_policy, frozenset())
        if action is None:
            self.begin_other()
        else:
            self.other_action = action
            self._other_window.add(self._other.frame)

    def begin_other(self) -> None:
        """Restart the other trajectory and let it run ahead."""
        self._other.begin(self._other_policy)
        self._other_window.clear()
        self._other_window.add(self._other.frame)
        for _ in range(self._other.lead):
            action = self._other.step(self._other_policy, frozenset())
            if action is None:
                break
            self.other_action = action
            self._other_window.add(self._other.frame)

    @property
    def _other_policy(self) -> str:
        """The other trajectory is never steered by hand, nor by the planner."""
        return next(name for name in (self.policy, *self.loaded.policies) if name not in (KEYS, PLANNER))

    def _mark(self, intervention: str) -> None:
        """A frame of an intervention: the event it belongs to begins, or goes on."""
        latest = self.events[-1] if self.events else None
        if latest and latest.name == intervention and latest.stop == self.number:
            latest.stop = self.number + 1
            return
        if latest:
            latest.end(self.number)
        self.events.append(Event(intervention, self.number, self.number + 1))

    def _draw(self, z: Tensor) -> np.ndarray | None:
        return None if self.loaded.decoder is None else decode(self.loaded.decoder, z)[0]

    def _dreamt(self) -> tuple[int, int, float, np.ndarray | None] | None:
        if self._dream is None:
            return None
        return self._dream.done, self._dream.steps, self._dream_error, self._dream_frame

    def _fit_plane(self) -> Plane:
        windows: list[np.ndarray] = []
        gap = max(self.loaded.timing.stride, PLANE_GAP, self._other.lead // 12)
        for _ in range(PLANE_EPISODES):
            self.begin_other()
            for frame in range(PLANE_OBSERVATIONS * gap):
                self._step_other()
                window = self._other_window.observation()
                if window is not None and frame % gap == 0:
                    windows.append(window)
        return Plane(self.loaded.model.encode(torch.from_numpy(np.stack(windows)))[:, 0].cpu().numpy())
