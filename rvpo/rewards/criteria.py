"""The states of a step's criteria, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from torch import Tensor

from rvpo.advantage.state import STATES, state_of, undivided
from rvpo.types import RolloutScores


def criteria_metrics(scored: RolloutScores, metrics: Mapping[str, float]) -> dict[str, float]:
    """`criteria/{state}_frac`, the share of the step's weighted criteria in each state.

    A criterion is an aspect without parts. One that no group compares has no state.

    Args:
        scored: the step.
        metrics: its numbers, those of the advantages among them.
    """
    weighted = scored.rewards.weights > 0
    for place, weight in scored.spared.items():
        weighted[place] |= weight > 0
    counted = Counter(
        state_of(
            metrics.get(f"rewards/{name}/met_frac"),
            metrics[f"rewards/{name}/zero_std_frac"],
            metrics.get(f"advantage/pull/{name}"),
        )
        for name in undivided(scored.aspects)
        if _counts(scored.aspects[name], weighted) and f"rewards/{name}/zero_std_frac" in metrics
    )
    total = counted.total()
    return {f"criteria/{state}_frac": counted[state] / total for state in STATES if total}


def _counts(mask: Tensor, weighted: Tensor) -> bool:
    return bool((mask & weighted).any())
