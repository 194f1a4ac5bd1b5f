"""The closing table of a run that a gold judge watched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from rvpo.report.gold import GoldScores
from rvpo.report.held_out import INTERVAL, LEVEL, TEST, Floats, RewardChange, change_of
from rvpo.report.tables import make_table, shown, span


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldChange:
    """One reward, or a part of it, before and after training, by both judges."""

    training: RewardChange
    """Change of the training judge's score."""
    gold: RewardChange
    """Change of the gold judge's, on the same answers."""
    gap: RewardChange
    """Change of the difference between the two: training less gold."""
    only_training: float | None
    """Share of verdicts that only the training judge gives, after training."""

    @property
    def is_hollow(self) -> bool:
        """True where the gap grew beyond chance, and the gold judge saw no gain."""
        interval, gain = self.gap.interval, self.gold.difference
        return interval is not None and interval[0] > 0 and gain is not None and gain <= 0


def gold_changes(before: GoldScores, after: GoldScores, seed: int = 0) -> list[GoldChange]:
    """Changes of every reward that is watched, tested as those of held-out prompts are.

    Args:
        before: scores of the initial policy.
        after: scores of the trained one, on the same prompts.
        seed: decides the resampling.

    Raises:
        ValueError: the two do not pair up.
    """
    if (before.reward_names, before.prompt_ids) != (after.reward_names, after.prompt_ids):
        raise ValueError("before and after must hold the same rewards of the same prompts in order")

    def change(name: str, place: int, first: Floats, second: Floats) -> RewardChange:
        lost = float(before.missing[place]), float(after.missing[place])
        return change_of(name, first[:, place], second[:, place], seed, failed=lost)

    return [
        GoldChange(
            training=change(name, place, before.training, after.training),
            gold=change(name, place, before.gold, after.gold),
            gap=change(name, place, before.gaps, after.gaps),
            only_training=after.mean("only_training", name),
        )
        for place, name in enumerate(before.reward_names)
    ]


def render_gold(changes: Sequence[GoldChange], judge: str) -> Table:
    """The table of both judges; its caption names the test and the interval.

    Args:
        judge: name of the gold one.
    """
    headings = ["training judge", judge, "gap", "gap's change", f"{LEVEL} interval", "p"]
    headings += ["only training", "missing"]
    table = make_table(
        ["reward"],
        headings,
        title=f"Held-out prompts by the training judge and by {judge}, before and after",
        caption=f"Over the answers that both judged. Gap: training judge less {judge}. p: {TEST}. "
        f"Interval: {INTERVAL}. Only training: share of the verdicts that only the training judge "
        "gives, after training. Missing: verdicts that either judge did not give.",
    )
    for row in changes:
        table.add_row(
            row.gap.reward,
            *(_both(each, ".3f") for each in (row.training, row.gold)),
            _both(row.gap, "+.3f"),
            shown(row.gap.difference, "+.3f"),
            span(row.gap.interval, "+.3f"),
            shown(row.gap.p_value, ".2g"),
            shown(row.only_training, ".1%"),
            f"{row.gap.failed_before:.1%} {row.gap.failed_after:.1%}",
        )
    return table


def warnings_of(changes: Sequence[GoldChange], judge: str) -> Iterator[str]:
    """A sentence for each reward of which the policy has learned to please its judge."""
    for row in changes:
        if row.is_hollow:
            yield (
                f"{row.gap.reward}: judge '{judge}' sees no gain ({row.gold.difference:+.3f}), and "
                f"the training judge sees one of {row.training.difference:+.3f}; read samples "
                "before you use this model, or take one from before the gap"
            )


def gold_json(changes: Sequence[GoldChange], judge: str) -> dict[str, Any]:
    """The part of `held_out.json` about the gold watch."""
    return {"judge": judge, "rewards": {row.gap.reward: asdict(row) for row in changes}}


def _both(change: RewardChange, form: str) -> str:
    return f"{shown(change.before, form)} {shown(change.after, form)}"
