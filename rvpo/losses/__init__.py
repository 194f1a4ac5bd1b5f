"""Policy losses: each one file, each its own section of the settings.

A new one is a file with a subclass of `Loss` that has a `name`, and its class in `PolicyLoss`
below.
"""

from __future__ import annotations

from rvpo.losses.bnpo import BNPO
from rvpo.losses.cispo import CISPO
from rvpo.losses.dapo import DAPO
from rvpo.losses.dr_grpo import DrGRPO
from rvpo.losses.grpo import GRPOLoss
from rvpo.losses.gspo import GSPO
from rvpo.losses.loss import Loss, LossInputs, Surrogate
from rvpo.losses.luspo import LUSPO
from rvpo.losses.sapo import SAPO
from rvpo.losses.vespo import VESPO

PolicyLoss = DAPO | GRPOLoss | BNPO | DrGRPO | GSPO | LUSPO | CISPO | SAPO | VESPO
"""The losses that `update.loss` may choose."""

__all__ = [
    "BNPO",
    "CISPO",
    "DAPO",
    "GSPO",
    "LUSPO",
    "SAPO",
    "VESPO",
    "DrGRPO",
    "GRPOLoss",
    "Loss",
    "LossInputs",
    "PolicyLoss",
    "Surrogate",
]
