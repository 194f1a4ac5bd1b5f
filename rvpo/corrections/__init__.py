"""Corrections of importance weights: each one file, each its own section of the settings.

A new one is a file with a subclass of `Correction` that has a `name`, and its class in
`AnyCorrection` below.
"""

from __future__ import annotations

from rvpo.corrections.correction import Correction
from rvpo.corrections.mask import Mask
from rvpo.corrections.mask_above import MaskAbove
from rvpo.corrections.mask_older import MaskOlder
from rvpo.corrections.none import NoCorrection
from rvpo.corrections.truncate import Truncate

AnyCorrection = NoCorrection | Truncate | Mask | MaskAbove | MaskOlder
"""The corrections that `update.correction` may choose."""

__all__ = [
    "AnyCorrection",
    "Correction",
    "Mask",
    "MaskAbove",
    "MaskOlder",
    "NoCorrection",
    "Truncate",
]
