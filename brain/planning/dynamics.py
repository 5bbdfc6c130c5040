"""The outcome of actions: imagined by a world model, or computed on the true state for upper bounds and tests."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from brain.data.state_mode import Scale, StateSpec
from brain.data.states import States
from brain.models.world_model import WorldModel
from brain.planning.actions import ActionSpace, Typical
from shared.errors import TinyJEPAError
from shared.worlds.base import World
from shared.worlds.tasks import steps_states


class Dynamics(Protocol):
    """Moments as latents (N, *L), and their futures under actions.

    L is any shape: a vector, a grid of tokens, a state. One model step takes ``stride`` frames and as many actions.
    """

    name: str
    stack: int
    """frames of an observation, ``stride`` apart"""
    stride: int
    differentiable: bool
    """whether ``rollout`` passes gradients on"""

    def observe(self, frames: np.ndarray, states: np.ndarray) -> Tensor:
        """A moment: its frames, uint8 (stack, H, W, C), oldest first, and its true states, float32 (stack, S), which a
        model of pictures does not read, to a latent (1, *L). One state (S,) is that of a world that stands still."""

    def rollout(self, z: Tensor, chunks: Tensor) -> Tensor:
        """Latents (N, *L) under chunks of actions (N, K, stride * A) to the K next ones (N, K, *L)."""


class Imagined:
    """A trained world model, or a baseline in its place."""

    differentiable = True

    def __init__(self, model: WorldModel, scale: Scale | None = None, latents: str = "model") -> None:
        """``scale``: the coordinates' of a run that sees states. ``latents``: what made them, for names."""
        self.model = model.requires_grad_(False)
        self.made_by = self.name = latents
        self.stack, self.stride = model.recipe.observation.stack, model.recipe.observation.stride
        self._scale = scale

    @property
    def typical(self) -> Typical:
        """Of the actions that the model was trained with."""
        found = self.model.dynamics
        mean, std, low, high = (
            part.unflatten(0, (self.stride, -1))
            for part in (found.data_action_mean, found.data_action_std, found.data_action_low, found.data_action_high)
        )
        return Typical(mean.mean(0), std.mean(0), low.amin(0), high.amax(0))

    def observe(self, frames: np.ndarray, states: np.ndarray) -> Tensor:
        seen = torch.from_numpy(np.ascontiguousarray(frames))
        if isinstance(self.model.spec, StateSpec):
            assert self._scale is not None
            columns = States.of(self.model.spec).columns(np.atleast_2d(states))
            values = (columns - np.array(self._scale.mean)) / np.array(self._scale.std)
            seen = torch.from_numpy(values.astype(np.float32))[:, None, None].expand(self.stack, -1, -1, -1)
        return self.model.encode(seen[None])[:, 0]

    def latents(self, z: Tensor) -> Tensor:
        """What is planned with, of the model's standardised latents (N, *latent_shape): all of them."""
        return z

    @property
    def latent_shape(self) -> torch.Size:
        """Of what is planned with."""
        return self.model.latent_shape

    def rollout(self, z: Tensor, chunks: Tensor) -> Tensor:
        return self.model.dynamics.rollout(z, chunks)


class ImaginedVector(Imagined):
    """A trained world model of grids with a vector: the vector alone, (N, R * D), which goes on without the cells."""

    def __init__(self, model: WorldModel, scale: Scale | None = None, latents: str = "model") -> None:
        super().__init__(model, scale, latents)
        self.name = f"{latents}, vector alone"

    @staticmethod
    def suits(model: WorldModel) -> bool:
        return model.dynamics.predictor.vector_alone

    def latents(self, z: Tensor) -> Tensor:
        return self.model.space.split(z)[1]

    @property
    def latent_shape(self) -> torch.Size:
        return torch.Size((self.model.space.vector,))

    def observe(self, frames: np.ndarray, states: np.ndarray) -> Tensor:
        return self.latents(super().observe(frames, states))

    def rollout(self, z: Tensor, chunks: Tensor) -> Tensor:
        return self.model.dynamics.rollout_vector(z, chunks)


