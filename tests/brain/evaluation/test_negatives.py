"""Impossible futures on a store whose frames say which episode and row they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from brain.data.sampling import choose, dense, strided
from brain.data.windows import Timing
from brain.evaluation.energies import Clips, Forecasts, LatentScorer, PixelScorer, score
from brain.evaluation.negatives import FAR, HARD, KINDS, SHIFTS, Anchors, draw_anchors, propose
from brain.models.latents import LatentTable, embed
from shared.store.dataset import create_store
from shared.store.reader import Store
from shared.store.schema import Episode, RunSpec, StoreSpec, split_by_seed
from shared.store.writer import StreamWriter

SPEC = StoreSpec(
    world="marked", frame_shape=(1, 2, 3), action_dim=2, state_names=("x", "y"), control_rate=50.0,
    inner_rows=16, shard_rows=64,
)  # fmt: skip
RUN = RunSpec(seed=0, policy="uniform", max_episode_steps=400)
LENGTHS = (210, 150, 260, 40, 180)
"""Rows of the five test episodes: one is too short for most kinds."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Frames hold (index, row), as bytes; a point walks by its actions, and the state is where it is."""
    path = tmp_path_factory.mktemp("marked")
    create_store(path, SPEC)
    tests = 0
    with StreamWriter(path, SPEC, RUN, 0) as writer:
        for index in range(120):
            rng = np.random.default_rng(index)
            episode = _walk(index, 60, rng)
            if split_by_seed(episode.seed) == "test" and tests < len(LENGTHS):
                episode = _walk(index, LENGTHS[tests], rng)
                tests += 1
            elif split_by_seed(episode.seed) == "test":
                continue
            writer.append(episode)
    return Store(path)


