"""A run's networks as ONNX graphs, each checked against torch before it is kept.

``encoder.onnx``: ``frames`` uint8 (N, stack, H, W, C), one model step apart, oldest first, to ``z`` float32
(N, *latent_shape), the standardised latent: (N, D), or (N, T, D) of a grid. ``predictor.onnx``: ``z`` and, in a world
with actions, ``action`` float32 (N, stride * A) in the world's units, to ``mean`` and ``log_variance`` of the next
latent: one model step.
``energy.onnx``, of a judged run: ``mean``, ``next`` (the latent that came) and, of the form ``scaled``,
``log_variance`` to ``energy`` (N,) in the form that the judge chose.
``decoder.onnx``: ``z`` to ``frame`` float32 (N, H, W, C) in [0, 1]. N is free; scaling, stacking and standardisation
are inside. ``model.json`` beside them says what they are of, and which energy is too high.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from brain.data.observations import stacked
from brain.models.predictors.base import Predictor
from brain.models.world_model import EnergyKind, WorldModel
from brain.recipes.schema import Recipe
from brain.runs.folder import write_whole
from brain.runs.judgement import Judgement
from shared.errors import TinyJEPAError

OPSET = 18
TOLERANCE = 2e-4
"""Largest error allowed of an output, as a share of the output's largest absolute value (at least 1)."""
CHECKED_BATCHES = (1, 2, 7)
DESCRIPTION = "model.json"


class EncoderGraph(nn.Module):
    """uint8 frames (N, stack, H, W, C) to standardised latents: ``WorldModel.encode``, an observation each."""

    def __init__(self, model: WorldModel) -> None:
        super().__init__()
        self.encoder, self.dynamics, self.stack = model.encoder, model.dynamics, model.recipe.observation.stack

    def forward(self, frames: Tensor) -> Tensor:
        z: Tensor = self.dynamics.standardise(self.encoder(stacked(frames, self.stack).contiguous()))
        return z


class PredictorGraph(nn.Module):
    """Standardised latents and raw action chunks (N, stride * A) to mean and log-variance of the next latent."""

    def __init__(self, model: WorldModel) -> None:
        super().__init__()
        self.dynamics = model.dynamics

    def forward(self, z: Tensor, action: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.dynamics.predict(z, z.flatten(1)[:, :0] if action is None else action)


class EnergyGraph(nn.Module):
    """What the predictor graph gave and the standardised latent that came a model step later, to energies (N,)."""

    def __init__(self, model: WorldModel, form: EnergyKind) -> None:
        super().__init__()
        self.dynamics, self.form = model.dynamics, form

    def forward(self, mean: Tensor, came: Tensor, log_variance: Tensor | None = None) -> Tensor:
        """Only ``scaled`` energies read ``log_variance``."""
        return self.dynamics.compare(mean, mean if log_variance is None else log_variance, came, self.form)


@dataclass(frozen=True)
class Graph:
    """One network, the inputs it is traced and checked with, and the names of what goes in and out."""

    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: Sequence[str]


def graphs(model: WorldModel, decoder: nn.Module | None, form: EnergyKind | None = None) -> dict[str, Graph]:
    """The graphs of a run by file stem, with the energy's where its ``form`` is given; the examples, 7 of each, are
    noise from a fixed seed."""
    random = torch.Generator().manual_seed(0)
    shape = (CHECKED_BATCHES[-1], model.recipe.observation.stack, *model.spec.frame_shape)
    frames = torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)
    z = torch.randn(CHECKED_BATCHES[-1], *model.latent_shape, generator=random)
    action = torch.randn(CHECKED_BATCHES[-1], model.action_dim, generator=random)
    found = {
        "encoder": Graph(EncoderGraph(model).eval(), {"frames": frames}, ["z"]),
        "predictor": Graph(
            PredictorGraph(model).eval(),
            {"z": z} | ({"action": action} if model.action_dim else {}),
            ["mean", "log_variance"],
        ),
    }
    if form is not None:
        read = ("mean", "next", "log_variance") if form == "scaled" else ("mean", "next")
        around = {name: torch.randn(z.shape, generator=random) for name in read}
        found["energy"] = Graph(EnergyGraph(model, form).eval(), around, ["energy"])
    return found | ({"decoder": Graph(decoder, {"z": z}, ["frame"])} if decoder is not None else {})


