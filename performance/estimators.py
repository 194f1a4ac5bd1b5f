"""How long every estimator takes, and how often it disagrees with its plain loops.

    python -m performance.estimators

Each estimator on 96 prompts × 16 samples with 17 rewards, of which one in twenty scores is missing:
medians of several rounds, in each of which all take their turn. Disagreements with the references
of `tests/advantage/` are counted over random matrices with missing scores.
With --save also written to performance/results/.
"""

from __future__ import annotations

import argparse
import random
import time
from statistics import median
from typing import Any, get_args

import torch

from performance.published import add_save_option, publish
from rvpo import Rewards
from rvpo.advantage import Estimator
from rvpo.satisfied import MET_OR_NOT
from tests.advantage import reference, reference_field_a, reference_field_b
from tests.advantage.matrices import matrix
from tests.advantage.reference import Step

PROMPTS, GROUP, REWARDS = 96, 16, 17
MISSING = 0.05
PROGRESS = 0.5


def verdicts() -> Rewards:
    draw = torch.Generator().manual_seed(0)
    shape = (PROMPTS * GROUP, REWARDS)
    return Rewards(
        (torch.rand(shape, generator=draw) > 0.4).float(),
        names=[f"criterion {m}" for m in range(REWARDS)],
        group_size=GROUP,
        valid=torch.rand(shape, generator=draw) >= MISSING,
        prompts=[f"prompt {g}" for g in range(PROMPTS)],
    )


def milliseconds(rounds: int, estimators: list[Any]) -> list[float]:
    """Median time of each, by turns, so that a busy moment is everyone's."""
    rewards, times = verdicts(), [[0.0] * rounds for _ in estimators]
    for estimate in estimators:
        estimate(rewards)
    for turn in range(rounds):
        for taken, estimate in zip(times, estimators, strict=True):
            started = time.process_time()
            estimate(rewards)
            taken[turn] = 1000 * (time.process_time() - started)
    return [median(taken) for taken in times]


def expected(estimator: Any, step: Step, prompts: list[str]) -> tuple[list[float], list[bool]]:
    """The advantages [N] by plain loops, and which rows are trained on [N]."""
    if isinstance(estimator, reference_field_b.FieldB):
        return reference_field_b.run(estimator, step, prompts, PROGRESS)
    if isinstance(estimator, reference_field_a.Field):
        found = reference_field_a.run(estimator, step, MET_OR_NOT)
    else:
        found = reference.run(estimator, step)
    return found.values, found.trained


def disagreements(estimator: Any, matrices: int) -> int:
    """Matrices of which any advantage is off by more than 1e-7."""
    draw, found = random.Random(0), 0
    for _ in range(matrices):
        size, channels = draw.randint(2, 8), draw.randint(1, 6)
        scores = [
            [
                None if draw.random() < 0.15 else draw.choice((0.0, 0.5, 1.0, draw.random()))
                for _ in range(channels)
            ]
            for _ in range(3 * size)
        ]
        weights = [[draw.choice((0.0, 0.5, 1.0, 3.0)) for _ in range(channels)]] * (3 * size)
        prompts = [str(draw.random()) for _ in range(3)]
        given = matrix(scores, size, weights)
        rewards = Rewards(
            given.values, given.names, size, given.weights, given.valid, prompts=prompts
        )
        step = Step(scores=scores, weights=weights, group_size=size)
        values, trained = expected(estimator, step, prompts)
        advantages = estimator(rewards, PROGRESS)
        off = (advantages.values - torch.tensor(values, dtype=torch.double)).abs().max() > 1e-7
        found += bool(off) or advantages.trained.tolist() != trained
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--matrices", type=int, default=300)
    add_save_option(parser)
    options = parser.parse_args()
    estimators = [kind() for kind in get_args(Estimator)]
    taken = milliseconds(options.rounds, estimators)
    counts = [disagreements(each, options.matrices) for each in estimators]
    lines = ["| estimator | time | times GRPO's | disagreements |", "| --- | --- | --- | --- |"]
    for each, time_taken, wrong in zip(estimators, taken, counts, strict=True):
        cells = f"{time_taken:.1f} ms | {time_taken / taken[0]:.1f} | {wrong} of {options.matrices}"
        lines.append(f"| `{each.name}` | {cells} |")
    about = (
        f"One call for {PROMPTS * GROUP:,} samples of {REWARDS} rewards with {MISSING:.0%} of the "
        "scores missing, diagnostics included, in time of one processor. Disagreements are with "
        "plain loops over random matrices with missing scores."
    )
    publish("estimators.md", "\n".join([about, "", *lines]), options)


if __name__ == "__main__":
    main()
