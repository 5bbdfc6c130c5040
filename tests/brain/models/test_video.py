"""The video encoder: what sees what, which position is whose, and that long, cheap and masked ways agree."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor

from brain import recipes
from brain.models.layers.video import SIZES, VideoEncoder, VideoSize
from brain.models.world_model import make_encoder
from tests import ROOT

SMALL = VideoSize(width=16, depth=2, heads=2, time=2, side=8)


@pytest.fixture
def encoder() -> VideoEncoder:
    torch.manual_seed(0)
    return VideoEncoder(channels=3, size=SMALL)


def a_video(frames: int, height: int = 16, width: int = 24, batch: int = 2) -> Tensor:
    return torch.rand(batch, frames, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize(("frames", "height", "width"), [(8, 16, 24), (7, 17, 20), (1, 65, 65)])
def test_every_length_and_frame_size(encoder: VideoEncoder, frames: int, height: int, width: int) -> None:
    video = a_video(frames, height, width)
    tokens = encoder(video)
    steps, places = -(-frames // 2), -(-height // 8) * -(-width // 8)
    assert tokens.shape == (2, steps, places, 16) and tokens.dtype == torch.float32
    torch.testing.assert_close(encoder(video[:1]), tokens[:1])  # no leak between videos
    tokens[:, :, :, 0].square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in encoder.parameters())


def test_space_keeps_times_apart_and_time_keeps_places_apart(encoder: VideoEncoder) -> None:
    video = a_video(8)
    other = video.clone()
    other[:, 4:6, :, 8:, :8] *= -1  # time 2, place 3 of 6
    block = encoder.blocks[0]

    def changed(a: Tensor, b: Tensor) -> Tensor:
        return ((a - b).abs() > 1e-6).any(-1).all(0)

    one, two = encoder.embed(video), encoder.embed(other)
    assert changed(one, two).nonzero().tolist() == [[2, 3]]
    one_space, two_space = block.space(one), block.space(two)
    assert changed(one_space, two_space).nonzero().tolist() == [[2, place] for place in range(6)]
    one_time, two_time = (block.time(x.transpose(1, 2)).transpose(1, 2) for x in (one, two))
    assert changed(one_time, two_time).nonzero().tolist() == [[time, 3] for time in range(4)]
    assert changed(block(one), block(two)).all()


def test_without_temporal_attention_times_stay_apart(encoder: VideoEncoder) -> None:
    video = a_video(8)
    other = video.clone()
    other[:, 4:6] *= -1
    assert not torch.allclose(encoder(video)[:, 0], encoder(other)[:, 0])
    for block in encoder.blocks:
        torch.nn.init.zeros_(block.time.out.weight)
    one, two = encoder(video), encoder(other)
    torch.testing.assert_close(one[:, [0, 1, 3]], two[:, [0, 1, 3]])
    assert not torch.allclose(one[:, 2], two[:, 2])


def test_kept_times_keep_their_positions_and_see_nothing_else(encoder: VideoEncoder) -> None:
    video = a_video(8)
    everything = torch.arange(4).expand(2, 4)
    torch.testing.assert_close(encoder(video, everything), encoder(video))
    torch.testing.assert_close(encoder(video, everything.flip(1)), encoder(video).flip(1), atol=1e-5, rtol=1e-5)
    keep = torch.tensor([[0, 3], [2, 1]])
    context = encoder(video, keep)
    assert context.shape == (2, 2, 6, 16)
    hidden = video.clone()
    hidden[0, 2:6], hidden[1, :2], hidden[1, 6:] = 0, 0, 0
    torch.testing.assert_close(encoder(hidden, keep), context)
    squeezed = torch.stack([video[0, [0, 1, 6, 7]], video[1, [4, 5, 2, 3]]])  # the same frames at times 0 and 1
    assert (encoder(squeezed) - context).abs().max() > 1e-2
    assert (encoder.embed(squeezed) - encoder.embed(video)[[[0], [1]], keep])[0, 0].abs().max() == 0


@pytest.mark.parametrize("pool", [False, True])
def test_long_videos(encoder: VideoEncoder, pool: bool) -> None:
    def head(tokens: Tensor) -> Tensor:
        return tokens.mean(1) if pool else tokens

    def whole(video: Tensor) -> Tensor:
        return encoder(video).mean(2) if pool else encoder(video)

    for frames, chunk in ((7, 8), (8, 8), (8, 20)):
        video = a_video(frames)
        torch.testing.assert_close(encoder.encode_long(video, chunk, head=head), whole(video))
    video = a_video(21)  # 11 times: chunks of 4 begin at 0, 4 and 7; cuts at 4 and 7
    expected = torch.cat([whole(video[:, :8]), whole(video[:, 8:16])[:, :3], whole(video[:, 14:])], 1)
    torch.testing.assert_close(encoder.encode_long(video, 8, head=head), expected)
    video = a_video(16)  # 8 times: chunks of 4 begin at 0, 2 and 4; cuts at 3 and 5
    chunks = [whole(video[:, start : start + 8]) for start in (0, 4, 8)]
    expected = torch.cat([chunks[0][:, :3], chunks[1][:, 1:3], chunks[2][:, 1:]], 1)
    torch.testing.assert_close(encoder.encode_long(video, 8, overlap=4, head=head), expected)


@pytest.mark.parametrize(("chunk", "overlap"), [(7, 0), (8, 3), (8, 8), (0, 0), (8, -2)])
def test_long_videos_refuse_what_cuts_boxes(encoder: VideoEncoder, chunk: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="multiples of 2"):
        encoder.encode_long(a_video(16), chunk, overlap)


def test_checkpointing_gives_the_same_gradients_and_keeps_less(encoder: VideoEncoder) -> None:
    video, keep = a_video(8), torch.tensor([[0, 3], [2, 1]])

    def passes(checkpointing: bool) -> tuple[list[Tensor | None], int]:
        """The gradients, and how many numbers the forward pass kept for them."""
        encoder.checkpointing = checkpointing
        encoder.zero_grad()
        kept: list[int] = []

        def count(x: Tensor) -> Tensor:
            kept.append(x.numel())
            return x

        with torch.autograd.graph.saved_tensors_hooks(count, lambda x: x):
            loss = encoder(video, keep).square()[..., :3].sum()
        loss.backward()
        return [p.grad for p in encoder.parameters()], sum(kept)

    gradients, numbers = passes(False)
    again, fewer = passes(True)
    torch.testing.assert_close(again, gradients)
    assert fewer < 0.5 * numbers


def test_documented_sizes() -> None:
    """The rows of ``docs/video.md``: what ``--set`` makes of the recipe has that many parameters."""
    page = (ROOT / "docs" / "video.md").read_text()
    rows = re.findall(r"^\| ([^|]+) \| (?:`([^`|]*)`|nothing) \| ([\d.]+) \|", page, re.M)
    assert len(rows) == 5 and {"ViT-L"} <= {name for name, *_ in rows}
    for name, words, millions in rows:
        recipe = recipes.load("video", words.replace("--set ", "").split())
        with torch.device("meta"):
            encoder = make_encoder(recipe, (64, 64, 3))
        count = sum(p.numel() for p in encoder.parameters()) / 1e6
        assert count == pytest.approx(float(millions), rel=0.01), name


def test_half_precision_trains(encoder: VideoEncoder) -> None:
    """Under bfloat16 autocast, as on a GPU: float32 weights, finite gradients that point where those of float32 do."""
    video, keep = a_video(8), torch.tensor([[0, 3], [2, 1]])
    gradients = []
    for enabled in (False, True):
        encoder.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            tokens = encoder(video, keep)
        tokens.float().square()[..., :3].sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in encoder.parameters() if p.grad is not None]))
    assert gradients[1].dtype == torch.float32 and gradients[1].isfinite().all()
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99 and not torch.equal(*gradients)


def test_sizes() -> None:
    with torch.device("meta"):
        counts = {
            name: sum(p.numel() for p in VideoEncoder(3, size).parameters()) / 1e6 for name, size in SIZES.items()
        }
    assert counts["tiny"] == pytest.approx(0.3, abs=0.1)
    for name, blocks in (("vit-ti", 12 * 192**2), ("vit-b", 12 * 768**2), ("vit-l", 24 * 1024**2)):
        assert counts[name] == pytest.approx(16 * blocks / 1e6, rel=0.05)  # 16 width^2 weights in a block
    with pytest.raises(ValueError, match="3 heads"):
        VideoSize(width=64, depth=2, heads=3)
