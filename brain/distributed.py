"""One training by several processes, each with its GPU (or, on a CPU, its core): ranks 0 to ``world_size() - 1``.

Every rank runs the same code on its share of each batch. Rank 0 decides what depends on time or on a growing store,
and alone writes. In one process every function here does nothing but return what it is given.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from brain.device import pick
from shared.errors import TinyJEPAError, brief

T = TypeVar("T")
TIMEOUT = timedelta(hours=1)
"""That ranks wait for each other: a store may be read, or a checkpoint written, by one of them alone."""
LISTENER = "TINYJEPA_LISTENER"
"""Of a process started by ``brain train --gpus``: the socket at which ranks meet, a descriptor that rank 0 inherits."""
_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")


class PeerLost(TinyJEPAError):
    """Another rank has ended; its own message says why."""


class Stopped(RuntimeError):
    """A thread no longer waits for what the first rank says."""


class _Board:
    """Where the first rank leaves values for the others, by name and number; usable from every thread."""

    def __init__(self) -> None:
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        self._store = dist.PrefixStore("tinyjepa", dist.TCPStore(address, port, is_master=False))
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.stopped = False

    def agreed(self, name: str, make: Callable[[], T], given_up: Callable[[], bool]) -> T:
        with self._lock:
            key = f"{name}/{self._asked[name]}"
            self._asked[name] += 1
        if rank() == 0:
            text = json.dumps(make())
            self._store.set(key, text)
        else:
            while not self._store.check([key]):
                if self.stopped or given_up():
                    raise Stopped(name)
                time.sleep(0.005)
            text = self._store.get(key).decode()
        value: T = json.loads(text)
        return value


_board: _Board | None = None


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def first() -> bool:
    """Whether this process is the one that writes files and reports, during the training and after it."""
    return not _launched() or os.environ["RANK"] == "0"


@contextlib.contextmanager
def joined(device: str) -> Iterator[torch.device]:
    """Meet the other ranks where ``torchrun`` or ``brain train --gpus`` started this process; yields its device.

    Raises ``TinyJEPAError`` for a device that is not there and where ranks cannot meet, ``PeerLost`` when another one
    ends before its time.
    """
    if not _launched():
        yield pick(device)
        return
    global _board
    target = _own_device(device)
    try:
        _meet(target)
        _board = _Board()
        yield target
        leave()
    except (dist.DistError, RuntimeError) as error:
        lost = isinstance(error, dist.DistError) or any(word in str(error) for word in _LOST)
        if _board is None and not lost:
            network = os.environ.get("GLOO_SOCKET_IFNAME", "unset")
            raise TinyJEPAError(
                f"rank {os.environ['RANK']} cannot meet the others at {os.environ['MASTER_ADDR']} "
                f"(GLOO_SOCKET_IFNAME, the network to use, is {network}): {brief(error)}"
            ) from error
        if lost or "gloo" in str(error).lower():
            raise PeerLost(
                f"rank {os.environ['RANK']}: another of the {os.environ['WORLD_SIZE']} processes has ended, see its "
                "message; rerun the command to resume"
            ) from error
        raise
    finally:
        if _board is not None:
            _board.stopped = True
        if dist.is_initialized():
            _disband()
        _board = None


def leave() -> None:
    """Go on alone, when all ranks have come here."""
    if dist.is_initialized():
        dist.all_reduce(torch.zeros(1))
        _disband()


def agreed(name: str, make: Callable[[], T], given_up: Callable[[], bool] = lambda: False) -> T:
    """What ``make`` returns in the first rank, plain JSON. All ranks must call it equally often for each ``name``.

    Raises ``Stopped`` where a rank waits and has ``given_up``, or the training has ended.
    """
    return make() if _board is None or world_size() == 1 else _board.agreed(name, make, given_up)


def one_by_one(work: Callable[[], None]) -> None:
    """Let the first rank do ``work``, then all others."""
    if rank() == 0:
        work()
    agreed("work", lambda: True)
    if rank():
        work()


def decided(values: Sequence[float], alarm: bool) -> tuple[list[float], bool]:
    """The first rank's ``values``, and whether any rank has an ``alarm``. Costs one exchange between hosts."""
    if world_size() == 1:
        return list(values), alarm
    told = torch.zeros(len(values) + 1, dtype=torch.float64)
    if rank() == 0:
        told[:-1] = torch.tensor(values, dtype=torch.float64)
    told[-1] = float(alarm)
    dist.all_reduce(told)
    *first_values, alarms = told.tolist()
    return first_values, alarms > 0


