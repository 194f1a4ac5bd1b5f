"""Repeat the main comparison and its ablations, and write their tables.

    python -m experiments.constraint_neglect.ablate --jobs 2            # all of them
    python -m experiments.constraint_neglect.ablate main inputs --jobs 2

Each is one `rvpo compare`, resumed if it was begun. The tables of all that are done go to
results.md beside this file, verdicts in full to runs/constraint_neglect/<name>/verdict.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path("experiments/constraint_neglect")
RUNS = Path("runs/constraint_neglect")
PRIMARY = ("sealed", "all satisfied")
SATISFIED = {"long": 1.5, "sealed": 1, "pleasant": 0.5}
TAYLOR = "Distance to the Taylor expansion, against its bound"
REWARD = "{{function: '{}:{}', arguments: {}}}".format
TASK = "experiments.constraint_neglect.task"


@dataclass(frozen=True)
class Ablation:
    """One comparison: the first arm is the one that the others are compared with."""

    about: str
    arms: str
    settings: tuple[str, ...] = ()
    sealed: float = 0.4
    """Share of sealed answers that the initial policy imitates."""
    satisfied: Mapping[str, float] | None = None


def _channels(count: int) -> tuple[str, ...]:
    """That many rewards: `sealed` and `long`, then letters to use."""
    letters = "abcdefghijklmno"[: count - 2]
    uses = [f"uses_{each}: " + REWARD(TASK, "uses", f"{{letter: {each}}}") for each in letters]
    first = [f"{name}: {REWARD(TASK, name, '{}')}" for name in ("long", "sealed")]
    return (f"rewards={{{', '.join(first + uses)}}}",)


def _noise(deviation: float) -> tuple[str, ...]:
    return (f"rewards.pleasant={REWARD(TASK, 'pleasant', f'{{noise: {deviation}}}')}",)


K = ", ".join(f"{{name: rvpo, k: {k}}}" for k in (0, 0.1, 0.5, 1, 2, 5, 10, ".inf"))
MEAN_AND_SOFT_MIN = "gdpo,rvpo"
WITHOUT_PLEASANT = {name: SATISFIED[name] for name in ("long", "sealed")}
ABLATIONS: Mapping[str, Ablation] = {
    "main": Ablation("The three algorithms", "grpo,gdpo,rvpo"),
    "estimators": Ablation(
        "The risk coefficient k, the curriculum, and other penalties, against the mean",
        f"gdpo, {K}, {{name: rvpo, k: {{start: 0.5, end: 2.0}}}}, mean_variance, hard_min",
    ),
    "inputs": Ablation(
        "Raw scores instead of z-scores",
        "gdpo, {name: raw_rvpo, k: 0}, rvpo, raw_rvpo",
    ),
    "start_0.1": Ablation("The seal very rare at the start", MEAN_AND_SOFT_MIN, sealed=0.1),
    "start_0.2": Ablation("The seal rare at the start", MEAN_AND_SOFT_MIN, sealed=0.2),
    "start_0.8": Ablation("The seal usual at the start", MEAN_AND_SOFT_MIN, sealed=0.8),
    "conflict": Ablation(
        "A seal that two in five responses have at the start and that full length rules out",
        "grpo,gdpo,rvpo, {name: rvpo, k: 2}",
        (f"rewards.sealed={REWARD(TASK, 'sealed', '{limit: 12}')}",),
        sealed=0.8,
    ),
    "guard": Ablation(
        "The same, with a seal that most responses have at the start",
        "grpo,gdpo,rvpo, {name: rvpo, k: 2}, raw_rvpo, "
        "{name: rvpo, eps: 0.1}, {name: gdpo, eps: 0.1}",
        (f"rewards.sealed={REWARD(TASK, 'sealed', '{limit: 14}')}",),
        sealed=1.0,
    ),
    "noise_3": Ablation("`pleasant` with noise of 3", MEAN_AND_SOFT_MIN, _noise(3)),
    "channels_2": Ablation(
        "2 rewards", MEAN_AND_SOFT_MIN, _channels(2), satisfied=WITHOUT_PLEASANT
    ),
    "channels_9": Ablation(
        "9 rewards", MEAN_AND_SOFT_MIN, _channels(9), satisfied=WITHOUT_PLEASANT
    ),
    "channels_17": Ablation(
        "17 rewards", MEAN_AND_SOFT_MIN, _channels(17), satisfied=WITHOUT_PLEASANT
    ),
    "dead_groups": Ablation(
        "Groups whose scores are all equal, with 2 rewards",
        "{name: rvpo, dead_groups: keep}, {name: rvpo, dead_groups: recentre}, "
        "{name: rvpo, dead_groups: mask}, {name: rvpo, dead_channels: mask}",
        _channels(2),
        satisfied=WITHOUT_PLEASANT,
    ),
}


def model(sealed: float) -> Path:
    """The initial policy, warm-started if it is not there."""
    folder = RUNS / (f"model-{sealed}" if sealed != 0.4 else "model")
    if not (folder / "model.safetensors").exists():
        module = "experiments.constraint_neglect.warm_start"
        options = ["--sealed", str(sealed), "--output", str(folder)]
        subprocess.run([sys.executable, "-m", module, *options], check=True)
    return folder


def compare(name: str, seeds: int, jobs: int) -> Path:
    """Train what is missing, and return the folder of the comparison."""
    ablation, folder = ABLATIONS[name], RUNS / name
    satisfied = SATISFIED if ablation.satisfied is None else ablation.satisfied
    command = [sys.executable, "-m", "rvpo", "compare", "--config", str(HERE / "main.yaml")]
    command += ["--vary", f"advantage={ablation.arms}", "--seeds", str(seeds)]
    command += ["--jobs", str(jobs), "--output", str(folder)]
    command += [text for metric in PRIMARY for text in ("--primary", metric)]
    command += [x for reward, at in satisfied.items() for x in ("--satisfied", f"{reward}={at}")]
    command += [f"model.path={model(ablation.sealed)}", *ablation.settings]
    subprocess.run(command, check=True)
    return folder


def table(about: str, verdict: Mapping[str, Any]) -> str:
    """Markdown: every arm's means after the last step, and how the primary metrics differ."""
    rows = [row for row in verdict["rows"] if row["stage"] == "final"]
    metrics = [m for m in dict.fromkeys(r["metric"] for r in rows) if not m.startswith("uses_")]
    first = rows[0]["first"]
    means = {(row["metric"], row["second"]): row["second_mean"] for row in rows}
    means |= {(row["metric"], first): row["first_mean"] for row in rows if row["first"] == first}
    differences = {(r["metric"], r["second"]): r for r in rows if r["first"] == first}
    head = ["", *metrics, *(f"{metric} against {first}" for metric in PRIMARY)]
    lines = [f"## {about}", "", *_markdown_row(head), "| --- |" + " --- |" * (len(head) - 1)]
    for arm in dict.fromkeys([first, *(row["second"] for row in rows)]):
        cells = [_mean(means[metric, arm]) for metric in metrics]
        cells += [_change(differences.get((metric, arm))) for metric in PRIMARY]
        lines += _markdown_row([arm, *cells])
    return "\n".join([*lines, ""])


