"""Corrections of importance weights: each one file, each its own section of the settings.

A new one is a file with a subclass of `Correction` that has a `name`, and its class in
`AnyCorrection` below.
"""

from __future__ import annotations

from rvpo.trainer.corrections.correction import Correction
from rvpo.trainer.corrections.mask import Mask
from rvpo.trainer.corrections.mask_above import MaskAbove
from rvpo.trainer.corrections.none import NoCorrection
from rvpo.trainer.corrections.truncate import Truncate

AnyCorrection = NoCorrection | Truncate | Mask | MaskAbove
"""What `update.correction` may choose."""

__all__ = ["AnyCorrection", "Correction", "Mask", "MaskAbove", "NoCorrection", "Truncate"]
