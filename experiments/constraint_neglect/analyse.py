"""The tables of what run.py has trained, and each prediction of PROTOCOL.md held or failed.

    python -m experiments.constraint_neglect.analyse

Writes protocol_results.md beside this file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Final

import numpy as np
from scipy import stats

from experiments.constraint_neglect import design
from experiments.constraint_neglect.run import Line, rates, read

OUTPUT: Final = Path(__file__).with_name("protocol_results.md")
Metric = Callable[[Line], float]
METRICS: Final[Mapping[str, Metric]] = {
    "area of all satisfied": lambda line: line.area,
    "all satisfied, end": lambda line: line.satisfied[-1],
    "all satisfied, peak": lambda line: max(line.satisfied[1:]),
    "sealed, end": lambda line: line.met["sealed"][-1],
    "lowest reward met, end": lambda line: min(
        line.met[name][-1] for name in design.TASKS[line.task].earned
    ),
    "pull on the seal": lambda line: line.pull["sealed"],
}
PRIMARY: Final = "area of all satisfied"
SEALED: Final = "sealed, end"
PULL: Final = "pull on the seal"


@dataclass(frozen=True)
class Difference:
    """A paired comparison over seeds."""

    mean: float
    low: float
    high: float
    p: float
    seeds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Difference:
        """Of paired differences; NaN where fewer than two seeds leave nothing to say."""
        mean, count = fmean(values), len(values)
        if count < 2:
            return cls(mean, np.nan, np.nan, np.nan, count)
        error = float(np.std(values, ddof=1)) / count**0.5
        if error == 0:
            return cls(mean, mean, mean, 1.0 if mean == 0 else 0.0, count)
        reach = float(stats.t.ppf(0.975, count - 1)) * error
        p = float(2 * stats.t.sf(abs(mean) / error, count - 1))
        return cls(mean, mean - reach, mean + reach, p, count)

    def __str__(self) -> str:
        return f"{self.mean:+.3f} ({self.low:+.3f} to {self.high:+.3f}, p = {self.p:.2g})"


@dataclass(frozen=True)
class Results:
    """The runs that count, by task and arm."""

    lines: Mapping[tuple[str, str], Mapping[int, Line]]

    @classmethod
    def of(cls, lines: Sequence[Line]) -> Results:
        chosen = rates(lines)
        found: dict[tuple[str, str], dict[int, Line]] = {}
        for line in lines:
            if line.seed in design.SEEDS and line.rate == chosen.get(line.arm):
                found.setdefault((line.task, line.arm), {})[line.seed] = line
        return cls(found)

    def values(self, task: str, arm: str, metric: str) -> dict[int, float]:
        """By seed."""
        return {s: METRICS[metric](x) for s, x in self.lines.get((task, arm), {}).items()}

    def mean(self, task: str, arm: str, metric: str) -> float:
        values = self.values(task, arm, metric)
        return fmean(values.values()) if values else np.nan

    def difference(self, task: str, first: str, second: str, metric: str) -> Difference | None:
        """First arm less second; None before both have a seed in common."""
        one, other = (self.values(task, arm, metric) for arm in (first, second))
        seeds = sorted(one.keys() & other.keys())
        return Difference.of([one[s] - other[s] for s in seeds]) if seeds else None

    def better(self, task: str, metric: str) -> str:
        """The better of the two that everybody has."""
        return max(("grpo", "gdpo"), key=lambda arm: self.mean(task, arm, metric))


@dataclass(frozen=True)
class Prediction:
    """A difference that was named before: above 0 (1), below (-1) or none (0)."""

    number: int
    task: str
    first: str
    second: str
    metric: str
    sign: int

    def verdict(self, difference: Difference) -> str:
        if np.isnan(difference.low):
            return "open: one seed"
        if self.sign == 0:
            return "held" if difference.low <= 0 <= difference.high else "failed"
        edge = difference.low if self.sign > 0 else -difference.high
        return "held" if edge > 0 else "failed"


BETTER: Final = "the better of grpo and gdpo"
PREDICTIONS: Final = (
    Prediction(1, "guard_letters", "rvpo", "gdpo", PRIMARY, 1),
    Prediction(2, "rare", "rvpo", "grpo", SEALED, -1),
    Prediction(3, "conflict", "level_min", BETTER, PRIMARY, 1),
    Prediction(3, "guard_letters", "level_min", BETTER, PRIMARY, 1),
    Prediction(4, "channels_17", "level_min", BETTER, SEALED, 1),
    Prediction(5, "easy", "level_min", BETTER, PRIMARY, 0),
    Prediction(6, "coins", "level_min", "grpo", PRIMARY, -1),
    Prediction(7, "main", "grpo_level", "grpo", PRIMARY, 1),
    Prediction(8, "channels_17", "level_min", "grpo_level", SEALED, 1),
    Prediction(9, "coins", "dara", "grpo", PRIMARY, -1),
    Prediction(9, "coins", "gdpo_saw", "grpo", PRIMARY, -1),
    Prediction(10, "rare", "rvpo", "gdpo", PULL, -1),
    Prediction(10, "rare", "level_min", "grpo", PULL, 1),
)
LEVELS: Final = ("grpo_level", "level_min")
SCORES: Final = ("grpo", "gdpo", "rvpo")
_SIGNS: Final = {1: "more", 0: "no difference", -1: "less"}


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction, in the order given. Holm 1979."""
    order = sorted(range(len(p)), key=p.__getitem__)
    corrected, largest = [1.0] * len(p), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - place) * p[index]))
        corrected[index] = largest
    return corrected


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _head(cells: Sequence[str]) -> list[str]:
    return [_row(cells), _row(["---"] * len(cells))]


