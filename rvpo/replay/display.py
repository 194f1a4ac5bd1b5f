"""Replays and advice on the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console, RenderableType

from rvpo.advantage.state import undivided
from rvpo.replay.advice import Advice
from rvpo.replay.measured import MeasuredRun
from rvpo.replay.replayed import EXACT, RunReplay
from rvpo.replay.stored_run import StoredRun
from rvpo.report.tables import make_table, shown

_MOST_PROMPTS = 5
_STEPS = 8
"""Steps of a table that are shown of a run of many."""


def show_replay(
    console: Console, run: StoredRun, found: RunReplay, judged: Path | None = None
) -> None:
    """Print what reproduces, or what was judged again, then the tables."""
    console.print(about(run, found, judged), soft_wrap=True)
    for part in _tables(found):
        console.print()
        console.print(part)


def show_advice(console: Console, run: MeasuredRun, findings: Sequence[Advice]) -> None:
    """Print what was measured, and what follows from it."""
    table = make_table(
        ("reward",),
        ("met", "trend", "spread", "dead", "reliability"),
        title=f"{run.steps:,} steps, {run.groups:,} groups, {run.live_groups:,} of them not dead",
        caption=(
            "Met: share of the scores that are good enough, which is 1 or what "
            "rewards.NAME.satisfied says; a dash where scores leave 0 to 1 and it says nothing. "
            "Trend: its change from the first half of the steps to the second "
            "(without it, of the mean in standard deviations). Spread: standard deviation within "
            "groups. Dead: share of the groups in which all samples are alike."
        ),
    )
    for each in run.rewards:
        table.add_row(
            each.name,
            shown(each.met if each.is_declared else None, ".3f"),
            f"{each.trend:+.3f}" if math.isfinite(each.trend_error) else shown(None, ""),
            f"{each.spread:.3g}",
            f"{each.dead:.2f}",
            shown(each.reliability, ".2f"),
        )
    console.print(table)
    for found in findings:
        head = {"choice": found.estimator, "warning": "note", "nothing": "none"}[found.topic]
        console.print(f"\n{head}: {found.why}", soft_wrap=True)
        if found.numbers:
            told = ", ".join(f"{name} {value:.3g}" for name, value in found.numbers.items())
            console.print(f"  {told}", soft_wrap=True)


def about(run: StoredRun, found: RunReplay, judged: Path | None = None) -> str:
    """Sentence on how far the run's own estimator gives the advantages that were stored, or on the
    file of scores that stand in their place."""
    own = found.own
    if judged is not None:
        return f"{len(own.steps):,} steps with the scores of {judged}, against what trained"
    told = f"{len(own.steps):,} steps by {own.title}, the run's own"
    apart = f"largest difference from the stored advantages {own.difference:.1e}"
    if own.difference <= EXACT:
        return f"{told}: {apart}"
    why = "the scores are rebuilt from samples, which do not tell reliability"
    if not run.by_samples:
        why = "the estimator or its settings are not those that trained"
    return f"{told}: {apart}, more than {EXACT:g}: {why}"


def _tables(found: RunReplay) -> Iterator[RenderableType]:
    table = make_table(
        ("estimator",),
        ("signs that flip", "order"),
        title="Against what trained",
        caption=(
            "Signs: share of the samples whose advantage has the opposite sign. Order: Spearman's "
            "correlation of the samples' order within a prompt, mean over prompts."
        ),
    )
    for each in found.every:
        table.add_row(each.title, shown(each.flipped, ".1%"), shown(each.order, ".3f"))
    yield table
    titles = [each.title for each in found.every]
    pulls = make_table(
        ("reward",),
        titles,
        title="Pull of each reward",
        caption="Share of what the advantages move, mean over steps; below 0 is pushed down.",
    )
    raised = make_table(
        ("reward",),
        titles,
        title="Samples better than their siblings that become likelier",
        caption="By the one reward alone; all samples above their group's mean are 100 %.",
    )
    for name in undivided(found.aspects):
        pulls.add_row(name, *(shown(each.pull(name), ".3f") for each in found.every))
        raised.add_row(name, *(shown(each.raised(name), ".1%") for each in found.every))
    yield pulls
    yield raised
    if found.others:
        yield _by_step(found)
        yield from _by_prompt(found)


def _by_step(found: RunReplay) -> RenderableType:
    count = len(found.own.steps)
    places = sorted({round(n * (count - 1) / max(1, _STEPS - 1)) for n in range(_STEPS)})
    table = make_table(
        ("step",),
        [each.title for each in found.others],
        title="Signs that flip, by step",
        caption=f"{len(places)} of {count:,} steps; --json has all of them.",
    )
    for place in places:
        steps = [each.steps[place] for each in found.others]
        shares = [step.flips / step.trained if step.trained else None for step in steps]
        table.add_row(str(steps[0].step), *(shown(share, ".1%") for share in shares))
    return table


def _by_prompt(found: RunReplay) -> Iterator[RenderableType]:
    for each in found.others:
        every = each.by_prompt()
        table = make_table(
            ("prompt",),
            ("signs that flip", "order"),
            title=f"Prompts that {each.title} takes most otherwise",
            caption=f"{min(_MOST_PROMPTS, len(every))} of {len(every):,}.",
        )
        for group in every[:_MOST_PROMPTS]:
            share = group.flips / group.trained if group.trained else None
            table.add_row(group.prompt, shown(share, ".1%"), shown(group.order, ".3f"))
        yield table
