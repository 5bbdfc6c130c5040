"""The patch tokens of the small vision transformer: its latent is a grid of them instead of their mean."""

from __future__ import annotations

from torch import Tensor, nn

from brain.models.encoders.base import Frames
from brain.models.encoders.vit import ViT, ViTOptions
from brain.models.space import LatentSpace


class ViTPatches(ViT):
    """The patches of ``ViT`` after its blocks, each by one linear map to ``dim`` channels.

    Zhou et al. 2025, "DINO-WM: World Models on Pre-trained Visual Features enable Zero-shot Planning", section 3.1:
    the world is what each patch shows, not one vector for the picture. There the transformer is DINOv2, pretrained on
    other pictures and frozen; this one is small and learns from the store.

    float (N, channels, H, W) in [-1, 1] to (N, T, dim), T = ceil(H / 8) * ceil(W / 8).
    """

    latents = "grid"

    def __init__(self, options: ViTOptions, frames: Frames) -> None:
        super().__init__(options, frames)
        self.space = LatentSpace(options.dim, self.grid)
        self.head = nn.Linear(options.width, options.dim)  # type: ignore[assignment]

    def forward(self, observation: Tensor) -> Tensor:
        return self.head(self.tokens(observation))
