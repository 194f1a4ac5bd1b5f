"""Criteria judged in one call held against the same judged alone, as it is printed."""

from __future__ import annotations

from collections.abc import Sequence

from rvpo.rewards.tally import Tally
from rvpo.trial.against import AgreementRow
from rvpo.trial.against_display import cells
from rvpo.trial.judgement import Judgement
from rvpo.trial.page import Page


def show_ways(
    page: Page,
    rows: Sequence[AgreementRow],
    together: Sequence[Judgement],
    alone: Sequence[Judgement],
) -> None:
    """A table of every reward and its parts, and what either way took.

    Args:
        rows: the agreement of the way that the settings ask for with the other.
        together: judgements with criteria that share calls.
        alone: those of the same responses by these criteria, each in a call of its own.
    """
    page.line()
    page.line("criteria together and alone, on the verdicts that both ways gave", "bold")
    headings = ["pairs", "equal", "kappa", "95 % interval", "together", "alone", "missing"]
    page.table(
        ["reward", *headings],
        [[*cells(row), str(row.missing)] for row in rows],
        right=range(1, len(headings) + 1),
    )
    asked = [judgement.answers.keys() for judgement in alone]
    for name, judgements in (("together", together), ("alone", alone)):
        tally = Tally.of(
            answer
            for judgement, keys in zip(judgements, asked, strict=True)
            for key in keys
            for answer in judgement.answers[key]
        )
        page.line(
            f"{name}: {tally.requests:,} calls, {tally.input_tokens:,} tokens in and "
            f"{tally.output_tokens:,} out, {tally.failed:,} verdicts failed"
        )
