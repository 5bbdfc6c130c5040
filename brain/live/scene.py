"""One run, frame by frame: the trajectory on display, another beside it, interventions, events and dreams."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from brain.data.windows import OnlineWindow, Timing
from brain.evaluation.interventions import Lead, Shown
from brain.live.loaded import Loaded
from brain.live.rides import KEYS, RECORDED
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

PATIENCE = 100
"""Frames after which an event that has not ended is given up."""


@dataclass
class Event:
    """An impossible event and the energy's response. Times are frame numbers."""

    name: str
    start: int
    stop: int
    """first true frame after it"""
    peak: float = 0.0
    seen: int | None = None
    """first frame above the threshold"""
    over: int | None = None
    """frame from which the energy stays below the threshold, or at which its episode ended"""
    open: bool = True
    calm: int = 0

    def follow(self, number: int, energy: float | None, threshold: float | None, timing: Timing) -> None:
        """Take in a frame's energy.

        Its peak, and whether it is seen, count while a frame of it is still part of a judged transition. It is over
        once the energy stays below the threshold for a model step.
        """
        if energy is None:
            return
        above = threshold is not None and energy > threshold
        if number < self.stop + timing.history + timing.stride:
            self.peak = max(self.peak, energy)
            if above and self.seen is None:
                self.seen = number
        self.calm = 0 if above or number < self.stop else self.calm + 1
        if self.calm >= timing.stride and self.seen is not None:
            self.over = number - self.calm + 1
        self.open = self.over is None and number < self.stop + PATIENCE

    def end(self, number: int) -> None:
        """Its episode ends at frame ``number``, and with it an event that was detected."""
        if self.open and self.seen is not None:
            self.over = number
        self.open = False


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
        self._ride, self._other = self.loaded.rides(self.seed)
        self._other_window = OnlineWindow(timing)
        self._plane, self.cloud = self._fit_plane()
        self._begin_other()
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
        """Change the source of actions. A recorded policy begins another episode."""
        if policy not in self.loaded.policies:
            raise TinyJEPAError(f"nobody called '{policy}' can act here")
        self.policy = policy
        if policy.startswith(RECORDED):
            self.restart()

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
            place=None if z is None else self._place(z),
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

    @property
    def world(self) -> World | None:
        return self._ride.world

    def _next(self) -> tuple[str | None, Shown | Lead | None]:
        """The active intervention and the next frame shown; nothing if an episode has to begin."""
        if self._starting:
            return None, None
        if self._intervention:
            name, frames = self._intervention
            shown = next(frames, None)
            if shown is not None:
                return None if isinstance(shown, Lead) else name, shown
            self._intervention = None
        if self._waiting and len(self.past) >= 2:
            self._intervention, self._waiting = self._start(self._waiting), None
            return self._next()
        return None, self.drive()

    def _start(self, intervention: str) -> tuple[str, Iterator[Shown | Lead]]:
        return intervention, self.interventions[intervention].play(self, self.intervention_frames)

    def _begin(self) -> np.ndarray:
        """Begin an episode: its first frame."""
        self._ride.begin(self.policy)
        self._starting, self._intervention = False, None
        return self._ride.frame

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
            self._begin_other()
        else:
            self.other_action = action
            self._other_window.add(self._other.frame)

    def _begin_other(self) -> None:
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
        """The other trajectory is never steered by hand."""
        return self.policy if self.policy != KEYS else self.loaded.policies[0]

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

    def _fit_plane(self) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
        """The two directions in which latents vary most, (mean (D,), (D, 2)), and the latents there, (N, 2).

        Sets ``spread`` as well, the standard deviation of those latents over all dimensions.
        """
        windows: list[np.ndarray] = []
        gap = max(self.loaded.timing.stride, PLANE_GAP, self._other.lead // 12)
        for _ in range(PLANE_EPISODES):
            self._begin_other()
            for frame in range(PLANE_OBSERVATIONS * gap):
                self._step_other()
                window = self._other_window.observation()
                if window is not None and frame % gap == 0:
                    windows.append(window)
        z = self.loaded.model.encode(torch.from_numpy(np.stack(windows)))[:, 0].cpu().numpy()
        z = z.reshape(len(z), -1)
        self.spread = max(float(z.std()), 1e-6)
        fitted = PCA(min(2, *z.shape), svd_solver="full").fit(z)
        axes = np.zeros((z.shape[1], 2), z.dtype)
        axes[:, : fitted.n_components_] = fitted.components_.T / np.maximum(np.sqrt(fitted.explained_variance_), 1e-6)
        return (fitted.mean_, axes), (z - fitted.mean_) @ axes

    def _place(self, z: np.ndarray) -> tuple[float, float]:
        mean, axes = self._plane
        x, y = (z.reshape(-1) - mean) @ axes
        return float(x), float(y)
