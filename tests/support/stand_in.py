"""A GPU that is not there: what lies on torch's device ``meta`` has shape, type and device, and no values.

Inside ``stand_in()`` an operation on tensors of both the host and the device raises, as on a GPU (where a host's scalar
alone may join in); and where ``reads`` is False so does every read of a value into Python (``float``, ``.item()``,
``.cpu()``, ``nonzero``), for which a GPU would have to be waited for. Where it is True, all that is read is 1. Where
``copies`` is False so does every copy of a tensor from the host, for which a GPU is waited for, too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental import _config
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

DEVICE = torch.device("meta")
aten = torch.ops.aten
COUNTING = (aten.nonzero.default, aten.masked_select.default, aten._unique2.default)
"""Their results' sizes are values of the device."""


class ReadFromDevice(AssertionError):
    """A value was read from the device."""


class CopiedFromHost(AssertionError):
    """A tensor was copied to the device."""


class LeftOnHost(AssertionError):
    """An operation has tensors of the host and of the device."""


class _Checked(TorchDispatchMode):
    def __init__(self, reads: bool, copies: bool) -> None:
        super().__init__()
        self.reads, self.copies = reads, copies

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        there = any(tensor.device == DEVICE for tensor in tensors)
        if there and any(tensor.device != DEVICE and tensor.ndim for tensor in tensors):
            raise LeftOnHost(f"{func} of {[(str(tensor.device), tuple(tensor.shape)) for tensor in tensors]}")
        target = kwargs.get("device")
        if func is aten._local_scalar_dense.default and there:
            self._read(func)
            return torch.ones((), dtype=args[0].dtype).item()
        if func is aten._to_copy.default and there and target is not None and target.type == "cpu":
            self._read(func)
            return torch.ones(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        if func is aten._to_copy.default and not there and target == DEVICE and not self.copies:
            raise CopiedFromHost(f"a tensor of shape {tuple(args[0].shape)}")
        if func in COUNTING and there:
            self._read(func)
        return func(*args, **kwargs)

    def _read(self, func: Any) -> None:
        if not self.reads:
            raise ReadFromDevice(f"{func} reads a value from the device")


@contextlib.contextmanager
def stand_in(reads: bool = False, copies: bool = True) -> Iterator[torch.device]:
    """Yields the device."""
    with _Checked(reads, copies), _config.patch(meta_nonzero_assume_all_nonzero=True):
        yield DEVICE


def on_device(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor there."""
    return torch.empty(shape, dtype=dtype, device=DEVICE)
