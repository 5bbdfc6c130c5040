"""The vision transformer and its parts, against torch's own layers and loops written out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from brain.models.encoders.base import Frames
from brain.models.encoders.vit import ViT, ViTOptions
from brain.models.layers.attention import Attention, FeedForward
from brain.models.layers.patches import sinusoids, sinusoids_2d, tubelets
from brain.objectives.collapse import embedding_std


@pytest.mark.parametrize(("frames", "height", "width"), [(4, 16, 24), (5, 17, 20), (1, 3, 9)])
def test_tubelets_are_slices_and_the_border_is_repeated(frames: int, height: int, width: int) -> None:
    video = torch.rand(2, frames, 3, height, width)
    boxes = tubelets(video, 2, 8)
    steps, rows, columns = math.ceil(frames / 2), math.ceil(height / 8), math.ceil(width / 8)
    assert boxes.shape == (2, steps, rows, columns, 2 * 3 * 8 * 8)
    t = torch.arange(2 * steps).clamp(max=frames - 1)
    y = torch.arange(8 * rows).clamp(max=height - 1)
    x = torch.arange(8 * columns).clamp(max=width - 1)
    padded = video[:, t][:, :, :, y][..., x]
    for i in range(steps):
        for j in range(rows):
            for k in range(columns):
                box = padded[:, 2 * i : 2 * i + 2, :, 8 * j : 8 * j + 8, 8 * k : 8 * k + 8]
                assert torch.equal(boxes[:, i, j, k], box.flatten(1))


def test_sinusoids_are_vaswanis_formula() -> None:
    for position in (0, 1, 7, 250):
        expected = [f(position / 10000 ** (2 * i / 8)) for f in (math.sin, math.cos) for i in range(4)]
        torch.testing.assert_close(sinusoids(torch.tensor(position), 8), torch.tensor(expected), atol=1e-4, rtol=0)
    grid = sinusoids_2d(3, 5, 16).unflatten(0, (3, 5))
    assert torch.equal(grid[2, 4], torch.cat([sinusoids(torch.tensor(2), 8), sinusoids(torch.tensor(4), 8)]))
    assert len(grid.flatten(0, 1).unique(dim=0)) == 15


def test_blocks_are_torchs_pre_norm_layer() -> None:
    torch.manual_seed(0)
    reference = nn.TransformerEncoderLayer(16, 4, 64, 0.0, "gelu", batch_first=True, norm_first=True)
    attention, feed_forward = Attention(16, 4), FeedForward(16)
    twins = {
        "self_attn.in_proj_": attention.query_key_value,
        "self_attn.out_proj.": attention.out,
        "norm1.": attention.norm,
        "norm2.": feed_forward.layers[0],
        "linear1.": feed_forward.layers[1],
        "linear2.": feed_forward.layers[3],
    }
    weights = {}
    for name, module in twins.items():
        for kind, parameter in module.named_parameters():
            weights[name + kind] = nn.init.normal_(parameter.data, std=0.3)
    reference.load_state_dict(weights)
    x = torch.randn(2, 3, 5, 16)
    expected = reference(x.flatten(0, 1)).view_as(x)
    torch.testing.assert_close(feed_forward(attention(x)), expected)
    torch.testing.assert_close(feed_forward(attention(x.transpose(0, 1))).transpose(0, 1), expected)
    with pytest.raises(ValueError, match="multiple of its 3 heads"):
        Attention(16, 3)


def test_vit_takes_every_frame_size_and_knows_its_places() -> None:
    torch.manual_seed(0)
    for height, width in ((16, 16), (65, 40), (64, 64)):
        encoder = ViT(ViTOptions(dim=12, width=32), Frames(height, width, 6))
        assert encoder(torch.rand(2, 6, height, width) * 2 - 1).shape == (2, 12)
    encoder.eval()
    frames = torch.rand(2, 6, 64, 64) * 2 - 1
    moved = frames.roll(8, 3)  # the same patches in other places
    assert (encoder(frames) - encoder(moved)).abs().max() > 1e-3
    encoder.position.zero_()
    torch.testing.assert_close(encoder(frames), encoder(moved), atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="multiple of 4"):
        ViTOptions(dim=12, width=30)


def test_vit_is_small() -> None:
    encoder = ViT(ViTOptions(dim=128, width=64), Frames(64, 64, 6))
    block = 4 * 64 * 64 + 4 * 64 + 8 * 64 * 64 + 5 * 64 + 2 * 2 * 64
    assert sum(p.numel() for p in encoder.parameters()) == (6 * 64 + 1) * 64 + 4 * block + 2 * 2 * 64 + 65 * 128


def test_vit_begins_with_latents_that_vary() -> None:
    """One square of 4x4 pixels that moves; without BatchNorm the spread is 0.004."""
    torch.manual_seed(0)
    frames = torch.full((64, 3, 64, 64), -0.5)
    for i, frame in enumerate(frames):
        frame[:, i : i + 4, 60 - i : 64 - i] = 0.5
    encoder = ViT(ViTOptions(dim=16, width=64), Frames(64, 64, 3))
    assert embedding_std(encoder(frames).detach()) > 0.3
