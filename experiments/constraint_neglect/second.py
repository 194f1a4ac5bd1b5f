"""Train what PROTOCOL_2.md says and is not done, and write its table.

    python -m experiments.constraint_neglect.second --seeds 5

A run takes ten minutes on a core. A line of each is kept in second.jsonl, and second_results.md has
the table; a run's folder is deleted once its line is written.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Final

import numpy as np

from experiments.constraint_neglect import design
from experiments.constraint_neglect.analyse import Difference, holm
from rvpo.report.held_out import HeldOutScores
from rvpo.report.run_folder import RunFolder

HERE: Final = Path(__file__).parent
FILE: Final = HERE / "second.jsonl"
OUTPUT: Final = HERE / "second_results.md"
RUNS: Final = Path("runs/constraint_neglect/second")
SEEDS: Final = tuple(range(2000, 2005))
ARMS: Final = ("grpo", "grpo_level", "gdpo", "rvpo", "level_min")
GOOD: Final = {"long": 3.0, "asks": 1.0, "plain": 1.0}
Scores = Mapping[tuple[str, int], Mapping[str, Sequence[float]]]
"""By arm and seed, the share before and after that satisfies each reward, and all."""
PREDICTIONS: Final = (
    (1, "rvpo", "gdpo", "asks", -1),
    (2, "grpo_level", "grpo", "asks", 1),
    (3, "level_min", "the better of grpo and gdpo", "asks", 1),
    (4, "level_min", "rvpo", "all", 1),
)


def read(file: Path = FILE) -> Scores:
    if not file.exists():
        return {}
    lines = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return {(line["arm"], line["seed"]): line["met"] for line in lines}


def train(arm: str, seed: int) -> dict[str, list[float]]:
    """The shares of one run, which goes on where it was cut off."""
    folder = RunFolder(RUNS / f"{arm}-{seed}")
    settings = {"output": str(folder.path), "seed": seed, "advantage": dict(design.ARMS[arm])}
    words = [f"{name}={json.dumps(value)}" for name, value in settings.items()]
    words += ["--resume"] if folder.config.exists() else []
    command = [sys.executable, "-m", "rvpo", "train", "--config", str(HERE / "asking.yaml")]
    subprocess.run([*command, *words], check=True)
    found = [HeldOutScores.read(folder.evaluation(step)) for step in folder.evaluated()]
    met = {
        name: [e.values[:, :, e.columns.index(name)] >= good for e in found]
        for name, good in GOOD.items()
    }
    shares = {name: [float(each.mean()) for each in values] for name, values in met.items()}
    together = [np.all(each, axis=0) for each in zip(*met.values(), strict=True)]
    shutil.rmtree(folder.path)
    return shares | {"all": [float(each.mean()) for each in together]}


def _differences(scores: Scores, first: str, second: str, metric: str) -> list[float]:
    seeds = [s for s in SEEDS if (first, s) in scores and (second, s) in scores]
    return [scores[first, s][metric][-1] - scores[second, s][metric][-1] for s in seeds]


def _mean(scores: Scores, arm: str, metric: str, place: int = -1) -> float:
    values = [scores[arm, s][metric][place] for s in SEEDS if (arm, s) in scores]
    return fmean(values) if values else float("nan")


def table(scores: Scores) -> str:
    """Markdown: means by arm, and each prediction held or failed."""
    names = [*GOOD, "all"]
    lines = ["| | " + " | ".join([*names, "seeds"]) + " |", "|" + " --- |" * (len(names) + 2)]
    for arm in ARMS:
        cells = [f"{_mean(scores, arm, n, 0):.3f} → {_mean(scores, arm, n):.3f}" for n in names]
        lines.append(f"| `{arm}` | {' | '.join(cells)} | {sum(a == arm for a, _ in scores)} |")
    rows: list[tuple[str, Difference, int]] = []
    for number, first, second, metric, sign in PREDICTIONS:
        better = max(("grpo", "gdpo"), key=lambda arm: _mean(scores, arm, "asks"))
        other = better if second.startswith("the better") else second
        if found := _differences(scores, first, other, metric):
            named = f"{number} | `{first}` less `{other}`, {metric}: "
            named += "more" if sign > 0 else "less"
            rows.append((named, Difference.of(found), sign))
    lines += ["", "| | expected | found | p, Holm | seeds | |", "|" + " --- |" * 6]
    corrected = holm([1.0 if np.isnan(found.p) else found.p for _, found, _ in rows])
    for (named, found, sign), p in zip(rows, corrected, strict=True):
        verdict = "held" if (found.low if sign > 0 else -found.high) > 0 else "failed"
        verdict = "open: one seed" if np.isnan(found.low) else verdict
        lines.append(f"| {named} | {found} | {p:.2g} | {found.seeds} | {verdict} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    options = parser.parse_args()
    for seed in SEEDS[: options.seeds]:
        for arm in ARMS:
            if (arm, seed) not in read():
                line = {"arm": arm, "seed": seed, "met": train(arm, seed)}
                with FILE.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
    told = (
        "# What came out with the second model\n\nWritten by `python -m "
        "experiments.constraint_neglect.second` from `second.jsonl`, by the plan in "
        "[PROTOCOL_2.md](PROTOCOL_2.md): shares before and after training, means over seeds; "
        "differences paired over seeds, with the 95 % t-interval and the p of a paired t-test.\n\n"
    )
    OUTPUT.write_text(f"{told}{table(read())}\n", encoding="utf-8")
    print(OUTPUT)


if __name__ == "__main__":
    main()
