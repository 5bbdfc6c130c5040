"""What heads on frozen latents are fitted to: pairs by hindsight, rewards of a model step, returns to the end."""

from __future__ import annotations

import numpy as np
import torch

from brain.planning.costs.learned import ValueOptions, reward_loss, steps_loss, value_loss
from brain.planning.learned import Examples, Head, fit, hindsight


def line(terminated: bool, stride: int = 1, every: int = 1) -> Examples:
    """Two episodes of 10 rows; the latent says which row of an episode it is, every action earns 1."""
    place = torch.arange(10.0).repeat(2)
    z = torch.stack([place / 10, torch.ones(20), (place / 10) ** 2], 1)
    last = torch.tensor([9] * 10 + [19] * 10)
    rewards = (place < 9).float()
    ended = torch.full((20,), terminated)
    return Examples(z, np.zeros((20, 0), np.float32), torch.zeros(20, 1), rewards, last, ended, stride, every)


def test_pairs_lie_in_one_episode_and_in_order() -> None:
    data = line(False, every=3)
    rows, goals, ahead = hindsight(data, torch.Generator().manual_seed(0))
    assert torch.equal(data.last[rows], data.last[goals]) and (goals > rows).all()
    assert torch.equal(ahead, 3 * (goals - rows)) and set(ahead.tolist()) == {3 * k for k in range(1, 10)}


def test_rewards_of_a_model_step_end_with_the_episode() -> None:
    assert line(False, stride=4).earned.tolist() == [4, 4, 4, 4, 4, 4, 3, 2, 1, 0] * 2


def test_a_value_knows_that_an_episode_ends() -> None:
    """With a discount of about 1 the return of row r is 9 - r where the episode ends for good, else that of 4 steps."""
    options = ValueOptions(kind="value", discount=0.999999, ahead=20)
    data = line(True)
    head = Head(torch.Size((3,)), 1)
    fit(head, data, lambda *given: value_loss(*given, options), 400, seed=0)
    value = head(data.z)[:10, 0]
    assert torch.allclose(value, 9 - torch.arange(10.0), atol=0.7)
    head = Head(torch.Size((3,)), 1)
    fit(
        head,
        line(False),
        lambda *given: value_loss(*given, ValueOptions(kind="value", discount=0.999999, ahead=4)),
        200,
        0,
    )
    assert torch.allclose(head(data.z)[:6, 0], torch.full((6,), 4.0), atol=0.3)


def test_steps_and_rewards_are_learned() -> None:
    data = line(False)
    head = Head(torch.Size((3,)), 1, pair=True)
    fit(head, data, steps_loss, 400, seed=0)
    first, later = data.z[:1], data.z[torch.tensor([0, 2, 8])]
    steps = torch.expm1(torch.nn.functional.softplus(head(first.expand(3, -1), later)[:, 0]))
    assert steps[0] < 0.7 and abs(steps[1] - 2) < 1 and abs(steps[2] - 8) < 2.5
    head = Head(torch.Size((3,)), 1, extra=1)
    fit(head, data, reward_loss, 200, seed=0)
    assert torch.allclose(head(data.z[:9], extra=torch.zeros(9, 1))[:, 0], torch.ones(9), atol=0.1)


def test_the_same_fit_gives_the_same_weights() -> None:
    heads = [Head(torch.Size((3,)), 1, pair=True) for _ in range(2)]
    for head in heads:
        fit(head, line(False), steps_loss, 5, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(heads[0].state_dict().values(), heads[1].state_dict().values()))
