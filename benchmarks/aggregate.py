"""How long it takes to make advantages of a reward matrix.

    python -m benchmarks.aggregate

Each estimator on 96 prompts × 16 samples with 5 to 17 rewards a prompt: medians of many calls.
With --save also written to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch

from benchmarks.published import add_save_option, publish
from rvpo import GDPO, GRPO, RVPO, Rewards

PROMPTS, GROUP, REWARDS = 96, 16, 17


def matrix() -> Rewards:
    torch.manual_seed(0)
    valid = torch.arange(REWARDS) < torch.randint(5, REWARDS + 1, (PROMPTS, 1))
    return Rewards(
        (torch.rand(PROMPTS * GROUP, REWARDS) > 0.4).float(),
        names=[f"criterion {m}" for m in range(REWARDS)],
        group_size=GROUP,
        valid=valid.repeat_interleave(GROUP, 0),
    )


def seconds(repeats: int, estimate: GRPO | GDPO | RVPO) -> float:
    rewards = matrix()
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
    lines = ["| estimator | time of one call |", "| --- | --- |"]
    for estimate in (GRPO(), GDPO(), RVPO(k=1.0)):
        taken = 1000 * seconds(options.repeats, estimate)
        lines.append(f"| {type(estimate).__name__} | {taken:.1f} ms |")
    about = f"{PROMPTS * GROUP:,} samples, 5 to {REWARDS} rewards of each, diagnostics included."
    publish("aggregate.md", "\n".join([about, "", *lines]), options)


if __name__ == "__main__":
    main()