def share(count: int) -> int:
    """This rank's part of ``count``, which divides."""
    return count // world_size()


def mine(whole: Tensor) -> Tensor:
    """This rank's rows of what belongs to a whole batch: every ``world_size()``-th, from ``rank()`` on."""
    return whole[rank() :: world_size()]


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        whole = x.new_empty((world_size() * len(x), *x.shape[1:]))
        dist.all_gather(list(whole.chunk(world_size())), x.contiguous())
        return whole

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(world_size())[rank()]


def gathered(x: Tensor) -> Tensor:
    """The rows of all ranks, (N, ...) to (world_size() * N, ...), rank by rank; every rank has as many.

    The gradient is that of the sum of all ranks' losses: what other ranks make of these rows counts too.
    """
    if world_size() == 1:
        return x
    whole: Tensor = _Gathered.apply(x)
    return whole


def mean(x: Tensor) -> Tensor:
    """The mean over ranks, without gradient."""
    if world_size() == 1:
        return x
    total = x.detach().clone()
    dist.all_reduce(total)
    return total / world_size()


def add_up(array: Tensor) -> None:
    """Replace a tensor by the sum over ranks, in place."""
    if world_size() > 1:
        for part in array.view(-1).split(1 << 24):
            dist.all_reduce(part)


def parallel(module: nn.Module) -> nn.Module:
    """The module with its gradients averaged over ranks; the loss of a rank must be a mean over its share.

    Buckets stay as they are first laid out (torch would lay them out anew after one step), so that gradients are
    added in the same order after a resume.
    """
    if world_size() == 1:
        return module
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*broadcast_buffers", FutureWarning)  # its new name is younger than 2.13
        return nn.parallel.DistributedDataParallel(
            module, broadcast_buffers=False, find_unused_parameters=True, gradient_as_bucket_view=True
        )


def unsynchronised(module: nn.Module, on: bool) -> contextlib.AbstractContextManager[None]:
    """Where ``on``: gradients of this forward and backward stay in the process, for a later one to average."""
    if on and isinstance(module, nn.parallel.DistributedDataParallel):
        silent: contextlib.AbstractContextManager[None] = module.no_sync()
        return silent
    return contextlib.nullcontext()


def _launched() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ and "MASTER_ADDR" in os.environ


def _own_device(name: str) -> torch.device:
    place, count = int(os.environ.get("LOCAL_RANK", os.environ["RANK"])), torch.cuda.device_count()
    if name == "cpu":
        return pick("cpu")
    if name not in ("auto", "cuda"):
        raise TinyJEPAError(f"--device {name} is one device for several processes: give --device cuda, or leave it out")
    if (wanted := max(place + 1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))) > count:
        raise TinyJEPAError(
            f"{wanted} processes need a GPU each, and torch {torch.__version__} sees {count}: start fewer with --gpus, "
            "or train on the CPU with --device cpu"
        )
    torch.cuda.set_device(place)
    return torch.device("cuda", place)


def _meet(target: torch.device) -> None:
    importlib.import_module("torch.distributed.nn.functional")  # imported later, its functions would keep this group
    backend = "cpu:gloo,cuda:nccl" if target.type == "cuda" else "gloo"
    if LISTENER not in os.environ:
        dist.init_process_group(backend, timeout=TIMEOUT)
        return
    number, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    listener = int(os.environ[LISTENER]) if number == 0 else None
    store = dist.TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        count,
        number == 0,
        TIMEOUT,
        master_listen_fd=listener,
    )
    dist.init_process_group(backend, store=store, rank=number, world_size=count, timeout=TIMEOUT)


def _disband() -> None:
    """End the group and its threads: one that frees a tensor while Python ends would abort the process.

    What holds the group besides ``torch.distributed`` must be gone, so cycles are collected: the last holder waits for
    those threads, and a ``DistributedDataParallel`` would do so without letting them free their tensors.
    """
    gc.collect()
    dist.destroy_process_group()
