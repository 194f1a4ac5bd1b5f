"""The cost of a run with a judge, by what its calls took in a trial."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from rvpo.config.judge import JudgeConfig
from rvpo.judge.types import Answer
from rvpo.rewards.judged import every_question
from rvpo.rewards.tally import Tally
from rvpo.trial.trial import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeCost:
    """Cost of a judge's verdicts over a run's training."""

    judge: str
    verdicts: float
    words: str
    """See `run_cost`."""


def asked_of_a_sample(trial: Trial) -> dict[str, float]:
    """Verdicts that each judge gives on a sample of the run, by its name: the mean over prompts."""
    prompts = {response.prompt.turns: response.prompt for response in trial.responses}
    asked = dict.fromkeys(trial.by_judge, 0.0)
    for (judge, _), rewards in trial.asked_together.items():
        asked[judge] += fmean(len(every_question(rewards, each)) for each in prompts.values())
    return asked


def run_cost(answers: Sequence[Answer], judge: JudgeConfig, verdicts: float) -> str:
    """Words for the dollars of so many verdicts, and of what is not known, why.

    A verdict costs what those cost that were asked for and given: one that failed may have cost
    nothing, and one that was known before was not paid for.

    Args:
        answers: those of the trial.
        verdicts: those of the run.
    """
    if judge.serve is not None:
        return "nothing, it is served here"
    if not verdicts:
        return "nothing, the prompts of this trial have no criteria"
    given = [a for a in answers if a.value is not None and not a.usage.cached]
    if not given:
        return f"unknown: {_why_unknown(answers)}"
    paid = Tally.of(given)
    each = verdicts / len(given)
    prices = [price for e in judge.endpoints for price in (e.input_price, e.output_price)]
    if not (paid.input_tokens or paid.output_tokens) and any(price != 0 for price in prices):
        return "unknown: its endpoints do not say how many tokens they took"
    if None in prices:
        tokens = f"{_tokens(paid.input_tokens * each)} in and {_tokens(paid.output_tokens * each)}"
        return f"about {tokens} out at no price set (input_price and output_price of its endpoints)"
    return f"about ${paid.cost * each:,.2f}"


def reasons(failures: Mapping[str, int]) -> str:
    """The reasons of failures with their numbers, the most common first."""
    return ", ".join(f"{count:,} {reason}" for reason, count in Counter(failures).most_common())


def _why_unknown(answers: Sequence[Answer]) -> str:
    tally = Tally.of(answers)
    if not tally.failed:
        return "every verdict of this trial was in its cache"
    if tally.failed == tally.verdicts:
        return f"every verdict of this trial failed ({reasons(tally.failures)})"
    return (
        f"of this trial's verdicts {tally.verdicts - tally.failed:,} were in its cache and the "
        f"others failed ({reasons(tally.failures)})"
    )


def _tokens(number: float) -> str:
    return f"{number / 1e6:,.1f} million tokens" if number >= 1e5 else f"{number:,.0f} tokens"
