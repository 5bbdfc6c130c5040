"""VICReg as its paper describes it, as a plain loop: what ``benchmarks.gpu`` compares stage 1 of tiny-jepa with.

Written from Bardes, Ponce and LeCun 2022, "VICReg: Variance-Invariance-Covariance Regularization" (arXiv 2105.04906):
the loss of section 4.1 with weights 25, 25 and 1, the expander of section 4.2, LARS with the base rate 0.2 and weight
decay 1e-6. Two random views of each image are made on the CPU, an image at a time, by the workers of a ``DataLoader``,
as such loops usually do. No line of it is from the authors' repository. The network is the ResNet-18 of the recipe, the
views are its augmentations, and images come from memory, undecoded, so that only the loop differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler

from brain.data.observations import augment
from brain.device import Precision, autocast

INVARIANCE, VARIANCE, COVARIANCE = 25.0, 25.0, 1.0


class TwoViews(Dataset[tuple[Tensor, Tensor]]):
    """Image n of uint8 (N, H, W, C) as two random views, float32 (C, H, W) each."""

    def __init__(self, images: Tensor, augmentations: list[str]) -> None:
        self.images, self.augmentations = images, augmentations

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        image = self.images[number].permute(2, 0, 1)[None].float().mul_(2 / 255).sub_(1)
        generator = torch.Generator().manual_seed(int(torch.randint(2**31, (1,))))
        first, second = (augment(image, self.augmentations, generator)[0] for _ in range(2))
        return first, second


class VICReg(nn.Module):
    def __init__(self, encoder: nn.Module, dim: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs in (dim, width):
            layers += [nn.Linear(inputs, width), nn.BatchNorm1d(width), nn.ReLU(inplace=True)]
        self.encoder, self.expander = encoder, nn.Sequential(*layers, nn.Linear(width, width, bias=False))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        a, b = (self.expander(self.encoder(view)) for view in (first, second))
        invariance = F.mse_loss(a, b)
        a, b = (z - z.mean(0) for z in (a, b))
        variance = sum(F.relu(1 - torch.sqrt(z.var(0) + 1e-4)).mean() / 2 for z in (a, b))
        covariance = sum(self._off_diagonal(z.T @ z / (len(z) - 1)).square().sum() / z.shape[1] for z in (a, b))
        return INVARIANCE * invariance + VARIANCE * variance + COVARIANCE * covariance

    @staticmethod
    def _off_diagonal(square: Tensor) -> Tensor:
        return square - torch.diag(square.diagonal())


class LARS(torch.optim.Optimizer):
    """SGD with momentum whose rate is scaled per weight matrix (You, Gitman and Ginsburg 2017, arXiv 1708.03888);
    biases and norms are neither scaled nor decayed."""

    def __init__(self, parameters: Iterator[nn.Parameter], rate: float) -> None:
        super().__init__(parameters, {"lr": rate})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                gradient = weight.grad
                if weight.ndim > 1:
                    gradient = gradient + 1e-6 * weight
                    size, slope = weight.norm(), gradient.norm()
                    scale = torch.where((size > 0) & (slope > 0), 0.001 * size / slope, torch.ones_like(size))
                    gradient = gradient * scale
                momentum = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                momentum.mul_(0.9).add_(gradient)
                weight.add_(momentum, alpha=-group["lr"])


def training_step(
    encoder: nn.Module,
    dim: int,
    images: Tensor,
    augmentations: list[str],
    batch: int,
    expander: int,
    device: torch.device,
    precision: Precision,
    workers: int,
) -> Callable[[int], None]:
    """A function that does the loop's next step. ``images`` is uint8 (N, H, W, C) on the CPU."""
    network = VICReg(encoder, dim, expander).to(device).train()
    optimizer = LARS(network.parameters(), 0.2 * batch / 256)
    loader = DataLoader(
        TwoViews(images, augmentations), batch, sampler=RandomSampler(range(len(images)), True, 1 << 30),
        num_workers=workers, pin_memory=device.type == "cuda", drop_last=True, persistent_workers=workers > 0,
    )  # fmt: skip
    batches = iter(loader)

    def step(number: int) -> None:
        first, second = (view.to(device, non_blocking=True) for view in next(batches))
        optimizer.zero_grad(set_to_none=True)
        with autocast(device, precision):
            loss = network(first, second)
        loss.backward()
        optimizer.step()

    return step