def write_graphs(
    folder: Path, model: WorldModel, decoder: nn.Module | None, judgement: Judgement | None
) -> dict[str, Any]:
    """Write the graphs and ``model.json`` into ``folder``, made where missing; returns the content of ``model.json``.

    ``judgement`` is the run's ``judge.json``; without it there is no energy and no threshold. Raises ``TinyJEPAError``
    where a graph differs from torch by more than ``TOLERANCE``, or cannot be written as ONNX; that file is not kept.
    So it does for a model of coordinates: what standardises them would be missing.
    """
    refuse_coordinates(model.recipe)
    if not model.encoder.exports:
        kind = model.recipe.encoder.kind
        raise TinyJEPAError(f"the encoder {kind} does not go through ONNX yet: export a run of another encoder")
    folder.mkdir(parents=True, exist_ok=True)
    model = model.cpu().eval()
    errors = {}
    form = None if judgement is None else judgement.energy.form
    for name, graph in graphs(model, decoder.cpu().eval() if decoder is not None else None, form).items():
        path = folder / f"{name}.onnx"
        partial = path.with_name(path.name + ".partial")
        try:
            _write(graph, partial, name)
            errors[name] = _check(graph, partial, name)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    for name in {"energy", "decoder"} - errors.keys():
        (folder / f"{name}.onnx").unlink(missing_ok=True)  # of an earlier export
    facts = describe(model, judgement) | {"files": {name: f"{name}.onnx" for name in errors}, "largest_error": errors}
    write_whole(folder / DESCRIPTION, json.dumps(facts, indent=1) + "\n")
    return facts


def refuse_coordinates(recipe: Recipe) -> None:
    """Raises ``TinyJEPAError`` for the recipe of a model that sees coordinates."""
    if recipe.observation.mode == "state":
        raise TinyJEPAError("a model that sees coordinates cannot be exported: give a run that sees frames")


def describe(model: WorldModel, judgement: Judgement | None) -> dict[str, Any]:
    """What a user of the graphs must know: shapes, timing, the energy and its threshold, versions."""
    import onnx
    import onnxruntime

    observation, spec = model.recipe.observation, model.spec
    numbers = (model.dynamics.data_action_mean, model.dynamics.data_action_std)
    typical = [part.unflatten(0, (observation.stride, spec.action_dim)).mean(0).tolist() for part in numbers]
    energy = None
    if judgement is not None:
        energy = {
            "form": judgement.energy.form,
            "threshold": judgement.energy.thresholds.get(1),
            "false_alarm_target": judgement.energy.false_alarm_target,
        }
    return {
        "schema": 1,
        "world": spec.world,
        "world_options": spec.world_options,
        "recipe": model.recipe.name,
        "frame_shape": list(spec.frame_shape),
        "control_rate": spec.control_rate,
        "stack": observation.stack,
        "stride": observation.stride,
        "latent_dim": model.latent_dim,
        "latent_shape": list(model.latent_shape),
        "action_dim": spec.action_dim,
        "action_mean": typical[0],
        "action_std": typical[1],
        "remembers": type(model.dynamics.predictor).rollout is not Predictor.rollout,
        "energy": energy,
        "opset": OPSET,
        "tolerance": TOLERANCE,
        "versions": {"torch": torch.__version__, "onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__},
    }


def need_onnx() -> None:
    """Raise ``TinyJEPAError`` where the packages that export needs are not installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ModuleNotFoundError as error:
        raise TinyJEPAError(f"{error.name} is not installed on this box: pip install 'tinyjepa[onnx]'") from None


def _write(graph: Graph, path: Path, name: str) -> None:
    """Trace and write one graph, by the TorchScript exporter: a fiftieth of the other's time, and one package less."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # its fused attention has no ONNX form
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                graph.module, tuple(graph.inputs.values()), str(path), dynamo=False, opset_version=OPSET,
                input_names=list(graph.inputs), output_names=list(graph.outputs),
                dynamic_axes={key: {0: "batch"} for key in (*graph.inputs, *graph.outputs)},
            )  # fmt: skip
    except torch.onnx.errors.OnnxExporterError as error:
        reason = " ".join(str(error).split())[:200]
        raise TinyJEPAError(f"the {name} cannot be written as ONNX ({reason}): use another network") from None
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@torch.no_grad()
def _check(graph: Graph, path: Path, name: str) -> float:
    """The largest absolute error of any output over batches of several sizes; refused above ``TOLERANCE``."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    largest = 0.0
    for batch in CHECKED_BATCHES:
        inputs = {key: value[:batch] for key, value in graph.inputs.items()}
        expected = graph.module(*inputs.values())
        found = session.run(list(graph.outputs), {key: value.numpy() for key, value in inputs.items()})
        for one, other in zip(expected if isinstance(expected, tuple) else (expected,), found):
            error = float(np.abs(one.numpy() - other).max())
            allowed = TOLERANCE * max(1.0, float(one.abs().max()))
            if not error <= allowed:
                raise TinyJEPAError(
                    f"the {name} as ONNX differs from torch by {error:.2g}, more than {allowed:.2g}: "
                    "use other versions of torch and onnxruntime, or another network"
                )
            largest = max(largest, error)
    return largest
