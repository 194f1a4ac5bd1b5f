"""Which prompts are worth their tokens: the quickstart's task, by order and resampling.

    python -m performance.order --seeds 5 --save

Trains the quickstart's policy on few problems, each seen several times, since an order can learn
nothing of a prompt that it sees once. Arms: the plain order; `data.order: difficulty`;
`rollout.resample: 2`; both of the latter. Every arm of a seed begins with the same prompts. Runs
that are complete are not repeated, and one that is not goes on. A step takes 10 to 30 seconds, more
where dead groups are resampled; two arms and five seeds two to five hours on two cores.

Held-out scores are taken every few steps, and read as functions of the completion tokens that were
generated in training, those of groups that were left out too. All arms of a seed are compared at
the tokens of the one that generated least: by the score there (between two evaluations on a
straight line), and by the mean score on the way (the area below the curve). Differences to the
plain order are paired by seed, with the t-interval and p-value of a paired t-test.

Predicted before any run:
- Both together have a higher mean score on the way than the plain order, in `correct`, by .01 to
  .05, and five seeds do not suffice for p < .05.
- `formatted` and `brief` are above .9 in all arms and do not differ by more than .03.
- The order lowers the share of dead groups in the second half of the steps by a tenth or more.
- Resampling alone helps by the step and not by the token: a fresh prompt is as often dead as one
  of the next step. Its difference at equal tokens is within .03 of 0.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from scipy import stats

from performance.published import add_save_option, publish

ROOT = Path(__file__).resolve().parent.parent
ARMS: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "difficulty": {"data.order": "difficulty"},
    "resampled": {"rollout.resample": 2},
    "both": {"data.order": "difficulty", "rollout.resample": 2},
}
REWARDS = ("correct", "formatted", "brief")


@dataclass(frozen=True)
class Curve:
    """A held-out score by the tokens generated until then."""

    tokens: Sequence[float]
    scores: Sequence[float]

    def at(self, tokens: float) -> float:
        """The score at so many tokens, at most those of the last evaluation."""
        right = max(1, bisect_left(self.tokens, tokens))
        (x0, x1), (y0, y1) = (each[right - 1 : right + 1] for each in (self.tokens, self.scores))
        return y0 + (y1 - y0) * (tokens - x0) / (x1 - x0)

    def mean_until(self, tokens: float) -> float:
        """The mean score on the way to so many tokens."""
        known = [(x, y) for x, y in zip(self.tokens, self.scores, strict=True) if x < tokens]
        points = [*known, (tokens, self.at(tokens))]
        area = sum((y0 + y1) / 2 * (x1 - x0) for (x0, y0), (x1, y1) in pairwise(points))
        return area / tokens


def train(run: Path, arm: str, seed: int, steps: int, every: int, problems: int) -> None:
    settings = {
        "output": str(run),
        "seed": seed,
        "steps": steps,
        "data.train.arguments.count": problems,
        "evaluate.every": every,
        "evaluate.samples_per_prompt": 2,
        "checkpoint.every": every,
        **ARMS[arm],
    }
    command = [sys.executable, "-m", "rvpo", "train"]
    command += ["--config", str(ROOT / "experiments" / "quickstart.yaml")]
    command += ["--resume"] if (run / "config.yaml").exists() else []
    command += [f"{name}={json.dumps(value)}" for name, value in settings.items()]
    subprocess.run(command, check=True)


def read(run: Path) -> list[dict[str, Any]]:
    path = run / "metrics.jsonl"
    return [json.loads(line) for line in path.open()] if path.exists() else []


def first_scores(run: Path) -> dict[str, float]:
    """Scores before training."""
    found = json.loads((run / "held_out.json").read_text())["rewards"]
    return {name: found[name]["before"] for name in REWARDS}


def generated(row: Mapping[str, Any], samples: int) -> float:
    """Completion tokens of a step; without groups that were left out all are trained on."""
    own: float = row["completions/mean_length"] * samples
    return row.get("groups/generated_tokens", own)


def curve(run: Path, reward: str, samples: int) -> Curve:
    rows = read(run)
    spent = list(accumulate(generated(row, samples) for row in rows))
    key = f"eval/rewards/{reward}/mean"
    points = [(x, row[key]) for x, row in zip(spent, rows, strict=True) if key in row]
    return Curve(
        [0.0, *(x for x, _ in points)], [first_scores(run)[reward], *(y for _, y in points)]
    )


def dead(run: Path) -> float:
    """Share of dead groups among those that were generated, in the second half of the steps."""
    rows = read(run)
    late = rows[len(rows) // 2 :]
    return fmean(r.get("groups/dead_frac", r.get("advantage/dead_group_frac", 0.0)) for r in late)


def difference(of: Sequence[float], plain: Sequence[float]) -> str:
    gap = fmean(of) - fmean(plain)
    if len(of) < 2:
        return f"{gap:+.3f}"
    test = stats.ttest_rel(of, plain)
    low, high = test.confidence_interval()
    return f"{gap:+.3f} ({low:+.3f} to {high:+.3f}, p = {test.pvalue:.2g})"


def table(runs: Path, arms: Sequence[str], seeds: Sequence[int], samples: int) -> str:
    curves = {
        (arm, seed, reward): curve(runs / f"{arm}-{seed}", reward, samples)
        for arm in arms
        for seed in seeds
        for reward in REWARDS
    }
    budget = {s: min(curves[arm, s, REWARDS[0]].tokens[-1] for arm in arms) for s in seeds}
    lines = ["| arm | seed | tokens | dead groups | " + " | ".join(REWARDS) + " |"]
    lines.append("|" + " --- |" * (4 + len(REWARDS)))
    for arm in arms:
        for seed in seeds:
            each = [curves[arm, seed, reward] for reward in REWARDS]
            cells = [f"{c.at(budget[seed]):.3f}, {c.mean_until(budget[seed]):.3f}" for c in each]
            spent, share = each[0].tokens[-1], dead(runs / f"{arm}-{seed}")
            lines.append(f"| {arm} | {seed} | {spent:,.0f} | {share:.2f} | {' | '.join(cells)} |")
    lines += ["", "Each cell: the score at equal tokens, and the mean score on the way there."]
    for arm in arms[1:]:
        for reward in REWARDS:
            pairs = [(curves[arm, s, reward], curves[arms[0], s, reward], budget[s]) for s in seeds]
            last = difference([c.at(x) for c, _, x in pairs], [c.at(x) for _, c, x in pairs])
            way = difference(
                [c.mean_until(x) for c, _, x in pairs], [c.mean_until(x) for _, c, x in pairs]
            )
            lines.append(
                f"- {arm}, {reward}, less {arms[0]}: {last} at equal tokens, {way} on the way"
            )
        of, plain = ([dead(runs / f"{a}-{s}") for s in seeds] for a in (arm, arms[0]))
        lines.append(f"- {arm}, dead groups, less {arms[0]}: {difference(of, plain)}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--every", type=int, default=4, help="steps between two evaluations")
    parser.add_argument("--problems", type=int, default=32, help="different prompts")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=["plain", "both"])
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "order")
    add_save_option(parser)
    options = parser.parse_args()
    for seed in range(options.seeds):
        for arm in options.arms:
            run = options.runs / f"{arm}-{seed}"
            if not (run / "held_out.json").exists():
                train(run, arm, seed, options.steps, options.every, options.problems)
    samples = 4 * 8  # of a step, as the quickstart's rollout says
    publish("order.md", table(options.runs, options.arms, range(options.seeds), samples), options)


if __name__ == "__main__":
    main()
