"""Agreement of what is evaluated with the rest of a run."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Final

from rvpo.benchmarks import BENCHMARKS
from rvpo.config.gold import gold_metric_problems, is_of_gold
from rvpo.config.held_out import EvaluateConfig
from rvpo.errors import nearest

_AT_K: Final = r"(?:(?:pass|maj)@\d+/|all_satisfied@\d+$)"
_FAMILY: Final = re.compile(
    rf"judge_gap|eval/(?:rewards/|gold/rewards/|{_AT_K}|(?:{'|'.join(BENCHMARKS)})/)"
)
"""Beginning of a metric that an evaluation can give."""


def evaluation_problems(
    evaluate: EvaluateConfig,
    best: str | None,
    *,
    rewards: Collection[str],
    held_out: bool,
    steps: int,
) -> Iterator[str]:
    """Problems of the metrics that are wanted with those that there are.

    Args:
        best: the metric of `checkpoint.best`.
        rewards: names of the run's.
        held_out: there are held-out prompts.
        steps: the run's.
    """
    if evaluate.at_k and not held_out:
        yield (
            "evaluate.at_k: it counts answers to held-out prompts, and there are none; add "
            "data.held_out, or leave at_k out"
        )
    for name in evaluate.satisfied:
        if name.partition("/")[0] not in rewards:
            yield f"evaluate.satisfied: '{name}' is no reward{_meant(name, rewards)}"
    rule = evaluate.early_stop
    if rule is not None and not _FAMILY.match(rule.metric):
        yield (
            f"evaluate.early_stop.metric: '{rule.metric}' is no metric of evaluation; such are "
            "eval/rewards/REWARD/mean, eval/pass@K/REWARD, eval/maj@K/REWARD, "
            "eval/all_satisfied@K, eval/BENCHMARK/SCORE and judge_gap/REWARD"
        )
    if rule is not None:
        gold = evaluate.gold.every if evaluate.gold and is_of_gold(rule.metric) else 0
        yield from rule.problems(gold or evaluate.every, steps)
    wanted = {
        "checkpoint.best": best,
        "evaluate.early_stop.metric": None if rule is None else rule.metric,
    }
    for where, metric in wanted.items():
        if metric is not None:
            yield from _problems(where, metric, evaluate, rewards, held_out)


def _problems(
    where: str, metric: str, evaluate: EvaluateConfig, rewards: Collection[str], held_out: bool
) -> Iterator[str]:
    """Reasons for which no evaluation of the run can give a metric, as far as settings tell."""
    yield from gold_metric_problems(where, metric, evaluate.gold)
    parts = metric.split("/")
    if parts[0] != "eval" or len(parts) < 2:
        return
    at = re.fullmatch(r"(?:pass|maj|all_satisfied)@(\d+)", parts[1])
    if at and int(at[1]) not in evaluate.at_k:
        yield f"{where}: '{metric}' is given for the k of evaluate.at_k alone; add {at[1]} to it"
    elif (at or parts[1] == "rewards") and not held_out:
        yield (
            f"{where}: '{metric}' is of held-out prompts, and there are none; add data.held_out, "
            "or name another metric"
        )
    elif (at or parts[1] == "rewards") and len(parts) > 2 and parts[2] not in rewards:
        yield f"{where}: '{metric}' is of no reward{_meant(parts[2], rewards)}"
    elif parts[1] in BENCHMARKS and parts[1] not in evaluate.benchmarks.chosen():
        yield (
            f"{where}: '{metric}' is of a benchmark that is not run; add "
            f"evaluate.benchmarks.{parts[1]}, or name another metric"
        )


def _meant(name: str, rewards: Collection[str]) -> str:
    close = nearest(name, list(rewards))
    return f"; did you mean '{close}'?" if close else f"; there are {', '.join(rewards)}"
