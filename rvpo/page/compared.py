"""Words for the numbers by which an estimator compares the samples of a prompt."""

from __future__ import annotations

from collections.abc import Sequence

from rvpo.advantage import GRPO, Estimator
from rvpo.page.history import PageArm


def compared(estimator: Estimator) -> str:
    """Word for what samples hold under `z`, which is what the estimator makes of a score beside
    those of its siblings."""
    level = estimator.inputs == "level"
    # GRPO's scale is that of the sum; its channels are told as z-scores whatever it is.
    if estimator.scale == "none" and not isinstance(estimator, GRPO):
        return "centred level" if level else "centred score"
    return "z of the level" if level else "z"


def compared_by(arms: Sequence[PageArm]) -> str:
    """The words of all arms, each once."""
    words = (compared(run.config.advantage) for arm in arms for run in arm.runs)
    return " or ".join(dict.fromkeys(words))
