"""A trial as it is printed."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from rich.text import Text

from rvpo.config.judge import JudgeConfig
from rvpo.config.judges import place_of
from rvpo.judge.types import Answer, Question
from rvpo.judge.verdict import told
from rvpo.report.tables import shown
from rvpo.rewards.advice import advice
from rvpo.rewards.tally import Tally
from rvpo.trial.cost import reasons
from rvpo.trial.judgement import Judgement, RepeatedVerdict
from rvpo.trial.page import Page, PageCell
from rvpo.trial.response import REFERENCE_COLUMNS
from rvpo.trial.summary import CriterionRow, TrialSummary

_EXCERPT = 160  # characters of prompts and responses
_CRITERION = 70
_SCORE = ".2f"


def show_judgement(page: Page, judgement: Judgement) -> None:
    """A response with every verdict on it."""
    response = judgement.response
    kind = "" if response.kind == "given" else f", {response.kind}"
    page.line(f"prompt {_plain(response.prompt.id)}{kind}", "bold")
    page.line(f"  asked:    {_short(response.prompt.messages[-1]['content'], _EXCERPT)}")
    page.line(f"  response: {_short(response.text, _EXCERPT) or '(empty)'}")
    if not judgement.scores:
        page.line("  no criteria: nothing was asked")
    for reward, score in judgement.scores.items():
        page.line(f"  {reward} {shown(score, _SCORE)}")
        verdicts = [v for v in judgement.verdicts if v.reward == reward]
        page.table([""] * 5, [_row(verdict) for verdict in verdicts], right=(1,))
    page.line()


def show_summary(
    page: Page, summary: TrialSummary, judges: Mapping[str, JudgeConfig], repeats: int
) -> None:
    """The table over all responses, what it took, and what is missing.

    Args:
        judges: those that were asked, by name.
    """
    headings = [*summary.kinds, "agreement", "failed"]
    if len(summary.kinds) == 1:
        headings[0] = "mean score"
    page.table(
        ["reward", *headings],
        [
            [_name(row), *_means(row), shown(row.agreement, ".0%"), str(row.failed)]
            for row in summary.rows
        ],
        right=range(1, len(headings) + 1),
    )
    page.line()
    if "given" not in summary.kinds and "reference" not in summary.kinds:
        page.line(
            f"no reference: the data have no column {', '.join(REFERENCE_COLUMNS)}; bring good "
            "answers with --samples"
        )
    for contrast in summary.contrasts:
        every = contrast.above == contrast.prompts
        page.line(
            f"{contrast.reward}: the reference scores above the {contrast.other} response for "
            f"{contrast.above} of {contrast.prompts} prompts",
            "" if every else "yellow",
        )
    if summary.constant:
        page.line(
            f"the same score for every response: {', '.join(summary.constant)}; what never "
            "differs trains nothing",
            "yellow",
        )
    for line in (_agreement(summary, judges, repeats), *_totals(summary, judges)):
        page.line(line)
    show_failures(page, summary)


def show_failures(page: Page, summary: TrialSummary, judge: str | None = None) -> None:
    """News of endpoints, reasons of the verdicts that failed, and what helps against them.

    Args:
        judge: the one that is told of by its name, where others were shown before.
    """
    tally = summary.tally
    for line in tally.news:
        page.line(_plain(line), "yellow")
    for name, each in summary.tallies.items():
        for line in advice(each.failures, each.details, place_of(name)):
            page.line(_plain(line), "yellow")
    if tally.failed:
        by = "" if judge is None else f" of judge '{judge}'"
        why = _counted(tally.failures)
        page.line(f"{tally.failed:,} of {tally.verdicts:,} verdicts{by} failed: {why}", "bold red")


def _row(verdict: RepeatedVerdict) -> list[PageCell]:
    criterion = verdict.criterion
    text = _short(verdict.question.text, _CRITERION)
    return [
        Text(f"    {_said(verdict)}", _colour(verdict.score)),
        shown(verdict.score, _SCORE),
        "whole rubric" if criterion is None else f"{criterion.polarity} {criterion.label}",
        text if verdict.name is None else f"{verdict.name}: {text}",
        _why(verdict),
    ]


def _said(verdict: RepeatedVerdict) -> str:
    """The verdict, or how often each was given where repeats differ."""
    said = Counter(_word(verdict.question, answer) for answer in verdict.answers)
    if len(said) == 1:
        return next(iter(said))
    return ", ".join(f"{count} {word}" for word, count in said.items())


def _word(question: Question, answer: Answer) -> str:
    if answer.value is None:
        return f"failed ({_plain(answer.failure or 'no answer')})"
    return _plain(told(question, answer.value))


def _why(verdict: RepeatedVerdict) -> str:
    """The judge's first reason for each verdict that it gave."""
    reasons: dict[float, str] = {}
    for answer in verdict.answers:
        if answer.value is not None and answer.reason.strip():
            reasons.setdefault(answer.value, _plain(answer.reason))
    return f"| {' / '.join(reasons.values())}" if reasons else ""


