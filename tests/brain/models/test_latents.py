"""The table of episodes' latents: addresses, transitions and windows, for vectors and for grids of tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from brain.data.sampling import dense, strided
from brain.data.windows import Timing
from brain.models.latents import Encoder, LatentTable, embed
from shared.store.reader import Store

TIMING = Timing(2, 3)


def _marked(shape: tuple[int, ...]) -> Encoder:
    """An encoder whose latent is the mean of the newest frame, in every place of its shape."""

    def encode(observations: np.ndarray) -> np.ndarray:
        mean = observations[:, -1].reshape(len(observations), -1).mean(1).astype(np.float32)
        return np.broadcast_to(mean.reshape(-1, *(1 for _ in shape)), (len(mean), *shape)).copy()

    return encode


@pytest.mark.parametrize("shape", [(4,), (3, 2), (2, 2, 5)], ids=str)
@pytest.mark.parametrize("every", ["row", "step"])
def test_windows_are_the_stores_episodes(dots: Path, shape: tuple[int, ...], every: str) -> None:
    store, rng = Store(dots), np.random.default_rng(0)
    refs = store.split("train")[:3]
    sampled = [dense(ref, TIMING) if every == "row" else strided(ref, TIMING, rng) for ref in refs]
    table = LatentTable(store.spec, refs, TIMING, sampled)
    embed(store, table, {"marks": _marked(shape)})
    latents = table.latents["marks"]
    assert latents.shape == (sum(map(len, sampled)), *shape) and latents.dtype == np.float32
    windows = table.windows(latents, torch.device("cpu"))
    starts = windows.starts(2)
    wanted = [(e, t) for e, rows in enumerate(sampled) for t in rows if t + 2 * TIMING.stride < refs[e].rows]
    assert starts.tolist() == [int(table.start[e]) + t for e, t in wanted]
    z, chunks = windows.windows(starts, 2)
    assert z.shape == (len(wanted), 3, *shape) and chunks.shape == (len(wanted), 2, 3 * store.spec.action_dim)
    read = [store.read_episode(ref) for ref in refs]
    for n in rng.permutation(len(wanted))[:20]:
        e, t = wanted[n]
        shown = read[e]["frame"][t : t + 7 : 3].reshape(3, -1).mean(1)
        assert np.allclose(z[n].reshape(3, -1).numpy(), shown[:, None], rtol=1e-6)
        assert np.array_equal(chunks[n].numpy().ravel(), read[e]["action"][t : t + 6].ravel())
    assert np.array_equal(table.state, np.concatenate([part["state"] for part in read]))


def test_what_was_not_sampled_has_no_latent(dots: Path) -> None:
    store = Store(dots)
    refs = store.split("train")[:2]
    table = LatentTable(store.spec, refs, TIMING, [dense(ref, TIMING)[::2] for ref in refs])
    assert table.place(np.array([1]), np.array([TIMING.history + 2])) == [len(table.sampled[0]) + 1]
    for row in (TIMING.history - 1, TIMING.history + 1):
        with pytest.raises(IndexError, match="not sampled"):
            table.place(np.array([0]), np.array([row]))
