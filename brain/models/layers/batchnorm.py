"""BatchNorm over the whole batch where several processes share it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from brain.distributed import gathered, world_size


class WholeBatchNorm(_BatchNorm):
    """BatchNorm in 1 or 2 dimensions whose mean and variance in training are those of all ranks' rows together.

    Each rank's mean and variance per channel are gathered with gradient, two numbers a channel, and joined (Chan,
    Golub, LeVeque 1983, "Algorithms for Computing the Sample Variance"). float (N, C, ...) to the same; every rank
    needs the same N. torch's ``SyncBatchNorm`` does this too, on GPUs alone.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or world_size() == 1:
            return super().forward(input)
        x = input.float()
        over = [0, *range(2, x.ndim)]
        variance, mean = torch.var_mean(x, over, correction=0)
        variances, means = gathered(torch.stack([variance, mean])[None]).unbind(1)
        mean = means.mean(0)
        variance = (variances + (means - mean).square()).mean(0)
        self._remember(mean.detach(), variance.detach(), x.numel() // x.shape[1] * world_size())
        shape = (1, -1, *[1] * (x.ndim - 2))
        scale = torch.rsqrt(variance + self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        out = (x - mean.view(shape)) * scale.view(shape)
        if self.bias is not None:
            out = out + self.bias.view(shape)
        return out.to(input.dtype)

    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Update the running averages, by torch's rules."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        assert self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)


def over_all_ranks(module: nn.Module, device: torch.device) -> nn.Module:
    """Have every BatchNorm inside ``module`` see the whole batch, in place; names and weights stay.

    On a GPU by torch's ``SyncBatchNorm``, on a CPU by ``WholeBatchNorm``. In one process nothing changes.
    """
    if world_size() == 1:
        return module
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
        return converted
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            setattr(module, name, _whole(child))
        else:
            over_all_ranks(child, device)
    return module


def _whole(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> WholeBatchNorm:
    whole = WholeBatchNorm(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    whole.weight, whole.bias = norm.weight, norm.bias
    whole.running_mean, whole.running_var = norm.running_mean, norm.running_var
    whole.num_batches_tracked = norm.num_batches_tracked
    return whole.train(norm.training)
