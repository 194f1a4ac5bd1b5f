"""One score of one sample, with what belongs to it, and the matrix that such cells make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rvpo.lazy import torch
from rvpo.satisfied import Satisfied
from rvpo.types import Failed, Remark, Rewards, RewardScore, RolloutScores


@dataclass(frozen=True, slots=True)
class Cell:
    """A sample's score in one column."""

    score: RewardScore
    share: float = 1.0
    """Share of the reward's weight, among its criteria for this prompt, in [0, 1]."""
    aspects: tuple[str, ...] = ()
    """Names of what the score counts towards in reports."""
    remark: Remark | None = None
    spared: bool = False
    """A few samples of the group alone were asked, so that it trains nothing in the group."""

    @property
    def part(self) -> str:
        """The narrowest name that it counts towards, of those that divide a reward: its criterion,
        or its class where prompts have criteria of their own; else the reward. Empty where there is
        nothing to score."""
        return self.aspects[:2][-1] if self.aspects else ""


EMPTY = Cell(None, share=0.0)
"""Cell of a sample whose prompt has fewer criteria than others."""


@dataclass(frozen=True, slots=True)
class Column:
    """The cells of all samples in one column."""

    name: str
    weight: float
    """Weight of the whole reward."""
    cells: Sequence[Cell]  # [N]
    satisfied: Satisfied | None = None
    """Scores of it that are good enough."""


def assemble(
    columns: Sequence[Column], aspects: Sequence[str], group_size: int, prompts: Sequence[str]
) -> RolloutScores:
    """[N, M] rewards out of M columns.

    A score that does not apply or failed is not valid; one that failed has its reason in
    `failures`.

    Args:
        aspects: every name that cells may count towards, whether or not one of these does.
        group_size: G.
        prompts: [P] the id of each group's prompt.
    """
    scores = [[cell.score for cell in column.cells] for column in columns]  # [M][N]
    shares = [[column.weight * cell.share for cell in column.cells] for column in columns]
    spared = {
        (r, c): shares[c][r]
        for c, column in enumerate(columns)
        for r, cell in enumerate(column.cells)
        if cell.spared
    }
    for r, c in spared:
        shares[c][r] = 0.0
    where = [(r, c, cell) for c, col in enumerate(columns) for r, cell in enumerate(col.cells)]

    def matrix(rows: Sequence[Sequence[float | bool]], dtype: torch.dtype) -> torch.Tensor:
        return torch.tensor(rows, dtype=dtype).T.contiguous()

    rewards = Rewards(
        matrix([[s if isinstance(s, float) else 0.0 for s in c] for c in scores], torch.float32),
        [column.name for column in columns],
        group_size,
        weights=matrix(shares, torch.float32),
        valid=matrix([[isinstance(s, float) for s in column] for column in scores], torch.bool),
        prompts=prompts,
        satisfied=[column.satisfied for column in columns],
    )
    return RolloutScores(
        rewards=rewards,
        failures={(r, c): x.score.reason for r, c, x in where if isinstance(x.score, Failed)},
        aspects={
            name: matrix([[name in cell.aspects for cell in c.cells] for c in columns], torch.bool)
            for name in aspects
        },
        remarks={(r, c): cell.remark for r, c, cell in where if cell.remark is not None},
        spared=spared,
    )
