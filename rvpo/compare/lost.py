"""Held-out scores that a judge or a world failed to give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rvpo.report.held_out import HeldOutScores


def lost(evaluations: Mapping[str, Sequence[Mapping[int, HeldOutScores]]]) -> list[str]:
    """The reward of each arm that lost most of its last scores, a sentence for each arm that lost
    any.

    Args:
        evaluations: those of each run by step, by arm.
    """
    said = []
    for arm, runs in evaluations.items():
        last = [run[max(run)] for run in runs]
        shares = np.mean([each.failed for each in last], axis=0)
        most = int(shares.argmax())
        if shares[most] > 0:
            said.append(
                f"{arm}: {shares[most]:.1%} of the held-out scores of {last[0].reward_names[most]} "
                "after the last step are missing; its figures are those of the others"
            )
    return said
