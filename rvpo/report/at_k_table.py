"""The closing table of success with k answers, before and after training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from rvpo.report.held_out import HeldOutScores, RewardChange, change_of, render_table


def at_k_changes(before: HeldOutScores, after: HeldOutScores, seed: int = 0) -> list[RewardChange]:
    """Changes of the numbers that both evaluations have, tested as those of rewards are.

    Args:
        before: scores of the initial policy.
        after: scores of the trained one, on the same prompts.
        seed: decides the resampling.
    """
    return [
        change_of(
            name.removeprefix("eval/"),
            before.at_k[name],
            after.at_k[name],
            seed,
            failed=(before.share_lost(name), after.share_lost(name)),
        )
        for name in before.at_k
        if name in after.at_k
    ]


def render_at_k(changes: Sequence[RewardChange], satisfied: Mapping[str, float]) -> Table:
    """The table, whose caption says from which score on an answer is good.

    Args:
        satisfied: this score by reward.
    """
    limits = ", ".join(f"{name} from {least:g}" for name, least in satisfied.items())
    return render_table(
        changes,
        title="Held-out prompts, with k answers to each",
        note="pass: one of k answers is good; maj: the one that most of k samples give is; "
        f"all_satisfied: one of k satisfies every reward. Good: {limits}. ",
    )


def at_k_json(changes: Sequence[RewardChange]) -> dict[str, Any]:
    """The part of `held_out.json` about them, by name."""
    return {row.reward: {k: v for k, v in asdict(row).items() if k != "reward"} for row in changes}
