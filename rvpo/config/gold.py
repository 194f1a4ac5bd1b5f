"""The settings of the gold watch: a better judge beside the one that trains."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Self

from pydantic import model_validator

from rvpo.config.judges import asked, name_problems
from rvpo.fields import NonNegativeInt, PositiveFloat, PositiveInt, Section


class GoldStopConfig(Section):
    """The rule that ends a run whose policy has learned to please its training judge."""

    gap: PositiveFloat | None = None
    """Largest gap that is let pass: the training judge's mean score less the gold judge's, on the
    held-out answers that both judged."""
    growth: PositiveFloat | None = None
    """The largest growth of that gap since before training. A judge that is lenient from the start
    has a gap and no growth."""
    times: PositiveInt = 2
    """Evaluations in a row, the newest one included, in which the same gap has to be too large."""
    of: tuple[str, ...] = ()
    """Rewards whose gap counts, such as `judged`, and criteria or classes of theirs, such as
    `judged/polite`; every reward that is watched and every part of one if left out, since gaps of
    parts may cancel in the whole."""

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if self.gap is None and self.growth is None:
            raise ValueError(
                "names no limit, so that nothing would ever stop the run; add gap, such as "
                "gap: 0.2, or growth, such as growth: 0.1"
            )
        for name, limit, most in (("gap", self.gap, 1), ("growth", self.growth, 2)):
            if limit is not None and limit >= most:
                raise ValueError(
                    f"{name}: {limit:g} is never exceeded, since scores lie between 0 and 1 and "
                    f"no {name} is above {most}; give a smaller one"
                )
        return self

    def problems(self, every: int, steps: int) -> Iterator[str]:
        """Problems of the rule with the looks there will be.

        Args:
            every: steps between two looks, 0 for none but the first and the last.
            steps: the run's.
        """
        looks = (steps - 1) // every if every else 0
        if looks < self.times:
            yield (
                f"evaluate.gold.stop.times: {self.times} looks in a row cannot end the run, since "
                f"there are {looks} between its first step and its last; make "
                f"{'times or ' if looks else ''}evaluate.gold.every smaller"
                f"{'' if every else ' than steps and above 0'}, or leave stop out"
            )


class GoldConfig(Section):
    """A second judge for held-out answers, which trains nothing: a policy that learns to please
    its training judge scores ever better with that one, and not with this one."""

    judge: str
    """Name of the judge that is trusted. It judges the same answers as those that rewards ask."""
    every: NonNegativeInt = 0
    """Steps between two looks, at which held-out prompts are scored in any case; 0 looks whenever
    they are."""
    stop: GoldStopConfig | None = None
    """Rule that ends the run; it goes on to its last step if left out."""


def gold_problems(
    gold: GoldConfig, judges: Collection[str], rewards: Mapping[str, str | None], held_out: bool
) -> Iterator[str]:
    """Problems of the watch with the rest of a run.

    Args:
        judges: names of those that there are.
        rewards: judge that each judged reward names, None for the usual one, by reward.
        held_out: there are held-out prompts.
    """
    if not held_out:
        yield (
            "evaluate.gold: the gold judge judges answers to held-out prompts, and there are none; "
            "add data.held_out, or leave evaluate.gold out"
        )
    if not rewards:
        yield (
            "evaluate.gold: no reward asks a judge, so there is none to watch; leave evaluate.gold "
            "out"
        )
    if not judges:
        yield "evaluate.gold.judge: there are no judges; add judges: {" + gold.judge + ": {...}}"
        return
    unknown = list(name_problems("evaluate.gold", gold.judge, judges))
    yield from unknown
    if rewards and not unknown and not watched(gold, judges, rewards):
        yield (
            f"evaluate.gold.judge: every judged reward asks '{gold.judge}' already, which cannot "
            "watch itself; name another of judges"
        )


def is_of_gold(metric: str) -> bool:
    """True for a metric that the watch gives."""
    return metric.startswith(("eval/gold/rewards/", "judge_gap"))


def gold_metric_problems(where: str, metric: str, gold: GoldConfig | None) -> Iterator[str]:
    """Problems of a metric of the watch that a setting names, where there is none."""
    if gold is None and is_of_gold(metric):
        yield (
            f"{where}: '{metric}' is given by the watch alone, and there is none; add "
            "evaluate.gold to a new run, or name another metric of evaluation"
        )


def watched(
    gold: GoldConfig, judges: Collection[str], rewards: Mapping[str, str | None]
) -> list[str]:
    """Names of the rewards that another judge than the gold one gives."""
    return [name for name, judge in rewards.items() if asked(judge, judges) != gold.judge]
