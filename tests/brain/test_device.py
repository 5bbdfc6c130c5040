"""How many CPU threads compute."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from brain.device import at_most


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
