"""Images per second of an encoder's forward and backward pass, in variants interleaved in one run.

    python -m benchmarks.encoders [--repeats 7] [--threads 2] [--batch 256]

Named alternative: four stride-2 convolutions (16, 32, 64, 128 channels), the usual small CNN. Prints the median
[min-max] over the repeats, and the ratio to the alternative repeat by repeat.
"""

from __future__ import annotations

import time
from statistics import median

import torch
import typer
from torch import nn

from brain.models.encoders.base import Frames
from brain.models.encoders.cnn import ConvEncoder, ConvOptions
from brain.models.encoders.resnet import ResNet18, ResNetOptions
from brain.models.encoders.vit import ViT, ViTOptions


def four_stages() -> nn.Module:
    layers: list[nn.Module] = []
    channels = 6
    for out in (16, 32, 64, 128):
        layers += [nn.Conv2d(channels, out, 4, 2, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
        channels = out
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(2048, 128))


def rate(encoder: nn.Module, batch: int, channels_last: bool, bf16: bool) -> float:
    """Images per wall second over three passes."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    encoder = encoder.to(memory_format=layout)
    images = torch.randn(batch, 6, 64, 64).contiguous(memory_format=layout)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            latent = encoder(images)
        latent.float().square().mean().backward()

    step()
    started = time.perf_counter()
    for _ in range(3):
        step()
    return 3 * batch / (time.perf_counter() - started)


def main(repeats: int = 7, threads: int = 2, batch: int = 256) -> None:
    torch.set_num_threads(threads)
    seen = Frames(64, 64, 3, stack=2)
    variants = {
        "four stride-2 convolutions, float32, channels-last": (four_stages(), True, False),
        "cnn, float32, channels-last (ours)": (ConvEncoder(ConvOptions(dim=128, width=32), seen), True, False),
        "cnn, float32, contiguous": (ConvEncoder(ConvOptions(dim=128, width=32), seen), False, False),
        "cnn, bfloat16, channels-last": (ConvEncoder(ConvOptions(dim=128, width=32), seen), True, True),
        "vit, width 64, float32, channels-last": (ViT(ViTOptions(dim=128, width=64), seen), True, False),
        "resnet18 (11 M), float32, channels-last": (ResNet18(ResNetOptions(dim=512, width=64), seen), True, False),
    }
    rates: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, (encoder, channels_last, bf16) in variants.items():
            size = batch if "resnet" not in name else batch // 4
            rates[name].append(rate(encoder, size, channels_last, bf16))
    reference = next(iter(rates.values()))
    batches = f"batch {batch} ({batch // 4} of resnet18)"
    print(f"images/s, forward and backward, {batches}, {threads} threads, {repeats} repeats")
    print(f"native bfloat16: {torch.cpu._is_avx512_bf16_supported()}")
    for name, values in rates.items():
        ratios = [value / base for value, base in zip(values, reference)]
        print(
            f"{name:52} {median(values):7.0f} [{min(values):.0f}-{max(values):.0f}]"
            f"   {median(ratios):5.2f} [{min(ratios):.2f}-{max(ratios):.2f}]"
        )


if __name__ == "__main__":
    typer.run(main)
