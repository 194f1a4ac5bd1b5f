"""The end of a run whose judge has cost what it may."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from rvpo.config.judge import JudgeConfig
from rvpo.config.judges import place_of
from rvpo.runtime.ranks import Ranks

_EVERY: Final = "judge/cost"  # of all judges that rewards ask


class PaidJudge(Protocol):
    """A judge whose cost is known."""

    @property
    def config(self) -> JudgeConfig:
        """Settings of the judge."""
        ...

    def spent(self) -> float:
        """Dollars that it has cost so far, over all starts of the run; on the main rank."""
        ...


@dataclass(frozen=True)
class Dollars:
    """Budgets of dollars, looked at between steps.

    Args:
        judges: those that are asked, by name.
        trained: names of those that rewards ask.
        ranks: those of the run.
    """

    judges: Mapping[str, PaidJudge]
    trained: Collection[str]
    ranks: Ranks

    def over(self, step: int, metrics: Mapping[str, float]) -> str | None:
        """The sentence for a run that ends after so many updates, None for one that goes on; on
        every rank alike. Every rank must call.

        Args:
            metrics: those of the judges in the last step, `judge/…` and `judges/…`: the next is
                taken to cost as much.

        Raises:
            CheckpointError: the file that tells what a judge has cost is damaged.
            RankError: it is so on the main rank.
        """
        with self.ranks.together():
            found = self._over(step, metrics) if self.ranks.is_main else None
        return self.ranks.first(found)

    def _over(self, step: int, metrics: Mapping[str, float]) -> str | None:
        for name, judge in self.judges.items():
            spent, most = judge.spent(), judge.config.budget.dollars
            if most is None:
                continue
            next_one = self._cost_of_step(name, metrics)
            if spent + next_one > most or spent >= most:
                return _sentence(place_of(name), spent, most, next_one, step)
        return None

    def _cost_of_step(self, name: str, metrics: Mapping[str, float]) -> float:
        if name not in self.trained:
            return 0.0
        every = metrics.get(_EVERY, 0.0)
        return metrics.get(f"judges/{name}/cost", 0.0) if len(self.trained) > 1 else every


def last_judged(rows: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    """Metrics of the last step whose judging is known; empty where there is none.

    Args:
        rows: those of all steps in order, as `metrics.jsonl` has them.
    """
    return next((row for row in reversed(rows) if _EVERY in row), {})


def _sentence(where: str, spent: float, most: float, next_one: float, step: int) -> str:
    cost = f"{where}.budget.dollars: the judge has cost {_dollars(spent)} of ${most:g}"
    if spent < most:
        cost += f", and another step costs about {_dollars(next_one)}"
    done = f"step {step} is done and saved" if step else "no step was begun"
    return (
        f"{cost}; {done}: raise the budget, and go on with --resume {where}.budget.dollars=NUMBER"
    )


def _dollars(number: float) -> str:
    return f"${number:,.2f}" if number >= 1 else f"${number:.4g}"
