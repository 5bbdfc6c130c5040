"""A small vision transformer: about 0.2 million parameters at width 64."""

from __future__ import annotations

from pydantic import Field, field_validator
from torch import Tensor, nn

from brain.models.encoders.base import Encoder, Frames
from brain.models.layers.attention import Attention, FeedForward
from brain.models.layers.patches import sinusoids_2d, tubelets
from brain.recipes.schema import EncoderOptions


class ViTOptions(EncoderOptions):
    width: int = Field(32, ge=4, le=2048, description="channels of all blocks, a multiple of 4; a head for each 32")

    @field_validator("width")
    @classmethod
    def _multiple_of_four(cls, width: int) -> int:
        if width % 4:
            raise ValueError(f"vit width {width} must be a multiple of 4")
        return width


class ViT(Encoder):
    """Patches of 8x8 pixels through 4 pre-norm transformer blocks, averaged, then BatchNorm and a linear map.

    Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale", equations 1
    to 4, with fixed sin-cos positions and the mean over patches in place of the class token (Beyer et al. 2022, "Better
    plain ViT baselines for ImageNet-1k"). A patch holds all channels, so the frames of a stack meet in its first linear
    map: motion within a patch is seen at once. ``width`` is the model width, a multiple of 4, with one attention head
    per 32 of it.

    At first the mean over patches hardly varies between the frames of one world (a standard deviation of 0.01 beside
    values near 1), and a loss that pulls latents together wins before any regulariser can part them. BatchNorm sets the
    spread to one from the first step, as LeWorldModel does behind its ViT (Maes et al. 2026, "LeWorldModel: Stable
    End-to-End Joint-Embedding Predictive Architecture from Pixels").

    float (N, channels, H, W) in [-1, 1] to (N, dim); any H and W, padded to whole patches by repetition.
    """

    PATCH = 8
    DEPTH = 4

    Options = ViTOptions

    def __init__(self, options: ViTOptions, frames: Frames) -> None:
        super().__init__(options, frames)
        width = options.width
        self.grid = -(-frames.height // self.PATCH), -(-frames.width // self.PATCH)
        self.patch = nn.Linear(frames.shape[0] * self.PATCH**2, width)
        self.position: Tensor
        self.register_buffer("position", sinusoids_2d(*self.grid, width), persistent=False)
        heads = max(1, width // 32)
        blocks = [nn.Sequential(Attention(width, heads), FeedForward(width)) for _ in range(self.DEPTH)]
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Sequential(nn.BatchNorm1d(width), nn.Linear(width, options.dim))

    def tokens(self, observation: Tensor) -> Tensor:
        """The patches after the blocks and the last norm, row by row: (N, T, width)."""
        patches = tubelets(observation[:, None], 1, self.PATCH).flatten(1, 3)
        tokens: Tensor = self.norm(self.blocks(self.patch(patches) + self.position))
        return tokens

    def forward(self, observation: Tensor) -> Tensor:
        return self.head(self.tokens(observation).mean(1))
