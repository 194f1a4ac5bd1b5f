"""rvpo: training language models against many rewards at once.

    from rvpo import RVPO, Rewards

    rewards = Rewards(scores, names=["correct", "format"], group_size=8)
    advantages = RVPO(k=1.0)(rewards)

The names below are imported when first used, so `import rvpo` alone stays instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
        Ramp,
        RawRVPO,
        RubricDropout,
        SmoothTchebycheff,
    )
    from rvpo.satisfied import Satisfied
    from rvpo.types import Advantages, Rewards

__version__ = "0.1.0"

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
    "Advantages",
    "CVaR",
    "CorrGRPO",
    "HardMin",
    "LevelMin",
    "MeanVariance",
    "Ramp",
    "RawRVPO",
    "Rewards",
    "RubricDropout",
    "Satisfied",
    "SmoothTchebycheff",
]

_ELSEWHERE = {
    "Advantages": "rvpo.types",
    "Rewards": "rvpo.types",
    "Satisfied": "rvpo.satisfied",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'rvpo' has no attribute '{name}'")
    return getattr(import_module(_ELSEWHERE.get(name, "rvpo.advantage")), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