def predictions(results: Results) -> list[str]:
    lines = _head(["prediction", "task", "metric", "expected", "found", "seeds", ""])
    for each in PREDICTIONS:
        second = results.better(each.task, each.metric) if each.second == BETTER else each.second
        found = results.difference(each.task, each.first, second, each.metric)
        named = f"`{each.first}` less `{second}`"
        if found is None:
            cells = ["-", "0", "open"]
        else:
            cells = [str(found), str(found.seeds), each.verdict(found)]
        expected = f"{named}: {_SIGNS[each.sign]}"
        lines.append(_row([str(each.number), f"`{each.task}`", each.metric, expected, *cells]))
    return lines


def primary(results: Results) -> list[str]:
    """`level_min` in every task against the better of the two, corrected together."""
    rows = []
    for task in design.TASKS:
        better = results.better(task, PRIMARY)
        found = results.difference(task, "level_min", better, PRIMARY)
        control = results.difference(task, "level_min", "grpo_level", PRIMARY)
        if found is not None:
            rows.append((task, better, found, control))
    corrected = holm([1.0 if np.isnan(found.p) else found.p for _, _, found, _ in rows])
    lines = _head(["task", "against", "difference", "p, Holm", "seeds", "against `grpo_level`"])
    for (task, better, found, control), p in zip(rows, corrected, strict=True):
        own = "-" if control is None else str(control)
        lines.append(
            _row([f"`{task}`", f"`{better}`", str(found), f"{p:.2g}", str(found.seeds), own])
        )
    return lines


def against(results: Results, metric: str) -> list[str]:
    """What reads levels against what does not, in every task, corrected together."""
    pairs = [
        (task, first, second, found)
        for task in design.TASKS
        for first in LEVELS
        for second in SCORES
        if (found := results.difference(task, first, second, metric)) is not None
    ]
    corrected = holm([1.0 if np.isnan(found.p) else found.p for *_, found in pairs])
    lines = _head(["task", "arm", "against", "difference", "p, Holm", "seeds"])
    for (task, first, second, found), p in zip(pairs, corrected, strict=True):
        cells = [f"`{task}`", f"`{first}`", f"`{second}`", str(found), f"{p:.2g}"]
        lines.append(_row([*cells, str(found.seeds)]))
    return lines


def table(results: Results, metric: str) -> list[str]:
    """Means over seeds, an arm a row; arms with as many seeds have the same ones."""
    lines = _head([metric, *(f"`{task}`" for task in design.TASKS), "seeds"])
    for arm in design.ARMS:
        means = [results.mean(task, arm, metric) for task in design.TASKS]
        counts = sorted({len(results.lines.get((task, arm), {})) for task in design.TASKS})
        seeds = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
        shown = ("-" if np.isnan(x) else f"{x:.3f}" for x in means)
        lines.append(_row([f"`{arm}`", *shown, seeds]))
    return lines


def report(lines: Sequence[Line]) -> str:
    """Markdown."""
    results, chosen = Results.of(lines), rates(lines)
    counts = [len(results.lines.get((t, a), {})) for t in design.TASKS for a in design.ARMS]
    told = ", ".join(f"`{arm}` {rate:g}" for arm, rate in chosen.items())
    parts = [
        "# What came out",
        "",
        "Written by `python -m experiments.constraint_neglect.analyse` from `runs.jsonl`, by the "
        "plan in [PROTOCOL.md](PROTOCOL.md). Differences are paired over seeds, with the 95 % "
        "t-interval and the p of a paired t-test. Seeds done of "
        f"{len(design.SEEDS)}: {min(counts)} to {max(counts)}.",
        "",
        f"Learning rates: {told}.",
    ]
    sections = {
        "Predictions": predictions(results),
        "`level_min` against the better of GRPO and GDPO, primary metric": primary(results),
        **{
            f"Levels against scores: {metric} (no comparison of the protocol)": against(
                results, metric
            )
            for metric in (PRIMARY, "all satisfied, end")
        },
        **{f"Means: {metric}": table(results, metric) for metric in METRICS},
    }
    for title, body in sections.items():
        parts += ["", f"## {title}", "", *body]
    return "\n".join([*parts, ""])


def main() -> None:
    OUTPUT.write_text(report(read()), encoding="utf-8")
    print(OUTPUT)


if __name__ == "__main__":
    main()
