"""The brain: learns a world model from a store and judges futures by energy. Imports torch, never ray.

``load`` is the public API. Importing ``brain`` imports nothing else; ``load`` imports torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from brain.models.world_model import WorldModel

__all__ = ["load"]


def load(run: Path | str, *, store: Path | str | None = None, device: str = "auto") -> WorldModel:
    """The trained world model of a run folder, or of ``pretrained:NAME``, in evaluation mode.

    Its methods, for N sequences, latents of D numbers and actions of A numbers (``recipe.observation`` has ``stack``
    and ``stride``; one model step is ``stride`` rows of a store):

    - ``encode(frames)``: uint8 (N, T, H, W, C), one model step apart, to float32 (N, T - stack + 1, D), standardised
      to zero mean and unit variance over the training episodes. In mode ``state``, frames are float32 (N, T, 1, 1, S).
    - ``predict(z, action)``: (N, D) and (N, stride * A) to mean and log-variance of the next latent, (N, D) each.
    - ``rollout(z, actions)``: (N, D) and (N, K, stride * A) to the next K latents, (N, K, D).
    - ``energy(z, action, proposal, kind="scaled")``: (N, D), (N, stride * A) and (N, D) to (N,), at least 0; a low
      energy means that ``proposal`` is a plausible next latent. ``kind`` is ``scaled`` or ``plain``.

    All take and return tensors on ``model.device``; ``encode`` also takes frames from the CPU.

    ``store`` is only needed for a run that is not judged and whose store has moved. ``device`` is ``auto`` (a GPU if
    there is one), ``cpu``, ``cuda`` or ``cuda:N``. Raises ``shared.errors.TinyJEPAError`` for a folder that is not a
    finished run, a store of another world, and an unknown device.
    """
    from brain import pretrained
    from brain.commands.common import need_torch
    from brain.data.place import spec_of

    need_torch()
    from brain.device import pick
    from brain.models.world_model import WorldModel
    from brain.runs.folder import Run

    name = pretrained.named(run)
    folder = Run(Path(run) if name is None else pretrained.folder(name))
    return WorldModel.load(folder.path, spec_of(folder, None if store is None else str(store)), pick(device))
