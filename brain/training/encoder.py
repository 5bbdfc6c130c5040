"""Stage 1: train the encoder by self-supervision."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn

from brain import distributed
from brain.data.source import Feed
from brain.data.windows import Batch
from brain.device import Precision, adamw, autocast, compiled
from brain.models.layers.batchnorm import over_all_ranks
from brain.models.world_model import WorldModel
from brain.objectives.base import Objective, Terms, make_objective
from brain.objectives.collapse import effective_rank, embedding_std
from brain.recipes.schema import ObjectiveOptions
from brain.runs import checkpoint
from brain.runs.folder import Compute, Run
from brain.training.graph import StepGraph
from brain.training.loop import OPEN_END, Budget, Loop, OpenBudget, progress
from brain.training.threads import Threads
from shared.errors import TinyJEPAError


def train_encoder(
    run: Run,
    model: WorldModel,
    feed: Feed,
    budget: Budget,
    *,
    compute: Compute,
    seed: int,
    checkpoint_seconds: float,
    quiet: bool,
    graphs: bool = True,
) -> None:
    """Train ``model.encoder`` on windows of the training episodes and write ``encoder.safetensors``.

    Metrics of collapse (``brain.objectives.collapse``) are logged, and as it was last kept with the weights as
    ``health``. Continues from the stage's checkpoint, with the episodes that were known then. With a budget in steps,
    on a CPU, the weights do not depend on interruptions. Several processes share each batch (``brain.distributed``).
    ``graphs`` is whether steps may be replayed on a GPU (``brain.training.graph``).
    Raises ``TinyJEPAError`` for too few frames and where training diverges, ``StoreError`` for damaged data.
    """
    recipe, device = model.recipe, model.device
    check_shares(recipe.objective)
    objective = make_objective(recipe, model.encoder, model.action_dim).to(device)
    for module in (model.encoder, objective):
        over_all_ranks(module, device)
    objective.begin(model.encoder)
    modules = {"model": model.encoder, "objective": objective}
    step_of = EncoderStep(model.encoder, objective, compute, device, graphs=graphs)
    before = progress(run, "encoder")
    stream = feed.stream(
        recipe.observation, objective.steps, recipe.objective.batch, seed, device, before.get("stream")
    )  # fmt: skip
    if isinstance(budget, OpenBudget):
        budget.end, budget.known_at = (lambda: stream.end), before.get(OPEN_END)
    threads = Threads(compute.threads)
    health: dict[str, float] = before.get("health") or {}
    with contextlib.ExitStack() as ending:
        ending.callback(stream.close)
        ending.callback(threads.restore)
        loop = Loop(
            run, "encoder", budget, modules, step_of.optimizer,
            peak=recipe.objective.learning_rate, checkpoint_seconds=checkpoint_seconds, quiet=quiet,
            extra=lambda step: {"stream": stream.state(step), "health": health},
            note=lambda step: f", {threads}{feed.note(stream, step)}",
            behind=lambda step: feed.behind(stream, step),
        )  # fmt: skip
        model.encoder.train()
        objective.train()
        for step in loop:
            objective.before_step(loop.fraction)
            batch = stream.batch(step)
            with threads.step():
                terms = step_of(batch, (seed * 1_000_003 + step) % (1 << 63))
            objective.after_step(model.encoder, loop.fraction)
            if loop.due:
                latents = distributed.gathered(terms.latents)
                health = {"embedding_std": embedding_std(latents), "effective_rank": effective_rank(latents)}
                health |= {name: float(part) for name, part in terms.parts.items() if name.startswith("std_")}
                loop.log(loss=terms.loss, **terms.parts | health)
    feed.account(stream)
    facts = loop.facts() | {"images": loop.step * stream.images_per_batch, "skipped": feed.losses()}
    if distributed.first():
        checkpoint.save(run.encoder, checkpoint.state(**objective.kept(model.encoder)), facts)
        run.checkpoint("encoder").unlink(missing_ok=True)


def check_shares(options: ObjectiveOptions) -> None:
    """Raise ``TinyJEPAError`` where the processes cannot have equal shares of a batch."""
    ranks = distributed.world_size()
    if ranks > 1 and options.batch % (ranks * options.accumulate):
        parts = f" in {options.accumulate} parts (objective.accumulate)" if options.accumulate > 1 else ""
        raise TinyJEPAError(
            f"objective.batch {options.batch} does not divide among {ranks} processes{parts}: set it to a multiple of "
            f"{ranks * options.accumulate}, or start fewer with --gpus"
        )


class EncoderStep:
    """One optimiser step of stage 1 after another; on a GPU replayed as a CUDA graph if it can be and ``graphs``.

    ``encoder`` and ``objective`` are on the device, in training mode, and ``objective.begin`` has been called.
    """

    def __init__(
        self, encoder: nn.Module, objective: Objective, compute: Compute, device: torch.device, *, graphs: bool = True
    ) -> None:
        self.options, self.objective, self.precision = objective.options, objective, compute.precision
        criterion: nn.Module = Criterion(encoder, objective)
        self.criterion = distributed.parallel(compiled(criterion, device) if compute.compiled else criterion)
        self.parameters = [p for module in (encoder, objective) for p in module.parameters() if p.requires_grad]
        self.optimizer = adamw(self.parameters, self.options.learning_rate, self.options.weight_decay)
        self.generator = torch.Generator(device if objective.replayable else "cpu")
        wanted = graphs and objective.replayable and distributed.world_size() == 1
        self.graph = StepGraph(self._work, self.optimizer, device, generator=self.generator, wanted=wanted)

    def __call__(self, batch: Batch, seed: int) -> Terms:
        """The terms of the batch, without gradient; the next step may overwrite them. ``seed`` is of its draws."""
        self.generator.manual_seed(seed)
        return self.graph(batch.frames, batch.actions, phase=self.objective.phase)

    def _work(self, frames: Tensor, actions: Tensor) -> Terms:
        self.optimizer.zero_grad(set_to_none=True)
        batch = Batch(frames, actions)
        terms = backward(self.criterion, batch, self.generator, self.precision, self.options.accumulate)
        if self.options.gradient_clip:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.options.gradient_clip)
        self.optimizer.step()
        return terms


class Criterion(nn.Module):
    """An objective and its encoder as one module, which several processes can train together."""

    def __init__(self, encoder: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.encoder, self.objective = encoder, objective

    def forward(
        self, frames: Tensor, actions: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """The fields of ``Terms`` of a batch; only the loss has a gradient."""
        terms = self.objective(self.encoder, Batch(frames, actions), generator)
        return terms.loss, {name: part.detach() for name, part in terms.parts.items()}, terms.latents.detach()


def backward(
    criterion: nn.Module,
    batch: Batch,
    generator: torch.Generator,
    precision: Precision = "float32",
    parts: int = 1,
) -> Terms:
    """Add the batch's gradient to the parameters: that of the mean loss of its ``parts`` equal parts, one at a time.

    Only one part's activations are held at once. The mean of the parts' losses is the batch's loss where that is a
    mean over windows; what is computed over a batch (BatchNorm, variance, covariance, SIGReg) sees a part, of all
    processes. Returns the terms of this process's batch, without gradient. ``criterion`` is a ``Criterion``, or
    ``brain.distributed.parallel`` of one, which averages gradients over processes with the last part.
    """
    done = []
    for number, (frames, actions) in enumerate(zip(batch.frames.chunk(parts), batch.actions.chunk(parts)), 1):
        with distributed.unsynchronised(criterion, number < parts):
            with autocast(frames.device, precision):
                loss, named, latents = criterion(frames, actions, generator)
            (loss / parts).backward()
        done.append(Terms(loss.detach(), named, latents))
    return Terms(
        torch.stack([terms.loss for terms in done]).mean(),
        {name: torch.stack([terms.parts[name] for terms in done]).mean() for name in done[0].parts},
        torch.cat([terms.latents for terms in done]),
    )
