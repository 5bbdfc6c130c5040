"""One step of each part in several processes: ``python -m tests.support.ranks COUNT FOLDER [plain]``.

``FOLDER/COUNT.pt`` gets what rank 0 holds after it: losses, gradients and buffers by part. With COUNT 1 everything
happens in one process, without ``torch.distributed``. ``plain`` leaves every BatchNorm as it is.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from torch import Tensor

from brain import distributed
from brain.data.windows import Batch
from brain.models.layers.batchnorm import over_all_ranks
from brain.models.world_model import WorldModel
from brain.objectives.base import make_objective
from brain.recipes.schema import Prediction
from brain.training.encoder import Criterion, backward
from brain.training.launch import launch
from brain.training.predictor import DynamicsCriterion
from shared.store.schema import StoreSpec
from tests.brain.models.test_contract import PARTS, made

WINDOWS = 24
CASES = PARTS | {"accumulated": [*PARTS["encoder cnn"], "objective.accumulate=2"]}
STAGE_2 = {
    "stage 2": Prediction(rollout=2),
    "stage 2, relative": Prediction(rollout=2, relative=True),
    "stage 2, from forecasts": Prediction(rollout=2, pushforward=3),
    "stage 2, relative, from forecasts": Prediction(rollout=2, relative=True, pushforward=3),
}
SPEC = StoreSpec(world="dots", frame_shape=(16, 16, 3), action_dim=2, control_rate=10.0, state_names=("x", "y"))


def step(case: str, plain: bool) -> dict[str, Tensor]:
    """Two steps of stage 1 without an update between, and one of stage 2, on made-up frames, actions and latents."""
    recipe = made([override for override in CASES[case] if not override.startswith("observation.mode")])
    cpu, generator = torch.device("cpu"), torch.Generator().manual_seed(1)
    torch.manual_seed(0)
    model = WorldModel(recipe, SPEC)
    objective = make_objective(recipe, model.encoder, model.action_dim)
    for parameter in [*model.parameters(), *objective.parameters()]:
        parameter.data += 0.02 * torch.randn(parameter.shape)  # a last layer may begin with zeros
    if not plain:
        for module in (model.encoder, objective):
            over_all_ranks(module, cpu)
    objective.begin(model.encoder)
    times = recipe.observation.stack + objective.steps
    frames = torch.randint(0, 256, (WINDOWS, times, *SPEC.frame_shape), generator=generator, dtype=torch.uint8)
    actions = torch.randn(WINDOWS, objective.steps, model.action_dim, generator=generator)
    batch = Batch(distributed.mine(frames), distributed.mine(actions))
    criterion = distributed.parallel(Criterion(model.encoder, objective))
    found = {}
    for number in range(2):
        terms = backward(criterion, batch, torch.Generator().manual_seed(number), parts=recipe.objective.accumulate)
        found |= {f"loss {number}": distributed.mean(terms.loss)}
        found |= {f"{name} {number}": distributed.mean(part) for name, part in terms.parts.items()}
        objective.after_step(model.encoder, 0.5)
    found |= {f"gradient {name}": p.grad for name, p in criterion.named_parameters() if p.grad is not None}
    found |= {f"buffer {name}": b for name, b in criterion.named_buffers() if b.is_floating_point()}

    for name, section in STAGE_2.items():
        latents = torch.randn(WINDOWS, section.span + 1, *model.latent_shape, generator=generator)
        taken = torch.randn(WINDOWS, section.span, model.action_dim, generator=generator)
        age = torch.arange(WINDOWS // 2) % 3 + 1 if section.pushforward else torch.empty(0)
        model.dynamics.zero_grad(set_to_none=True)
        dynamics = distributed.parallel(DynamicsCriterion(model.dynamics, section))
        losses = torch.stack(dynamics(*map(distributed.mine, (latents, taken, age))))
        losses.sum().backward()
        found[f"losses of {name}"] = distributed.mean(losses.detach())
        found |= {f"{name}, {n}": p.grad.clone() for n, p in dynamics.named_parameters() if p.grad is not None}
    return {name.replace("module.", ""): value.detach().clone() for name, value in found.items()}


def main(count: int, folder: Path, plain: bool) -> int:
    if count > 1 and "RANK" not in os.environ:
        return launch(count, [sys.executable, "-m", "tests.support.ranks", *sys.argv[1:]])
    with distributed.joined("cpu"):
        cases = ["encoder cnn"] if plain else list(CASES)
        found = {case: step(case, plain) for case in cases}
        if distributed.first():
            torch.save(found, folder / f"{count}{'-plain' if plain else ''}.pt")
    left = [name for name in threads() if "gloo" in name or "tcpstore" in name]
    if left:
        print(f"threads of a process group that should be gone, which can abort Python's end: {left}", file=sys.stderr)
    return len(left)


def threads() -> list[str]:
    """The names of this process's threads, of C++ too."""
    return [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2]), "plain" in sys.argv))
