"""The agreement of two judges as it is printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rvpo.report.tables import shown, span
from rvpo.trial.against import AgreementRow, notes
from rvpo.trial.page import Page


def show_agreement(page: Page, rows: Sequence[AgreementRow], first: str, second: str) -> None:
    """A table of every reward and its parts, and what is to be known of it.

    Args:
        first: name of the judges that rewards ask.
        second: name of the one that they are held against.
    """
    page.line()
    page.line(f"{first} against {second}, on the verdicts that both gave", "bold")
    headings = ["pairs", "equal", "kappa", "95 % interval", first, second]
    headings += [f"only {first}", f"only {second}", "missing"]
    page.table(
        ["reward", *headings],
        [
            [
                row.reward if row.part is None else f"  {row.part}",
                f"{row.pairs:,}",
                shown(row.equal, ".0%"),
                shown(row.kappa.value, ".2f"),
                span(row.kappa.interval, ".2f"),
                shown(row.first_mean, ".2f"),
                shown(row.second_mean, ".2f"),
                shown(row.only_first, ".0%"),
                shown(row.only_second, ".0%"),
                str(row.missing),
            ]
            for row in rows
        ],
        right=range(1, len(headings) + 1),
    )
    page.line(
        "kappa: Cohen's, agreement beyond chance, 1 for all and 0 for none; interval: bootstrap "
        "over prompts"
    )
    for note in notes(rows, first, second):
        page.line(note, "yellow")


def show_costs(page: Page, verdicts: float, about: str, costs: Mapping[str, str]) -> None:
    """The cost of the run's training with either judge.

    Args:
        verdicts: those that training takes.
        about: their number explained.
        costs: words for each judge; see `run_cost`.
    """
    page.line(f"training takes {verdicts:,.0f} verdicts ({about}); held-out prompts come on top:")
    for name, cost in costs.items():
        page.line(f"  with {name}: {cost}")
