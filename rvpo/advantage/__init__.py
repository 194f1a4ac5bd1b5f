"""Advantage estimators: each one file, each its own section of the configuration.

A new one is a file with a frozen dataclass that has a `name`, and its class in `Estimator` below.
"""

from __future__ import annotations

from typing import Protocol

from rvpo.advantage.corr_grpo import CorrGRPO
from rvpo.advantage.cvar import CVaR
from rvpo.advantage.dara import DARA
from rvpo.advantage.dvao import DVAO
from rvpo.advantage.gd2po import GD2PO
from rvpo.advantage.gdpo import GDPO
from rvpo.advantage.gdpo_saw import GDPOSAW
from rvpo.advantage.grpo import GRPO
from rvpo.advantage.hard_min import HardMin
from rvpo.advantage.level_min import LevelMin
from rvpo.advantage.mean_variance import MeanVariance
from rvpo.advantage.mo_grpo import MOGRPO
from rvpo.advantage.pow3r import POW3R
from rvpo.advantage.raw_rvpo import RawRVPO
from rvpo.advantage.rdpo import RDPO
from rvpo.advantage.rubric_dropout import RubricDropout
from rvpo.advantage.rvpo import RVPO
from rvpo.advantage.sa_mrpo import SAMRPO
from rvpo.advantage.smooth_tchebycheff import SmoothTchebycheff
from rvpo.schedule import Ramp
from rvpo.types import Advantages, Rewards

Estimator = (
    GRPO
    | GDPO
    | RVPO
    | MeanVariance
    | HardMin
    | RawRVPO
    | LevelMin
    | DARA
    | GDPOSAW
    | DVAO
    | GD2PO
    | CorrGRPO
    | SAMRPO
    | MOGRPO
    | CVaR
    | SmoothTchebycheff
    | POW3R
    | RubricDropout
    | RDPO
)
"""The estimators that `advantage.name` may choose."""


class AdvantageEstimator(Protocol):
    """The interface of an estimator, of this package or of anyone's, to a training loop."""

    def __call__(self, rewards: Rewards, progress: float = 0.0) -> Advantages:
        """Advantages of a whole step.

        Args:
            rewards: all samples of the step, over all ranks.
            progress: share of training done, 0 at the first step and 1 at the last.
        """
        ...


__all__ = [
    "DARA",
    "DVAO",
    "GD2PO",
    "GDPO",
    "GDPOSAW",
    "GRPO",
    "MOGRPO",
    "POW3R",
    "RDPO",
    "RVPO",
    "SAMRPO",
    "AdvantageEstimator",
    "CVaR",
    "CorrGRPO",
    "Estimator",
    "HardMin",
    "LevelMin",
    "MeanVariance",
    "Ramp",
    "RawRVPO",
    "RubricDropout",
    "SmoothTchebycheff",
]
