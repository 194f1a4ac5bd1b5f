"""How long every estimator takes, and how often it disagrees with its plain loops.

    python -m performance.estimators

Each estimator on 96 prompts × 16 samples with 17 rewards, of which one in twenty scores is missing:
medians of several rounds, in each of which all take their turn. Disagreements are counted over
random matrices with missing scores, for the estimators of `tests/advantage/reference_field_b.py`.
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
from rvpo.advantage import MOGRPO, POW3R, RDPO, CVaR, Estimator, RubricDropout, SmoothTchebycheff
from tests.advantage import reference_field_b
from tests.advantage.matrices import matrix
from tests.advantage.reference import Step

PROMPTS, GROUP, REWARDS = 96, 16, 17
MISSING = 0.05
CHECKED: tuple[reference_field_b.FieldB, ...] = (
    MOGRPO(),
    CVaR(),
    SmoothTchebycheff(),
    POW3R(),
    RubricDropout(),
    RDPO(),
)


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


def disagreements(estimator: reference_field_b.FieldB, matrices: int) -> int:
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
        values, trained = reference_field_b.run(estimator, step, prompts, 0.5)
        advantages = estimator(rewards, 0.5)
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
    counts = {each.name: disagreements(each, options.matrices) for each in CHECKED}
    lines = ["| estimator | time | times GRPO's | disagreements |", "| --- | --- | --- | --- |"]
    for each, time_taken in zip(estimators, taken, strict=True):
        wrong = f"{counts[each.name]} of {options.matrices}" if each.name in counts else ""
        ratio = time_taken / taken[0]
        lines.append(f"| `{each.name}` | {time_taken:.1f} ms | {ratio:.1f} | {wrong} |")
    about = (
        f"One call for {PROMPTS * GROUP:,} samples of {REWARDS} rewards with {MISSING:.0%} of the "
        "scores missing, diagnostics included, in time of one processor. Disagreements are with "
        "plain loops over random matrices with missing scores."
    )
    publish("estimators.md", "\n".join([about, "", *lines]), options)


if __name__ == "__main__":
    main()
