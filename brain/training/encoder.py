"""Stage 1: train the encoder by self-supervision."""

from __future__ import annotations

import torch
from torch import nn

from brain.data.source import Feed
from brain.data.windows import Batch
from brain.device import Precision, autocast
from brain.models.world_model import WorldModel
from brain.objectives.base import Objective, Terms, make_objective
from brain.objectives.collapse import effective_rank, embedding_std
from brain.runs import checkpoint
from brain.runs.folder import Compute, Run
from brain.training.loop import Budget, Loop, OpenBudget, progress
from brain.training.threads import Threads


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
) -> None:
    """Train ``model.encoder`` on windows of the training episodes and write ``encoder.safetensors``.

    Metrics of collapse (``brain.objectives.collapse``) are logged, and as it was last kept with the weights as
    ``health``. Continues from the stage's checkpoint, with the episodes that were known then. With a budget in steps,
    on a CPU, the weights do not depend on interruptions. Raises ``TinyJEPAError`` for too few frames, ``StoreError``
    for damaged data.
    """
    recipe, device = model.recipe, model.device
    objective = make_objective(recipe, model.encoder, model.action_dim).to(device)
    objective.begin(model.encoder)
    modules = {"model": model.encoder, "objective": objective}
    parameters = [p for module in modules.values() for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=recipe.objective.learning_rate, weight_decay=recipe.objective.weight_decay
    )
    before = progress(run, "encoder")
    stream = feed.stream(
        recipe.observation, objective.steps, recipe.objective.batch, seed, device, before.get("stream")
    )  # fmt: skip
    if isinstance(budget, OpenBudget):
        budget.end, budget.known_at = (lambda: stream.end), before.get("end_known_at")
    threads = Threads(compute.threads)
    loop = Loop(
        run, "encoder", budget, modules, optimizer,
        peak=recipe.objective.learning_rate, checkpoint_seconds=checkpoint_seconds, quiet=quiet,
        extra=lambda step: {"stream": stream.state(step)}, note=lambda step: f", {threads}{feed.note(stream, step)}",
        behind=lambda step: feed.behind(stream, step),
    )  # fmt: skip
    model.encoder.train()
    objective.train()
    health: dict[str, float] = {}
    for step in loop:
        objective.before_step(loop.fraction)
        batch = stream.batch(step)
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        with threads.step():
            optimizer.zero_grad(set_to_none=True)
            terms = backward(objective, model.encoder, batch, generator, compute.precision, recipe.objective.accumulate)
            if recipe.objective.gradient_clip:
                torch.nn.utils.clip_grad_norm_(parameters, recipe.objective.gradient_clip)
            optimizer.step()
        objective.after_step(model.encoder, loop.fraction)
        if loop.due:
            health = {"embedding_std": embedding_std(terms.latents), "effective_rank": effective_rank(terms.latents)}
            health |= {name: float(part) for name, part in terms.parts.items() if name.startswith("std_")}
            loop.log(loss=terms.loss, **terms.parts | health)
    threads.restore()
    stream.close()
    feed.account(stream)
    facts = loop.facts() | {"images": loop.step * stream.images_per_batch, "skipped": feed.losses(), "health": health}
    checkpoint.save(run.encoder, checkpoint.state(**objective.kept(model.encoder)), facts)
    run.checkpoint("encoder").unlink(missing_ok=True)


def backward(
    objective: Objective,
    encoder: nn.Module,
    batch: Batch,
    generator: torch.Generator,
    precision: Precision = "float32",
    parts: int = 1,
) -> Terms:
    """Add the batch's gradient to the parameters: that of the mean loss of its ``parts`` equal parts, one at a time.

    Only one part's activations are held at once. The mean of the parts' losses is the batch's loss where that is a
    mean over windows; what is computed over a batch (BatchNorm, variance, covariance, SIGReg) sees a part. Returns the
    terms of the whole batch, without gradient.
    """
    done = []
    for frames, actions in zip(batch.frames.chunk(parts), batch.actions.chunk(parts)):
        with autocast(frames.device, precision):
            terms = objective(encoder, Batch(frames, actions), generator)
        (terms.loss / parts).backward()
        done.append(terms)
    return Terms(
        torch.stack([terms.loss.detach() for terms in done]).mean(),
        {name: torch.stack([terms.parts[name].detach() for terms in done]).mean() for name in done[0].parts},
        torch.cat([terms.latents.detach() for terms in done]),
    )
