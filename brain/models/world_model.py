"""The trained world model, as used by the judge and all later steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from brain.data.observations import stacked
from brain.device import at_once
from brain.models.calibration import Calibration
from brain.models.encoders.base import Encoder, Frames
from brain.models.predictors.base import Predictor
from brain.models.space import LatentSpace
from brain.recipes.schema import PredictorOptions, Recipe
from brain.runs import checkpoint
from brain.runs.folder import Run
from shared.store.schema import StoreSpec

EnergyKind = Literal["plain", "scaled"]
REACH = 3.0
"""Standard deviations about the mean action at which the data are taken to end, where their range was not kept."""


def make_encoder(recipe: Recipe, frame_shape: tuple[int, int, int]) -> Encoder:
    """The recipe's encoder for frames of shape (H, W, C), laid out channels-last."""
    frames = Frames(*frame_shape, recipe.observation.stack)
    encoder: Encoder = recipe.encoder.part()(recipe.encoder, frames)
    return encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def make_predictor(options: PredictorOptions, space: LatentSpace, action_dim: int) -> Predictor:
    """A recipe section's predictor; ``action_dim`` is the width of the action chunk of one model step."""
    predictor: Predictor = options.part()(options, space, action_dim)
    return predictor


class Dynamics(nn.Module):
    """What stage 2 fits to frozen latents: standardisation, a predictor, and a head for its error's variance.

    Latents outside are raw; inside they are standardised per dimension, those of a grid per channel over all cells,
    and so is the action chunk. A latent is (D,), or (T, D) where it is a grid (``brain.models.space``); ``shape`` is
    either below. ``worst`` of a grid's cells make its energy, 0 = all; a grid with a vector has two energies, which
    ``calibration`` brings to one scale.

    Mean, standard deviation, least and largest of the training actions (``data_action_mean``, ...) are for planners. A
    predictor that goes on from stage 1 keeps the raw scale that it was trained with there; elsewhere the first two
    standardise actions, too.
    """

    def __init__(self, predictor: Predictor, worst: int = 0) -> None:
        super().__init__()
        self.worst = worst
        space = predictor.space
        self.predictor = predictor
        self.calibration = Calibration(space, worst) if space.registers else None
        self.log_variance = predictor.variance_head()
        self.latent_mean: Tensor
        self.latent_std: Tensor
        self.action_mean: Tensor
        self.action_std: Tensor
        self.data_action_mean: Tensor
        self.data_action_std: Tensor
        self.data_action_low: Tensor
        self.data_action_high: Tensor
        chunk = (predictor.action_dim,)
        sizes = {"latent": space.shape if space.registers else (space.dim,), "action": chunk, "data_action": chunk}
        for name, size in sizes.items():
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_std", torch.ones(size))
        self.register_buffer("data_action_low", torch.full(chunk, -REACH))
        self.register_buffer("data_action_high", torch.full(chunk, REACH))

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        mean, std = (state_dict.get(f"{prefix}action_{name}") for name in ("mean", "std"))
        if mean is not None and std is not None:  # files of earlier versions have no others
            found = {"mean": mean, "std": std, "low": mean - REACH * std, "high": mean + REACH * std}
            for name, value in found.items():
                state_dict.setdefault(f"{prefix}data_action_{name}", value)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def standardise(self, z: Tensor) -> Tensor:
        """Raw latents (..., *shape) to zero mean and unit variance over the training episodes."""
        return (z - self.latent_mean) / self.latent_std

    def actions(self, actions: Tensor) -> Tensor:
        """Action chunks (..., A) to zero mean and unit variance."""
        return (actions - self.action_mean) / self.action_std

    def predict(self, z: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Standardised latent (N, *shape), raw action chunk (N, A): mean and log-variance of the next, (N, *shape)."""
        mean, features = self.predictor.step(z, self.actions(action))
        return mean, self.log_variance(features).clamp(-10, 5)

    def energy(self, z: Tensor, action: Tensor, proposal: Tensor, kind: EnergyKind, steps: int = 1) -> Tensor:
        """How implausible ``proposal`` is after ``z``, (N, *shape) each, and ``action`` (N, A): (N,), >= 0.

        Low is plausible. Of a grid: the mean over its cells, or over the ``worst`` ones; of a grid with a vector, see
        ``Calibration``, which needs to know that ``proposal`` is ``steps`` model steps from the last observation.

        ``plain``: squared distance between prediction and proposal, per dimension. ``scaled``: each dimension's
        squared distance divided by the standard deviation that the variance head predicts, so that an error counts
        where the model is usually sure. That is half-way to the full likelihood (Seitzer et al. 2022, "On the Pitfalls
        of Heteroscedastic Uncertainty Estimation", weigh by the same power of the variance, beta = 1/2): the likelihood
        itself separates near futures as well, but lets more teleports pass from states it is unsure of
        (``docs/results/car-racing.md``).
        """
        return self.compare(*self.predict(z, action), proposal, kind, steps)

    def compare(self, mean: Tensor, log_variance: Tensor, proposal: Tensor, kind: EnergyKind, steps: int = 1) -> Tensor:
        """``energy`` where ``predict`` gave ``mean`` and ``log_variance``, (N, *shape) each."""
        error = (proposal - mean).square()
        if self.calibration is not None:
            return self.calibration(error, log_variance, kind == "scaled", steps)
        if kind == "scaled":
            error = error * torch.exp(-0.5 * log_variance)
        error = error.mean(-1)
        if error.ndim == 1:
            return error
        return (error.topk(min(self.worst, error.shape[1])).values if self.worst else error).mean(1)

    def unroll(self, z: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """The same as ``rollout``, step by step, with the log-variances: (N, K, *shape) each."""
        steps = []
        for action in actions.unbind(1):
            z, log_variance = self.predict(z, action)
            steps.append((z, log_variance))
        means, log_variances = zip(*steps)
        return torch.stack(means, 1), torch.stack(log_variances, 1)

    def rollout(self, z: Tensor, actions: Tensor) -> Tensor:
        """Standardised latent (N, *shape) under raw action chunks (N, K, A) to the K next latents (N, K, *shape)."""
        return self.predictor.rollout(z, self.actions(actions))

    def rollout_vector(self, vector: Tensor, actions: Tensor) -> Tensor:
        """The same of the vector beside a grid alone, (N, R * D) to (N, K, R * D), for a small part of the cost."""
        return self.predictor.rollout_vector(vector, self.actions(actions))


class WorldModel(nn.Module):
    """Encoder and dynamics of a run: frames to latents, latents to futures, futures to energies.

    Latents are float32 (N, *latent_shape): a vector each, ``latent_shape`` (D,), or a grid of T cells, (T, D), perhaps
    with a vector beside it (``brain.models.space``).
    """

    def __init__(
        self, recipe: Recipe, spec: StoreSpec, encoder: Encoder | None = None, dynamics: Dynamics | None = None
    ) -> None:
        """``encoder`` and ``dynamics`` in place of the recipe's: baselines have their own."""
        super().__init__()
        self.recipe = recipe
        self.spec = spec
        self.action_dim = recipe.observation.stride * spec.action_dim
        self.encoder = encoder or make_encoder(recipe, spec.frame_shape)
        self.space = self.encoder.space
        self.latent_shape = self.space.shape
        self.latent_dim = self.space.dim
        if dynamics is None:
            predictor = make_predictor(recipe.prediction.predictor, self.space, self.action_dim)
            dynamics = Dynamics(predictor, recipe.energy.worst)
        self.dynamics = dynamics

    @classmethod
    def load(cls, run: Path, spec: StoreSpec, device: torch.device) -> WorldModel:
        """The model of a finished run, in evaluation mode. Raises ``TinyJEPAError`` where a stage is missing."""
        folder = Run(run)
        model = cls(folder.recipe(), spec)
        for path, module in ((folder.encoder, model.encoder), (folder.predictor, model.dynamics)):
            tensors, _ = checkpoint.load(path)
            checkpoint.restore(path, module, tensors, "model")
        return model.to(device).eval()

    @property
    def device(self) -> torch.device:
        """Where its weights are; what its methods return is there too."""
        return self.dynamics.latent_mean.device

    @torch.no_grad()
    def embed(self, frames: Tensor) -> Tensor:
        """Raw latents: uint8 (N, T, H, W, C) to float32 (N, T - stack + 1, D).

        Computed in float32 on every device, whatever precision the training ran in.
        """
        self.encoder.eval()
        count = frames.shape[1] - self.recipe.observation.stack + 1
        parts = []
        for part in frames.split(max(1, at_once(self.device) // count)):
            observation = stacked(part.to(self.device), self.recipe.observation.stack)
            parts.append(self.encoder(observation))
        return torch.cat(parts).unflatten(0, (-1, count))

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """Standardised latents: uint8 (N, T, H, W, C), one model step apart, to (N, T - stack + 1, *latent_shape)."""
        return self.dynamics.standardise(self.embed(frames))

    @torch.no_grad()
    def predict(self, z: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """One model step: latents and (N, stride * A) to mean and log-variance of the next, (N, *latent_shape) each."""
        return self.dynamics.predict(z, action)

    @torch.no_grad()
    def rollout(self, z: Tensor, actions: Tensor) -> Tensor:
        """Latents (N, *latent_shape) under (N, K, stride * A) to the K next ones, (N, K, *latent_shape)."""
        return self.dynamics.rollout(z, actions)

    @torch.no_grad()
    def compare(
        self, mean: Tensor, log_variance: Tensor, proposal: Tensor, kind: EnergyKind = "scaled", steps: int = 1
    ) -> Tensor:
        """``energy`` where ``predict`` gave ``mean`` and ``log_variance``: see ``Dynamics.compare``."""
        return self.dynamics.compare(mean, log_variance, proposal, kind, steps)

    @torch.no_grad()
    def energy(
        self, z: Tensor, action: Tensor, proposal: Tensor, kind: EnergyKind = "scaled", steps: int = 1
    ) -> Tensor:
        """How implausible ``proposal`` is after ``z`` and ``action``: see ``Dynamics.energy``."""
        return self.dynamics.energy(z, action, proposal, kind, steps)
