"""One test episode, frame by frame, with injected frames of other episodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from brain.data.state_mode import pictures
from brain.data.states import States
from brain.evaluation.energies import Dynamics, Form
from brain.models.latents import LatentTable
from shared.store.reader import Store

FRAMES = 320
"""Maximum number of rows shown, from the middle of the episode."""

STRIP = 13
"""Number of frames in the strip."""

INJECTED = (2, 5, 8, 11)
"""Positions in the strip at which another episode is injected."""


@dataclass(frozen=True)
class Timeline:
    """The energy of each proposed frame of an episode, some of which come from other episodes."""

    episode: int
    """index of the episode in the store"""
    row: np.ndarray
    """rows of the proposed frames, (T,)"""
    energy: np.ndarray
    """(T,)"""
    injected: np.ndarray
    """first rows of the injections"""
    length: int
    """rows of an injection: one model step"""
    strip: list[tuple[np.ndarray, int, bool]]
    """pictures uint8 (H, W, C) as proposed, their rows, and whether they are injected"""


@torch.no_grad()
def watch(
    store: Store,
    table: LatentTable,
    latents: np.ndarray,
    dynamics: Dynamics,
    form: Form,
    seed: int,
    device: torch.device,
) -> Timeline:
    """Proposes every frame of one test episode to the model, and at marked rows another episode's instead.

    ``latents`` (M, *shape) are those of the table's observations. Takes the longest episode; where the world declares
    typical rows, of those that have 90 % of them, if there is one. Each injection lasts one model step; each comes from
    another test episode (none where there is only one).
    """
    rng = np.random.default_rng([seed, *b"timeline"])
    e, stride = _most_typical(store, table), table.timing.stride
    length = int(table.rows[e])
    first = table.timing.history + stride
    first += max(0, (length - first - FRAMES) // 2)
    rows = np.arange(first, min(length, first + FRAMES))
    episode = np.full(len(rows), e)
    shown_episode, shown_row = episode.copy(), rows.copy()
    positions = np.linspace(0, len(rows) - 1, STRIP + 1)
    middles = ((positions[:-1] + positions[1:]) / 2).astype(int)
    injected = []
    if len(table) > 1 and len(rows) > 2 * STRIP:
        for position in INJECTED:
            other = int((e + rng.integers(1, len(table))) % len(table))
            at = middles[position]
            span = min(stride, len(rows) - at, int(table.rows[other]) - table.timing.history)
            donor = int(rng.integers(table.timing.history, table.rows[other] - span + 1))
            shown_episode[at : at + span], shown_row[at : at + span] = other, np.arange(donor, donor + span)
            injected.append(int(rows[at]))
    z = torch.from_numpy(latents[table.place(episode, rows - stride)]).to(device)
    action = torch.from_numpy(table.chunks(episode, rows - stride, 1)[:, 0]).to(device)
    proposal = torch.from_numpy(latents[table.place(shown_episode, shown_row)]).to(device)
    energy = dynamics.energy(z, action, proposal, form).double().cpu().numpy()
    strip = []
    for at in middles:
        ref = table.refs[shown_episode[at]]
        row = ref.first + int(shown_row[at])
        frame = pictures(store, ref.stream, row, row + 1)[0]
        strip.append((frame, int(rows[at]), bool(shown_episode[at] != e)))
    return Timeline(table.refs[e].index, rows, energy, np.array(injected, np.int64), stride, strip)


def _most_typical(store: Store, table: LatentTable) -> int:
    typical = States.of(store.spec).typical(table.state)
    rows = table.rows.astype(float)
    if typical is not None:
        share = np.array([typical[s : s + n].mean() for s, n in zip(table.start, table.rows)])
        rows = np.where(share >= 0.9, rows, rows / 1e6)
    return int(rows.argmax())
