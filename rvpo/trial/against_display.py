"""The agreement of two judges as it is printed."""

from __future__ import annotations

from collections.abc import Sequence

from rvpo.report.tables import shown, span
from rvpo.trial.against import FEW, AgreementRow, notes
from rvpo.trial.cost import JudgeCost
from rvpo.trial.page import Page


def cells(row: AgreementRow) -> list[str]:
    """A reward or its part, the pairs of verdicts, how far they agree, and both means."""
    return [
        row.reward if row.part is None else f"  {row.part}",
        f"{row.pairs:,}",
        shown(row.equal, ".0%"),
        shown(row.kappa.value, ".2f"),
        span(row.kappa.interval, ".2f"),
        shown(row.first_mean, ".2f"),
        shown(row.second_mean, ".2f"),
    ]


def show_agreement(page: Page, rows: Sequence[AgreementRow], judge: str) -> None:
    """A table of every reward and its parts, and what is to be known of it.

    Args:
        judge: name of the one that the rewards' own judges are held against.
    """
    page.line()
    page.line(f"agreement with judge '{judge}', on the verdicts that both gave", "bold")
    headings = ["pairs", "equal", "kappa", "95 % interval", "own", judge]
    headings += ["only own", f"only {judge}", "missing"]
    page.table(
        ["reward", *headings],
        [
            [
                *cells(row),
                shown(row.only_first, ".0%"),
                shown(row.only_second, ".0%"),
                str(row.missing),
            ]
            for row in rows
        ],
        right=range(1, len(headings) + 1),
    )
    page.line(
        "own: mean score by the reward's own judge; only own: share of the verdicts that it scores "
        "higher; kappa: Cohen's, agreement beyond chance, from 0 for none to 1, of a "
        "reward with chance for each part by itself; interval: Student's t over a jackknife of "
        "prompts, with a prompt's verdicts of both kinds added"
    )
    if any(row.kappa.interval is not None and row.prompts < FEW for row in rows):
        page.line(
            f"fewer than {FEW} prompts settle little, as wide intervals say; ask about more with "
            "--prompts, or bring more --samples",
            "yellow",
        )
    for note in notes(rows, judge):
        page.line(note, "yellow")


def show_costs(page: Page, about: str, ways: Sequence[Sequence[JudgeCost]]) -> None:
    """The cost of the run's training in either way.

    Args:
        about: the number of verdicts explained.
        ways: dollars with the rewards' own judges, and with the other one alone.
    """
    takes = sum(cost.verdicts for cost in ways[0])
    page.line(f"training takes {takes:,.0f} verdicts ({about}); held-out prompts come on top:")
    for way in ways:
        several = len(way) > 1
        for place, cost in enumerate(way):
            count = f", {cost.verdicts:,.0f} of them" if several else ""
            page.line(f"  {'and' if place else 'with'} {cost.judge}{count}: {cost.words}")
