"""Training steps as CUDA graphs: hundreds of kernels that one call starts."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from shared.cli.runlog import LOG

Result = TypeVar("Result")
WARM_STEPS = 3
"""Plain steps before one is recorded, in which libraries choose their kernels and get their memory."""


class _Recording(NamedTuple, Generic[Result]):
    key: Hashable
    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    result: Result


class StepGraph(Generic[Result]):
    """A training step, ``work(*inputs)``; on a GPU recorded once as a CUDA graph, and replayed from then on.

    Small networks need more time to start their kernels than to run them; a replay starts all of them by one call, with
    the same numbers as results. So ``work`` must do the same for inputs of the same shapes, ``phase`` by phase: read
    nothing from the GPU, and keep no Python values between steps. ``inputs`` are tensors on the device, and what it
    returns is overwritten by the next step. ``generator``, on the device, is the only one it draws from, and may be
    seeded anew before each step. ``optimizer``, which it steps, has its rates in tensors (``brain.device.adamw``).

    ``wanted`` is whether to record at all; on a CPU nothing is. Where recording fails, a line in the log says so, and
    steps go on as they were.
    """

    def __init__(
        self,
        work: Callable[..., Result],
        optimizer: torch.optim.Optimizer,
        device: torch.device,
        *,
        generator: torch.Generator | None = None,
        wanted: bool = True,
    ) -> None:
        self._work, self._optimizer, self._generator = work, optimizer, generator
        self._wanted = wanted and device.type == "cuda"
        self._aside = torch.cuda.Stream(device) if self._wanted else None
        self._warm: tuple[Hashable, int] = (None, 0)
        self._recording: _Recording[Result] | None = None

    @property
    def recorded(self) -> bool:
        """Whether the last step was a replay."""
        return self._recording is not None

    def __call__(self, *inputs: Tensor, phase: Hashable = None) -> Result:
        """One step. A new ``phase``, or inputs of other shapes, are recorded anew."""
        if not self._wanted:
            return self._work(*inputs)
        key = (phase, *((value.shape, value.dtype) for value in inputs))
        if self._recording is None or self._recording.key != key:
            self._recording = None
            done = self._warm[1] if self._warm[0] == key else 0
            if done < WARM_STEPS:
                self._warm = (key, done + 1)
                return self._aside_of_the_rest(inputs)
            self._recording = self._record(key, inputs)
            if self._recording is None:
                return self._work(*inputs)
        for held, value in zip(self._recording.inputs, inputs):
            held.copy_(value)
        self._recording.graph.replay()
        return self._recording.result

    def _aside_of_the_rest(self, inputs: tuple[Tensor, ...]) -> Result:
        """A plain step on the stream that will record: gradients then belong to it."""
        assert self._aside is not None
        rest = torch.cuda.current_stream(self._aside.device)
        self._aside.wait_stream(rest)
        with torch.cuda.stream(self._aside):
            result = self._work(*inputs)
        rest.wait_stream(self._aside)
        return result

    def _record(self, key: Hashable, inputs: tuple[Tensor, ...]) -> _Recording[Result] | None:
        graph, held = torch.cuda.CUDAGraph(), tuple(value.clone() for value in inputs)
        if self._generator is not None:
            graph.register_generator_state(self._generator)
        for group in self._optimizer.param_groups:
            group["capturable"] = True
        try:
            # thread_local: the next batch is gathered by another thread meanwhile. The outer context gives stream and
            # device back when recording fails: then the inner one does not.
            with (
                torch.cuda.stream(self._aside),
                torch.cuda.graph(graph, stream=self._aside, capture_error_mode="thread_local"),
            ):
                result = self._work(*held)
        except RuntimeError as error:
            LOG.warning("no CUDA graph of the training step, plain steps instead: %s", str(error).splitlines()[0])
            self._wanted = False
            return None
        LOG.info("the training step is a CUDA graph from here on")
        return _Recording(key, graph, held, result)
