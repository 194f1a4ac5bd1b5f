from __future__ import annotations

import math

import torch

from rvpo.advantage import HardMin

from .matrices import matrix


def test_every_sample_is_worth_its_worst_reward() -> None:
    values = HardMin(whiten=False, eps=1e-12)(matrix([[0, 1], [1, 0], [1, 1], [0, 0]], 4)).values
    worst = torch.tensor([-1.0, -1.0, 1.0, -1.0], dtype=torch.double) * math.sqrt(0.75)
    torch.testing.assert_close(values, worst)


def test_missing_worst_reward_is_not_a_zero() -> None:
    values = HardMin(whiten=False, eps=1e-12)(matrix([[0, None], [1, 0], [1, 1]], 3)).values
    torch.testing.assert_close(values[0].item(), -2 / math.sqrt(3))


def test_rewards_that_tie_share_the_contribution_by_weight_and_the_bottleneck_equally() -> None:
    metrics = HardMin()(matrix([[0, 0], [1, 1]], 2, [1.0, 3.0])).metrics
    assert [metrics[f"advantage/weight/r{j}"] for j in range(2)] == [0.25, 0.75]
    assert [metrics[f"advantage/bottleneck/r{j}"] for j in range(2)] == [0.5, 0.5]


def test_weight_zero_is_never_the_worst() -> None:
    rows = [[0, 9], [1, 8], [2, 7]]
    with_monitor = HardMin()(matrix(rows, 3, [1.0, 0.0])).values
    torch.testing.assert_close(with_monitor, HardMin()(matrix([[0], [1], [2]], 3)).values)
