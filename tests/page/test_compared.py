"""The page calls by its name what an estimator compares."""

from __future__ import annotations

import pytest
import torch

from rvpo import GDPO, GRPO, RVPO, Rewards
from rvpo.advantage import Estimator, LevelMin, RawRVPO
from rvpo.page.compared import compared

SCORES = torch.tensor([[0.0], [0.5], [0.5], [1.0]])
Z = torch.tensor([-1.2247, 0.0, 0.0, 1.2247])
NUMBERS = {
    "z": Z,
    "z of the level": torch.tensor([-0.866, -0.2887, -0.2887, 1.4434]),  # of 0, .25, .25, 1
    "centred score": torch.tensor([-0.5, 0.0, 0.0, 0.5]),
    "centred level": torch.tensor([-0.375, -0.125, -0.125, 0.625]),
}


@pytest.mark.parametrize(
    "estimator",
    [
        GRPO(),
        GRPO(scale="none"),
        GRPO(scale="none", inputs="level"),
        GDPO(),
        GDPO(scale="none"),
        GDPO(inputs="level"),
        RVPO(inputs="level", scale="none"),
        RawRVPO(scale="none"),
        LevelMin(),
        LevelMin(scale="group"),
    ],
)
def test_what_stands_under_z_is_what_the_page_calls_it(estimator: Estimator) -> None:
    found = estimator(Rewards(SCORES, ["a"], 4)).z[:, 0]
    assert torch.allclose(found, NUMBERS[compared(estimator)], atol=2e-3)
