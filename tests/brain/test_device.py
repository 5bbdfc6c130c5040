"""Which devices are meant, where frames may lie, and how many CPU threads compute."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from brain import device
from brain.device import at_most, pick_pool, seeded, visible_gpus
from shared.errors import TinyJEPAError


@pytest.fixture
def four() -> Iterator[None]:
    """Four threads, whatever the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        with threadpool_limits(4, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)


def threads() -> set[int]:
    """Of torch and of every library for numpy's linear algebra."""
    np.linalg.cholesky(np.eye(2))
    pools = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert pools
    return {torch.get_num_threads(), *pools}


@pytest.mark.parametrize(("asked", "used"), [(1, 1), (3, 3), (9, 4)])
def test_threads_are_limited_and_given_back(asked: int, used: int, four: None) -> None:
    with at_most(asked):
        assert threads() == {used}
    assert threads() == {4}
    with pytest.raises(KeyboardInterrupt), at_most(asked):
        raise KeyboardInterrupt
    assert threads() == {4}


def test_draws_of_a_seed_leave_the_rest_as_it_was() -> None:
    torch.manual_seed(1)
    plain = torch.rand(3)
    torch.manual_seed(1)
    with seeded(2):
        inside = torch.rand(3)
    assert torch.equal(torch.rand(3), plain)
    torch.manual_seed(2)
    assert torch.equal(torch.rand(3), inside)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A torch that counts two."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for variable in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        monkeypatch.delenv(variable, raising=False)
    return monkeypatch


def test_the_gpus_of_a_device_are_those_that_this_process_may_use(two_gpus: pytest.MonkeyPatch) -> None:
    assert visible_gpus("cpu") == []
    assert visible_gpus("auto") == ["0", "1"] and visible_gpus("cuda:1") == ["1"]
    two_gpus.setenv("CUDA_VISIBLE_DEVICES", "2, 3")
    assert visible_gpus("cuda") == ["2", "3"] and visible_gpus("cuda:1") == ["3"]
    two_gpus.setattr(device, "VISIBLE", ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"))  # as of a build for ROCm
    two_gpus.setenv("HIP_VISIBLE_DEVICES", "GPU-aa,GPU-bb,none")
    assert visible_gpus("auto") == ["GPU-aa", "GPU-bb"]
    with pytest.raises(TinyJEPAError, match="sees 2 GPUs"):
        visible_gpus("cuda:2")


def test_frames_are_held_on_the_host_or_on_the_gpu_that_trains(two_gpus: pytest.MonkeyPatch) -> None:
    cpu, first, second = torch.device("cpu"), torch.device("cuda"), torch.device("cuda:1")
    assert pick_pool("cpu", second, 1) == cpu and pick_pool("auto", cpu, 1) == cpu
    assert pick_pool("cuda", second, 1) == second and pick_pool("cuda:1", second, 1) == second
    assert pick_pool("cuda:0", first, 1).type == "cuda"
    for name, target in (("cuda", cpu), ("cuda:0", second)):
        with pytest.raises(TinyJEPAError, match="use --pool-device cpu or auto"):
            pick_pool(name, target, 1)