def _walk(index: int, rows: int, rng: np.random.Generator) -> Episode:
    row = np.arange(rows)
    frame = np.zeros((rows, 1, 2, 3), np.uint8)
    frame[:, 0, 0] = np.stack([np.full(rows, index), row // 256, row % 256], axis=1)
    action = rng.normal(size=(rows, 2)).astype(np.float32)
    action[-1] = 0
    state = 100 * rng.normal(size=2) + np.concatenate([np.zeros((1, 2)), action[:-1].cumsum(0)])
    return Episode(
        index, 500 + index, "uniform", frame, action, np.zeros(rows, np.float32), state.astype(np.float32), False, True
    )


def _read(observations: np.ndarray) -> np.ndarray:
    """An encoder that reads what the frames say: (index of each frame..., row of each frame...)."""
    marks = observations[:, :, 0, 0].astype(np.float32)
    return np.concatenate([marks[..., 0], 256 * marks[..., 1] + marks[..., 2]], axis=1)


def _table(store: Store, timing: Timing) -> LatentTable:
    refs = choose(store.split("test"), timing, 10**6)
    table = LatentTable(store.spec, refs, timing, [dense(ref, timing) for ref in refs])
    embed(store, table, {"marks": _read})
    return table


@pytest.mark.parametrize("timing", [Timing(1, 4), Timing(2, 4), Timing(3, 2), Timing(2, 1)], ids=str)
def test_every_kind_shows_the_frames_it_says(store: Store, timing: Timing) -> None:
    s, d = timing.stack, timing.stride
    table = _table(store, timing)
    anchors = draw_anchors(table, 400, np.random.default_rng(0))
    proposals = {kind: propose(kind, anchors, table, seed=3) for kind in KINDS}
    clips = Clips(anchors, proposals, {"marks": _read})
    embed(store, table, {}, visitors=(clips.visit,))
    index = np.array([ref.index for ref in table.refs])[anchors.episode]
    t = anchors.row
    length = table.rows[anchors.episode]

    def shown(kind: str) -> tuple[np.ndarray, np.ndarray]:
        """Indices (N,) and rows (N, stack) that the proposals of a kind show, checked to be of one episode."""
        proposal = proposals[kind]
        if proposal.clip is not None:
            marks = clips.of("marks")[kind]
        else:
            assert proposal.observation is not None
            marks = table.latents["marks"][table.place(*proposal.observation)]
        marks = marks[proposal.valid]
        assert (marks[:, :s] == marks[:, :1]).all()
        return marks[:, 0], marks[:, s:]

    def clip(*rows: np.ndarray) -> np.ndarray:
        return np.stack([*([t - d * k for k in range(s, 0, -1)]), *rows], axis=1)[:, -s:]

    backwards = (s - 1) * d
    who, rows = shown("teleport")
    assert (who != index).all() and set(who) <= {ref.index for ref in table.refs}
    assert (np.diff(rows, axis=1) == d).all()
    ok = proposals["far"].valid
    who, rows = shown("far")
    assert (who == index[ok]).all() and (np.abs(rows[:, -1] - (t + d)[ok]) >= FAR).all() and (rows >= 0).all()
    assert (np.diff(rows, axis=1) == d).all()
    assert (rows[:, -1] < (t + d)[ok]).any() and (rows[:, -1] > (t + d)[ok]).any()
    for shift, kind in zip(SHIFTS, HARD):
        ok = proposals[kind].valid
        who, rows = shown(kind)
        assert (who == index[ok]).all() and (rows[:, -1] == (t + d + shift)[ok]).all()
        assert (ok == ((t + d + shift >= backwards) & (t + d + shift < length))).all()
    who, rows = shown("frozen")
    assert (who == index).all() and (rows == clip(t, t)).all()
    ok = proposals["reversed"].valid
    who, rows = shown("reversed")
    assert (who == index[ok]).all() and (rows == clip(t, t - d)[ok]).all() and (ok == (t >= d)).all()
    for kind, steps in (("wrong-action-1", 1), ("wrong-action-4", 4)):
        proposal = proposals[kind]
        assert proposal.steps == steps and proposal.action is not None and proposal.observation is None
        episode, row = (side[proposal.valid] for side in proposal.action)
        assert (episode != anchors.episode[proposal.valid]).all()
        assert (row >= 0).all() and (row + steps * d < table.rows[episode]).all()


def test_wrong_actions_beside_a_last_episode_of_few_rows(store: Store) -> None:
    """The last rows of the table: chunks that would end behind it are not looked up."""
    timing = Timing(2, 4)
    refs = sorted(choose(store.split("test"), timing, 10**6), key=lambda ref: -ref.rows)
    table = LatentTable(store.spec, refs, timing, [dense(ref, timing) for ref in refs])
    table.action[:] = np.random.default_rng(0).normal(size=table.action.shape)
    last = len(refs) - 1
    rows = np.arange(timing.history, table.rows[last] - timing.stride)
    anchors = Anchors(np.full(len(rows), last), rows)
    proposal = propose("wrong-action-4", anchors, table, 0)
    assert (proposal.valid == (rows + 4 * timing.stride < table.rows[last])).all()
    assert proposal.valid.any() and not proposal.valid.all()


def test_anchors_are_shared_even_and_transitions(store: Store) -> None:
    timing = Timing(2, 4)
    table = _table(store, timing)
    anchors = draw_anchors(table, 100, np.random.default_rng(0))
    counts = np.bincount(anchors.episode, minlength=len(LENGTHS))
    assert counts.tolist() == [20, 20, 20, 4, 20]  # the short episode has no more rows with every kind
    assert len(set(zip(anchors.episode.tolist(), anchors.row.tolist()))) == len(anchors)
    assert (anchors.row >= timing.history).all()
    assert (anchors.row + timing.stride < table.rows[anchors.episode]).all()
    long = table.rows[anchors.episode] > 100
    for kind in KINDS:
        valid = propose(kind, anchors, table, 0).valid
        assert valid[long].all() or kind == "far"
    again = draw_anchors(table, 100, np.random.default_rng(0))
    assert (again.row == anchors.row).all()
    assert draw_anchors(table, 10**6, np.random.default_rng(0)).row.size <= table.rows.sum()


def test_training_rows_are_model_steps_apart(store: Store) -> None:
    timing = Timing(2, 4)
    rng = np.random.default_rng(0)
    ref = store.split("train")[0]
    phases = set()
    for _ in range(40):
        rows = strided(ref, timing, rng)
        assert rows[0] >= timing.history and rows[-1] < ref.rows and (np.diff(rows) == timing.stride).all()
        assert len(rows) >= 2
        phases.add(int(rows[0]) % timing.stride)
    assert phases == {0, 1, 2, 3}


class Perfect:
    """Knows the walk: the next place is this one plus the actions."""

    def rollout(self, z: Tensor, actions: Tensor) -> Tensor:
        return z[:, None] + actions.unflatten(2, (-1, 2)).sum(2).cumsum(1)

    def predict(self, z: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        return self.rollout(z, action[:, None])[:, 0], torch.zeros_like(z)

    def compare(self, mean: Tensor, log_variance: Tensor, proposal: Tensor, kind: str, steps: int = 1) -> Tensor:
        return (mean - proposal).square().mean(1).round(decimals=4)


class Blind:
    """Knows nothing: energies are noise."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)

    def rollout(self, z: Tensor, actions: Tensor) -> Tensor:
        return z[:, None].expand(-1, actions.shape[1], -1)

    def predict(self, z: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        return z, torch.zeros_like(z)

    def compare(self, mean: Tensor, log_variance: Tensor, proposal: Tensor, kind: str, steps: int = 1) -> Tensor:
        return torch.rand(len(mean), generator=self.generator)


def test_a_perfect_model_scores_one_and_a_blind_one_half(store: Store) -> None:
    table = _table(store, Timing(1, 4))
    anchors = draw_anchors(table, 700, np.random.default_rng(0))
    proposals = {kind: propose(kind, anchors, table, 0) for kind in KINDS}
    scorers = {
        "perfect": LatentScorer(table, anchors, table.state, {}, Forecasts(table, anchors, table.state, Perfect())),
        "blind": LatentScorer(table, anchors, table.state, {}, Forecasts(table, anchors, table.state, Blind())),
        "no-predictor": LatentScorer(table, anchors, table.state, {}, None),
    }
    scored = score(scorers, proposals, list(KINDS))
    assert set(KINDS) - set(scored) == set() and scored["frozen"] == {} and scored["reversed"] == {}
    for kind in set(KINDS) - {"frozen", "reversed"}:
        assert scored[kind]["perfect"].auc == 1.0, kind
        assert scored[kind]["perfect"].pair_accuracy == 1.0, kind
        assert scored[kind]["blind"].auc == pytest.approx(0.5, abs=0.06), kind
    # Without a predictor the current observation looks like the best of futures, and actions do not count.
    assert scored["near-4"]["no-predictor"].pair_accuracy == 0.0
    assert scored["wrong-action-1"]["no-predictor"].auc == 0.5
    assert scored["wrong-action-4"]["no-predictor"].auc == 0.5


def test_pixel_baseline_is_the_distance_of_the_frames(store: Store) -> None:
    timing = Timing(2, 4)
    table = _table(store, timing)
    anchors = draw_anchors(table, 60, np.random.default_rng(1))
    proposals = {kind: propose(kind, anchors, table, 1) for kind in KINDS}
    pixels = PixelScorer(table, anchors, proposals)
    embed(store, table, {}, visitors=(pixels.visit,))
    frames = [store.read_episode(ref, "frame")["frame"].astype(float) / 255 for ref in table.refs]

    def distance(n: int, episode: int, row: int) -> float:
        current = frames[anchors.episode[n]][anchors.row[n]]
        return float(np.mean((current - frames[episode][row]) ** 2))

    for kind, proposal in proposals.items():
        energies = pixels.impossible(kind, proposal)
        assert energies is not None
        for n in np.flatnonzero(proposal.valid):
            if proposal.clip is not None:
                expected = distance(n, anchors.episode[n], proposal.clip[n, -1])
            elif proposal.observation is not None:
                expected = distance(n, *(int(side[n]) for side in proposal.observation))
            else:
                expected = distance(n, anchors.episode[n], anchors.row[n] + proposal.steps * timing.stride)
            assert energies[n] == pytest.approx(expected, rel=1e-5, abs=1e-9)
        assert np.isnan(energies[~proposal.valid]).all()
    assert pixels.true(1)[0] == pytest.approx(distance(0, anchors.episode[0], anchors.row[0] + timing.stride))


def test_one_episode_has_no_teleports(store: Store) -> None:
    timing = Timing(2, 4)
    refs = store.split("test")[:1]
    table = LatentTable(store.spec, refs, timing, [dense(ref, timing) for ref in refs])
    anchors = Anchors(np.zeros(5, np.int64), np.arange(20, 25))
    for kind in ("teleport", "wrong-action-1", "wrong-action-4"):
        assert not propose(kind, anchors, table, 0).valid.any()


@pytest.mark.parametrize("steps", [1, 4])
def test_wrong_actions_are_never_the_true_ones(store: Store, steps: int) -> None:
    """Two actions, one taken nine times in ten: a random chunk of another episode is often the same."""
    timing = Timing(2, 1)
    table = _table(store, timing)
    rare = np.random.default_rng(0).random(len(table.action)) < 0.1
    table.action[:] = np.where(rare[:, None], [0.0, 1.0], [1.0, 0.0])
    anchors = draw_anchors(table, 400, np.random.default_rng(0))
    proposal = propose(f"wrong-action-{steps}", anchors, table, seed=3)
    assert proposal.action is not None and proposal.valid.mean() > 0.9
    taken = table.chunks(anchors.episode, anchors.row, steps)
    wrong = table.chunks(*proposal.action, steps)
    assert (taken != wrong).any(axis=(1, 2))[proposal.valid].all()
    table.action[:] = [1.0, 0.0]
    assert not propose(f"wrong-action-{steps}", anchors, table, seed=3).valid.any(), "there is no wrong action"
