"""The card of a run, README.md in its folder: how it was made, its figures, the hashes of its weights, its limits.

Everything is read from the run folder; nothing is computed but the hashes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from brain.pretrained import CARD
from brain.reports.report import commands
from brain.runs.figures import PlanResult, Record, figure_text, judged, read_run
from brain.runs.folder import write_whole
from brain.runs.judgement import Judgement, PairScores
from shared.errors import TinyJEPAError

WEIGHTS = ("encoder.safetensors", "predictor.safetensors")
PLANNING = "planning-*.safetensors"
POOR = 0.5
"""Share of a violation's clips below which finding it is called a limit."""


def write_card(path: Path) -> Path:
    """Write the card into the run folder; returns its file. Raises what ``card`` raises."""
    text = card(path)
    try:
        write_whole(path / CARD, text)
    except OSError as error:
        raise TinyJEPAError(
            f"cannot write {path / CARD} ({error.strerror}): make room, or the folder writable"
        ) from None
    return path / CARD


def card(path: Path) -> str:
    """Markdown. Raises ``TinyJEPAError`` for a run that is not finished, not judged, or damaged."""
    run, judgement = read_run(path, path.resolve().name), judged(path)
    hashes = {name: _sha256(path / name) for name in (*WEIGHTS, *sorted(p.name for p in path.glob(PLANNING)))}
    parts = (
        _head(run), _made(run, judgement), _figures(judgement), _planned(run), _weights(hashes), _use(run, judgement),
    )  # fmt: skip
    return "\n\n".join(text for part in parts if (text := "\n".join(part))) + "\n"


def _head(run: Record) -> Iterator[str]:
    recipe = run.recipe
    yield f"# {run.facts['world']}: {recipe.name}"
    yield ""
    yield f"A world model of TinyJEPA for `{run.facts['world']}`: {recipe.summary}."


def _made(run: Record, judgement: Judgement) -> Iterator[str]:
    facts = run.facts
    collect = facts.get("collect")
    # The folder of a run that comes with the package depends on the machine: its commands name the usual place.
    made = commands(replace(run, path=Path("runs") / run.name) if collect else run)
    yield "## How it was made"
    yield ""
    yield "```"
    if collect:
        yield str(collect)
    yield made["train"]
    yield made["judge"]
    yield from facts.get("plan", ())
    yield "```"
    yield ""
    splits = ", ".join(f"{part.episodes:,} {name}" for name, part in judgement.data.items())
    versions = ", ".join(f"{name} {number}" for name, number in facts.get("versions", {}).items())
    device = {"cpu": "CPU", "cuda": "GPU"}.get(judgement.device.partition(":")[0], "not recorded")
    trained = "CPU" if facts.get("device") == "cpu" else facts.get("device")
    rows = {
        "recipe": f"`{run.recipe.name}`, in full in recipe.toml",
        "steps": f"encoder {run.steps('encoder'):,}, predictor {run.steps('predictor'):,}",
        "seed": str(facts["seed"]),
        "data": f"world `{facts['world']}`, frames {'x'.join(map(str, facts['frame_shape']))}; episodes: {splits}",
        "versions": versions or "not recorded",
        "hardware": f"trained on {trained}, judged on {device}" if trained not in (None, "", device) else device,
    }
    yield "| | |"
    yield "|---|---|"
    yield from (f"| {name} | {value} |" for name, value in rows.items())


def _figures(judgement: Judgement) -> Iterator[str]:
    yield "## Figures"
    yield ""
    yield "On test episodes, as in judge.json. A baseline is pixels, PCA, an untrained network with a predictor that is"
    yield "fitted for a few hundred steps (`brain train --encoder untrained` makes a stronger one), or the trained"
    yield "latents without the predictor."
    yield ""
    yield "| | model | best baseline |"
    yield "|---|---|---|"
    for item in judgement.headline.values():
        if item.missing:
            yield f"| {item.label} | {item.missing} | |"
        else:
            yield f"| {item.label} | {figure_text(item.value)} | {figure_text(item.baseline)} ({item.baseline_name}) |"
    mean = judgement.violations_mean
    if mean is not None:
        yield ""
        seen = sum("@" not in name for name in judgement.violations)
        yield f"Violations of expectation, mean of {seen}: {_scores(mean)}."
        for name, scores in mean.unseen.items():
            alarms = [one.false_alarm_rate for key, one in judgement.violations.items() if key.endswith(f"@{name}")]
            rates = [rate for rate in alarms if rate is not None]
            false = figure_text(sum(rates) / len(rates) if rates else None)
            yield f"In scenes unlike those of training ({name}): {_scores(scores)}, false alarms {false}."
        yield ""
        yield "| violation | relative accuracy | AUC | detected |"
        yield "|---|---|---|---|"
        for name, found in judgement.violations.items():
            told = (found.relative_accuracy, found.auc, found.detection_rate)
            yield f"| {name} | " + " | ".join(map(figure_text, told)) + " |"


def _planned(run: Record) -> Iterator[str]:
    if (plan := run.plan) is None:
        return
    yield "## Planning"
    yield ""
    fixed = "the fixed list, none of which was trained on" if plan.list == "fixed" else plan.list
    yield f"Task `{plan.task}`, {plan.episodes} episodes of {fixed}."
    yield ""
    yield "| | |"
    yield "|---|---|"
    for name, found in {plan.agent: plan, **plan.baselines}.items():
        yield f"| {name} | {_result(found)} |"


def _result(found: PlanResult) -> str:
    if found.score:
        return f"score {found.score.mean:.0f} +- {found.score.std:.0f}"
    ended = (found.success or {})["at_end"]
    return f"success at the end {ended.rate:.0%} [{ended.low:.0%}, {ended.high:.0%}]"


def _weights(hashes: dict[str, str]) -> Iterator[str]:
    yield "## Weights"
    yield ""
    yield "float32 safetensors, SHA-256:"
    yield ""
    yield "```"
    yield from (f"{digest}  {name}" for name, digest in hashes.items())
    yield "```"


def _use(run: Record, judgement: Judgement) -> Iterator[str]:
    world, rate = run.facts["world"], run.recipe.energy.false_alarm_rate
    yield "## Intended use and limits"
    yield ""
    yield "* For trying the tools, for teaching, and as a small baseline to compare with."
    yield f"* It knows `{world}` as its store was collected, and nothing else: frames of other shape, size or look are"
    yield "  outside what it can judge. The figures are those of one seed."
    yield f"* Thresholds are set on validation episodes to {rate:.0%} false alarms; elsewhere there can be more."
    worse = [item.label for item in judgement.headline.values() if item.beats_baseline is False]
    if worse:
        yield f"* No better than the best baseline: {'; '.join(worse)}."
    found = {name: violation.detection_rate for name, violation in judgement.violations.items()}
    missed = [name for name, rate in found.items() if rate is not None and rate < POOR]
    if missed:
        yield f"* Found at the threshold in less than half of the clips: {', '.join(missed)}."


def _scores(scores: PairScores) -> str:
    named = {"relative accuracy": scores.relative_accuracy, "AUC": scores.auc, "detected": scores.detection_rate}
    return ", ".join(f"{name} {figure_text(value)}" for name, value in named.items())


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        raise TinyJEPAError(f"{path} is missing: finish the run with brain train") from None