def taylor(folder: Path) -> str:
    """Markdown: how far the soft minimum was from its expansion during training, and the bound."""
    lines = [f"## {TAYLOR}", ""]
    lines += _markdown_row(["", "mean distance", "mean bound", "largest of a step", "its bound"])
    lines.append("| --- |" + " --- |" * 4)
    arms = [path for path in folder.glob("rvpo*") if path.is_dir()]
    for arm in sorted(arms, key=lambda path: float(path.name.partition("_k=")[2] or "inf")):
        files = sorted(arm.glob("seed-*/metrics.jsonl"))
        rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        pairs = [
            (row["advantage/taylor_residual"], row["advantage/taylor_bound"])
            for row in rows
            if "advantage/taylor_residual" in row
        ]
        if pairs:
            distances, bounds = zip(*pairs, strict=True)
            means = [sum(distances) / len(pairs), sum(bounds) / len(pairs)]
            cells = [f"{number:.4f}" for number in (*means, *max(pairs))]
            lines += _markdown_row([arm.name.replace("_", " "), *cells])
    about = "Means of a step's samples, over all steps and seeds of the comparison `estimators`."
    return "\n".join([*lines, "", about, ""])


def _markdown_row(cells: Sequence[str]) -> list[str]:
    return ["| " + " | ".join(cells) + " |"]


def _mean(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _change(row: Mapping[str, Any] | None) -> str:
    if row is None or row["interval"] is None:
        return ""
    low, high = row["interval"]
    p = "" if row["p_holm"] is None else f", p = {row['p_holm']:.2g}"
    return f"{row['difference']:+.3f} ({low:+.3f} to {high:+.3f}{p})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(ABLATIONS), help=", ".join(ABLATIONS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in ABLATIONS]:
        parser.error(f"{', '.join(unknown)}: there is no such; there are {', '.join(ABLATIONS)}")
    for name in options.names:
        compare(name, options.seeds, options.jobs)
    path = HERE / "results.md"
    path.write_text(results(path.read_text(encoding="utf-8")), encoding="utf-8")
    print(path)


def sections(page: str) -> dict[str, str]:
    """The tables of a page, by their titles."""
    parts = [part.strip() for part in page.split("\n## ")[1:]]
    return {part.partition("\n")[0]: f"## {part}\n" for part in parts}


def results(page: str) -> str:
    """Markdown: the page with the tables of every comparison that is done here."""
    about, old = page.partition("\n## ")[0].strip(), sections(page)
    parts = []
    for name, ablation in ABLATIONS.items():
        file = RUNS / name / "verdict.json"
        is_done = file.exists()
        if is_done:
            parts.append(table(ablation.about, json.loads(file.read_text(encoding="utf-8"))))
        elif ablation.about in old:
            parts.append(old[ablation.about])
        if name == "estimators" and (is_done or TAYLOR in old):
            parts.append(taylor(RUNS / name) if is_done else old[TAYLOR])
    return "\n".join([about, "", *parts])


if __name__ == "__main__":
    main()