class TrueState:
    """A world whose state determines the future: latents are true states, float64 (N, S)."""

    name = "true state"
    stack = 1
    differentiable = False

    def __init__(self, world: World, stride: int = 1) -> None:
        self._world, self.stride = world, stride

    def observe(self, frames: np.ndarray, states: np.ndarray) -> Tensor:
        return torch.from_numpy(np.atleast_2d(states)[-1:].astype(np.float64))

    def rollout(self, z: Tensor, chunks: Tensor) -> Tensor:
        states, steps = z.numpy(), []
        for chunk in chunks.unflatten(2, (self.stride, -1)).unbind(1):
            for actions in chunk.numpy().swapaxes(0, 1):
                states = self._world.next_states(states, actions)
            steps.append(torch.from_numpy(states))
        return torch.stack(steps, 1)


class Copies:
    """Any world that can be copied: every plan is tried out in a copy of its own, from the present only.

    Latents are float64 (N, 2 + S): the reward earned since the present, whether the episode has ended (then nothing
    more happens), and the true state.
    """

    name = "copies"
    stack = 1
    differentiable = False

    def __init__(self, world: World, stride: int = 1) -> None:
        self._world, self.stride = world, stride

    def observe(self, frames: np.ndarray, states: np.ndarray) -> Tensor:
        present = np.atleast_2d(states)[-1].astype(np.float64)
        return torch.from_numpy(np.concatenate([[0.0, 0.0], present]))[None]

    def rollout(self, z: Tensor, chunks: Tensor) -> Tensor:
        space = ActionSpace(self._world.action_space)
        paths = []
        for plan in chunks.unflatten(2, (self.stride, -1)).cpu().numpy():
            copy = self._world.fork()
            copy.drawing = False
            earned, over, path = 0.0, False, []
            for chunk in plan:
                for row in chunk:
                    if not over:
                        _, reward, terminated, truncated, _ = copy.step(space.action(row, copy.action_space))
                        earned, over = earned + float(reward), terminated or truncated
                path.append(np.concatenate([[earned, float(over)], copy.state().astype(np.float64)]))
            paths.append(np.stack(path))
        return torch.from_numpy(np.stack(paths))


def true_dynamics(world: World, stride: int = 1) -> TrueState | Copies:
    """The world's own future: by its states where these determine it, else by copies of it.

    Raises ``TinyJEPAError`` for a world that can be neither stepped by state nor copied.
    """
    if steps_states(world):
        return TrueState(world, stride)
    try:
        world.fork()
    except Exception as error:  # a gymnasium environment may hold what nothing can copy
        raise TinyJEPAError(
            f"this world cannot be copied ({type(error).__name__}), so that nothing can plan on its true state: "
            "leave out --dynamics true"
        ) from None
    return Copies(world, stride)


def states_of(dynamics: Dynamics, z: Tensor) -> np.ndarray:
    """True states (N, S) in latents (N, *L) of ``TrueState`` or ``Copies``."""
    values = z.cpu().numpy()
    return values[:, 2:] if isinstance(dynamics, Copies) else values


class Counted:
    """Dynamics that count their predictor steps: one per imagined model step of one plan."""

    def __init__(self, dynamics: Dynamics) -> None:
        self.inner = dynamics
        self.name, self.stack, self.stride = dynamics.name, dynamics.stack, dynamics.stride
        self.differentiable = dynamics.differentiable
        self.steps = 0

    def observe(self, frames: np.ndarray, states: np.ndarray) -> Tensor:
        return self.inner.observe(frames, states)

    def rollout(self, z: Tensor, chunks: Tensor) -> Tensor:
        self.steps += chunks.shape[0] * chunks.shape[1]
        return self.inner.rollout(z, chunks)