def _colour(score: float | None) -> str:
    if score is None:
        return "bold red"
    return {0.0: "red", 1.0: "green"}.get(score, "yellow")


def _name(row: CriterionRow) -> str:
    return row.reward if row.part is None else f"  {row.part}"


def _means(row: CriterionRow) -> Sequence[str]:
    return [shown(mean, _SCORE) for mean in row.means.values()]


def _agreement(summary: TrialSummary, judges: Mapping[str, JudgeConfig], repeats: int) -> str:
    if summary.agreement is None:
        once = "every question was asked once" if repeats == 1 else "no question was answered twice"
        return f"agreement: unknown, {once}"
    line = f"agreement: {summary.agreement:.1%} of repeated verdicts are equal"
    cold = [place_of(name) for name, judge in judges.items() if judge.temperature == 0]
    if cold:
        at = " and ".join(f"{where}.temperature=0" for where in cold)
        line += f"; at {at} that shows the endpoint's noise alone"
    return line


def _totals(summary: TrialSummary, judges: Mapping[str, JudgeConfig]) -> list[str]:
    lines: list[str] = []
    for name, judge in judges.items():
        where = place_of(name)
        by = f"{where}: " if len(judges) > 1 else ""
        lines += [by + line for line in _total(summary.tallies[name], judge, where)]
    return lines


def _total(tally: Tally, judge: JudgeConfig, where: str) -> list[str]:
    lines = [
        f"verdicts: {tally.verdicts:,}, {tally.cached:,} of them known before or asked twice at "
        f"once; {tally.requests:,} requests, {tally.retries:,} retries, "
        f"{tally.parse_failures:,} unreadable replies",
        f"tokens: {tally.input_tokens:,} in, {tally.output_tokens:,} out; cost: "
        f"{_cost(tally.cost, judge, where)}",
    ]
    if tally.attempt_failures:
        lines.append(f"failed attempts: {_counted(tally.attempt_failures)}")
    if tally.latencies:
        middle, high = np.percentile(tally.latencies, (50, 95))
        lines.append(f"latency: {middle:.2f} s in the median, {high:.2f} s at the 95th percentile")
    return lines


def _counted(found: Mapping[str, int]) -> str:
    return _plain(reasons(found))


def _cost(dollars: float, judge: JudgeConfig, where: str) -> str:
    if judge.serve is not None:
        return "none, the judge is served here"
    if any(e.input_price is None or e.output_price is None for e in judge.endpoints):
        least = f"at least ${dollars:,.4f}, " if dollars else ""
        return f"{least}no price set (input_price and output_price of {where}.endpoints)"
    return f"${dollars:,.4f}"


def _short(text: str, width: int) -> str:
    return textwrap.shorten(_plain(text), width, placeholder=" ...")


def _plain(text: str) -> str:
    """Text on one line, and without what would give orders to a terminal."""
    shown = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(shown.split())
