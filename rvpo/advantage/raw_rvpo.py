"""RVPO without z-scores: a soft minimum of the scores as they are, then a z-score in the group.

    A = (s - mean_G s) / (std_G s + eps),   whitened over the batch
    s = -(1/k) ln( sum_j w_j exp(-k r_j) / sum_j w_j )

For rewards that share a scale, such as verdicts: there a low score says that a sample is bad, while
a low z-score says that its siblings are better. An ablation of RVPO (arXiv:2605.05750) in GRPO's
order: combine, then standardise. k = infinity is the minimum; k = 0 is the weighted mean, which
gives what GRPO's sum does, whitened, where all rows of a group have the same sum_j w_j.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rvpo.advantage.score_soft_min import ScoreSoftMin


@dataclass(frozen=True, kw_only=True)
class RawRVPO(ScoreSoftMin):
    """A = z-score in the group of -(1/k) ln sum_j p_j exp(-k r_j), p = w / sum w.

    Raises:
        ValueError: k is negative or NaN, or another setting is outside what it allows.
    """

    name: Literal["raw_rvpo"] = "raw_rvpo"
