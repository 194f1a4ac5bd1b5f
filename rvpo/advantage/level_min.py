"""Soft minimum of satisfaction levels, in which what few samples satisfy weighs more.

    v_j = w_j / (mean_G u_j + 1/M)^rarity
    S   = -(1/k) ln( sum_j v_j exp(-k u_j) / sum_j v_j )
    A   = S - mean_G S,   whitened over the batch

u_j is the level of satisfaction of a score (`level`), M the rewards of the row, mean_G over the
group's scores. Ours. With k to 0 and rarity 1 the rewards of a group weigh as 1/(p_j + 1/M), which
is MaxRL's weight (arXiv:2602.02710) with a floor, among the rewards of a prompt and not among
prompts. A reward that nobody satisfies weighs M, more than all others together that more than 1 -
2/M of the samples satisfy; it takes one sample that satisfies it to be found. A group whose samples
are all alike has A = 0, whatever other groups have.

What is satisfied by chance is rare as well: with rewards that are noise it loses to the sum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rvpo.advantage.missing import Reading
from rvpo.advantage.score_soft_min import ScoreSoftMin
from rvpo.schedule import Ramp

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class LevelMin(ScoreSoftMin):
    """A = S - mean_G S, S the soft minimum of levels, weighed by rarity.

    Raises:
        ValueError: k or rarity is negative or NaN, or another setting is outside what it allows.
        RewardError: when called, a reward has scores outside [0, 1] and does not say what is good
            enough.
    """

    name: Literal["level_min"] = "level_min"
    k: float | Ramp = 4.0
    """Risk coefficient, in units of 1/level: 0 is the mean, `.inf` the minimum."""
    inputs: Literal["level"] = "level"
    """Levels of satisfaction (`rewards.NAME.satisfied`): without them there is no rarity."""
    scale: Literal["group", "none"] = "none"
    """Divisor of the soft minimum within a group: nothing, or its standard deviation, with `eps`.
    """
    rarity: float = 1.0
    """Exponent of a reward's rarity in its weight; 0 weighs all rewards as they are configured."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.rarity < math.inf:
            raise ValueError(f"rarity must be a finite number of at least 0, got {self.rarity}")

    def weights(self, reading: Reading) -> Tensor:
        """See `WhitenedEstimator`."""
        weights = super().weights(reading)
        channels = (weights > 0).sum(dim=1, keepdim=True).clamp(min=1).double()
        return weights / (reading.scores.mean + 1 / channels) ** self.rarity
