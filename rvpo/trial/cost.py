"""The cost of a run with a judge, by what its calls took in a trial."""

from __future__ import annotations

from rvpo.config.judge import JudgeConfig
from rvpo.rewards.tally import Tally


def run_cost(tally: Tally, judge: JudgeConfig, verdicts: float) -> str:
    """Words for the dollars of so many verdicts, and of what is not known, why.

    Args:
        tally: counts of the trial's answers.
        verdicts: those of the run.
    """
    asked = tally.verdicts - tally.cached
    if judge.serve is not None:
        return "nothing, it is served here"
    if not asked or not tally.requests:
        return "unknown, for every verdict of this trial was in its cache"
    if any(e.input_price is None or e.output_price is None for e in judge.endpoints):
        tokens = f"{_tokens(tally.input_tokens / asked * verdicts)} in and "
        tokens += f"{_tokens(tally.output_tokens / asked * verdicts)} out"
        return f"about {tokens} at no price set (input_price and output_price of its endpoints)"
    return f"about ${tally.cost / asked * verdicts:,.2f}"


def _tokens(number: float) -> str:
    return f"{number / 1e6:,.1f} million tokens" if number >= 1e5 else f"{number:,.0f} tokens"
