"""How long it takes to make advantages of a reward matrix.

    python -m performance.aggregate

Each estimator on 96 prompts × 16 samples, with 2, 5 to 17 and 20 to 64 rewards a prompt: medians
of many calls.
With --save also written to performance/results/.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch

from performance.published import add_save_option, publish
from rvpo import GDPO, GRPO, RVPO, Rewards

PROMPTS, GROUP = 96, 16
REWARDS = ((2, 2), (5, 17), (20, 64))
"""The fewest and the most of a prompt."""


def matrix(fewest: int, most: int) -> Rewards:
    torch.manual_seed(0)
    valid = torch.arange(most) < torch.randint(fewest, most + 1, (PROMPTS, 1))
    return Rewards(
        (torch.rand(PROMPTS * GROUP, most) > 0.4).float(),
        names=[f"criterion {m}" for m in range(most)],
        group_size=GROUP,
        valid=valid.repeat_interleave(GROUP, 0),
    )


def seconds(repeats: int, estimate: GRPO | GDPO | RVPO, rewards: Rewards) -> float:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        estimate(rewards)
        times.append(time.perf_counter() - started)
    return median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=50)
    add_save_option(parser)
    options = parser.parse_args()
    counts = " | ".join(f"{low} to {high} rewards" for low, high in REWARDS)
    lines = [f"| estimator | {counts} |", "|" + " --- |" * (1 + len(REWARDS))]
    for estimate in (GRPO(), GDPO(), RVPO(k=1.0)):
        taken = [1000 * seconds(options.repeats, estimate, matrix(*size)) for size in REWARDS]
        times = " | ".join(f"{each:.1f} ms" for each in taken)
        lines.append(f"| {type(estimate).__name__} | {times} |")
    about = f"One call for {PROMPTS * GROUP:,} samples, diagnostics included."
    publish("aggregate.md", "\n".join([about, "", *lines]), options)


if __name__ == "__main__":
    main()
