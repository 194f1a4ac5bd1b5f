"""Policy losses: each one file, each its own section of the settings.

A new one is a file with a subclass of `Loss` that has a `name`, and its class in `PolicyLoss`
below.
"""

from __future__ import annotations

from rvpo.trainer.losses.bnpo import BNPO
from rvpo.trainer.losses.cispo import CISPO
from rvpo.trainer.losses.dapo import DAPO
from rvpo.trainer.losses.dr_grpo import DrGRPO
from rvpo.trainer.losses.grpo import GRPOLoss
from rvpo.trainer.losses.gspo import GSPO
from rvpo.trainer.losses.loss import Loss, LossInputs, Surrogate
from rvpo.trainer.losses.luspo import LUSPO
from rvpo.trainer.losses.sapo import SAPO
from rvpo.trainer.losses.vespo import VESPO

PolicyLoss = DAPO | GRPOLoss | BNPO | DrGRPO | GSPO | LUSPO | CISPO | SAPO | VESPO
"""What `update.loss` may choose."""

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
