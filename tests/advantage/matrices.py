"""Reward matrices for tests, written down, drawn by hypothesis or random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from rvpo.advantage import (
    DARA,
    DVAO,
    GD2PO,
    GDPO,
    GDPOSAW,
    GRPO,
    MOGRPO,
    POW3R,
    RDPO,
    RVPO,
    SAMRPO,
    CorrGRPO,
    CVaR,
    HardMin,
    LevelMin,
    MeanVariance,
    RawRVPO,
    RubricDropout,
    SmoothTchebycheff,
)
from rvpo.satisfied import Satisfied
from rvpo.types import Advantages, Rewards

few = settings(max_examples=10)
"""For what is tried with every estimator, which together see many."""


def declared(rewards: Rewards) -> Rewards:
    """The rewards with bounds that hold every score of these tests."""
    return replace(rewards, satisfied=[Satisfied(bad=-1000.0, good=1000.0)] * len(rewards.names))


class DeclaredSAW(GDPOSAW):
    """GDPO-SAW of scores below 0, which without a declaration it refuses."""

    def __call__(self, rewards: Rewards, progress: float = 0.0) -> Advantages:
        return super().__call__(declared(rewards), progress)


class DeclaredSAMRPO(SAMRPO):
    """SA-MRPO of scores outside 0 and 1, which without a declaration it refuses."""

    def __call__(self, rewards: Rewards, progress: float = 0.0) -> Advantages:
        return super().__call__(declared(rewards), progress)


Z_SCORE = [GDPO(), RVPO(), MeanVariance(), HardMin(), MOGRPO(whiten=True), CVaR()]
FIELD_B = [
    MOGRPO(),
    CVaR(),
    SmoothTchebycheff(),
    POW3R(),
    RubricDropout(fraction=0.5, keep=1),
    RDPO(),
]
REWEIGHTED = [DARA(), DeclaredSAW(), DVAO(), GD2PO(), CorrGRPO(), DeclaredSAMRPO()]
BASE = [GDPO(), RVPO(), MeanVariance(), HardMin(), RawRVPO(), LevelMin()]
ALL = [GRPO(), *BASE, *REWEIGHTED, *FIELD_B]

WIDE = Satisfied(bad=-10, good=10)


def label(estimator: object) -> str:
    return type(estimator).__name__


def matrix(
    rows: Sequence[Sequence[float | None]],
    group_size: int,
    weights: Sequence[float] | Sequence[Sequence[float]] | None = None,
    satisfied: Sequence[Satisfied | None] | None = None,
) -> Rewards:
    """Rewards named r0, r1, …; None is a missing score. All scores that tests draw have a level."""
    return Rewards(
        torch.tensor([[0.0 if r is None else r for r in row] for row in rows], dtype=torch.double),
        [f"r{j}" for j in range(len(rows[0]))],
        group_size,
        weights=None if weights is None else torch.tensor(weights, dtype=torch.double),
        valid=torch.tensor([[r is not None for r in row] for row in rows]),
        satisfied=[WIDE] * len(rows[0]) if satisfied is None else satisfied,
    )


def random_binary(groups: int, group_size: int, channels: int, seed: int = 0) -> Tensor:
    draw = torch.rand(groups * group_size, channels, generator=torch.Generator().manual_seed(seed))
    return (draw < 0.5).double()


scores = st.one_of(
    st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(-3, 3, allow_subnormal=False).map(float)
)
"""Graded as rewards mostly are, so that ties and dead channels are common."""


@st.composite
def rows(
    draw: st.DrawFn, missing: bool = False, min_group: int = 2
) -> tuple[list[list[float | None]], int]:
    """Up to 3 groups of up to 5 samples with up to 4 rewards, and the group size."""
    group_size = draw(st.integers(min_group, 5))
    samples = group_size * draw(st.integers(1, 3))
    channels = draw(st.integers(1, 4))
    score = st.one_of(scores, scores, scores, st.none()) if missing else scores
    row = st.lists(score, min_size=channels, max_size=channels)
    return draw(st.lists(row, min_size=samples, max_size=samples)), group_size


@st.composite
def z_and_share(draw: st.DrawFn, limit: float = 4.0) -> tuple[Tensor, Tensor]:
    """One row of z-scores [1, M] and their shares [1, M], summing to 1."""
    channels = draw(st.integers(1, 8))
    values = st.lists(st.floats(-limit, limit), min_size=channels, max_size=channels)
    weights = st.lists(st.floats(0.05, 1), min_size=channels, max_size=channels)
    z = torch.tensor([draw(values)], dtype=torch.double)
    weight = torch.tensor([draw(weights)], dtype=torch.double)
    return z, weight / weight.sum()
