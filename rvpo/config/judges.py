"""The judges of a run, by name, and who asks which."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import combinations
from typing import Annotated, Final

from pydantic import AfterValidator

from rvpo.config.judge import JudgeConfig, ServeConfig
from rvpo.config.rewards import ClassifierRewardConfig, RewardConfig, RubricRewardConfig
from rvpo.errors import nearest

OWN: Final = "judge"
"""Name of the judge that the section `judge` describes."""


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", value):
        raise ValueError(
            "a judge's name becomes part of metric names; use letters, digits, - and _"
        )
    if value == OWN:
        raise ValueError(
            f"'{OWN}' is the one of the section `judge`; give this judge a name of its own, such "
            "as gold"
        )
    return value


JudgeName = Annotated[str, AfterValidator(_name)]


def named(judge: JudgeConfig | None, others: Mapping[str, JudgeConfig]) -> dict[str, JudgeConfig]:
    """Every judge by its name, the one of the section `judge` first."""
    return ({} if judge is None else {OWN: judge}) | dict(others)


def asked(name: str | None, judges: Collection[str]) -> str:
    """Name of the judge that a section asks: the one that it names, else that of the section
    `judge`, else the only one that there is. The settings' own check has told of any other."""
    return name if name is not None else OWN if OWN in judges else next(iter(judges), OWN)


def weighed(
    rewards: Mapping[str, RewardConfig], judges: Collection[str], others: Iterable[str]
) -> set[str]:
    """Names of the judges whose log-probabilities count.

    Args:
        judges: names of those that there are.
        others: names of those that are asked the same in place of the ones that rewards name.
    """
    probable = [
        reward
        for reward in rewards.values()
        if isinstance(reward, RubricRewardConfig) and reward.grade == "probability"
    ]
    names = {asked(reward.judge, judges) for reward in probable}
    return names.union(others) if probable else set()


def name_problems(where: str, name: str | None, judges: Collection[str]) -> Iterator[str]:
    """Problems of the judge that a section names, or leaves out.

    Args:
        where: the section, such as rewards.polite.
        name: its setting `judge`.
        judges: names of those that there are, one or more.
    """
    there = ", ".join(judges)
    if name is None and OWN not in judges and len(judges) > 1:
        yield f"{where}: there are several judges, {there}; name one, as in {where}.judge=" + next(
            iter(judges)
        )
    elif name is not None and name not in judges:
        guess = nearest(name, list(judges))
        meant = f"did you mean '{guess}'?" if guess else f"choose from {there}"
        yield f"{where}.judge: there is no judge '{name}'; {meant}"


def reliability_problems(asked: Iterable[str], judges: Mapping[str, JudgeConfig]) -> Iterator[str]:
    """Problems of an estimator that weighs by reliability.

    Args:
        asked: names of the judges that rewards ask.
    """
    found = {name: judges[name] for name in asked if name in judges}
    if all(judge.repeat is None for judge in found.values()):
        where = place_of(next(iter(found), OWN))
        yield (
            "advantage.weight_by_reliability: no reward's judge is asked for a verdict again, so "
            f"nothing tells how reliable a score is; set {where}.repeat={{times: 2, share: 0.1}}, "
            "or leave it out"
        )


def served_problems(judges: Mapping[str, JudgeConfig], others: Collection[int]) -> Iterator[str]:
    """Problems of judges that a run serves, with its engines and with one another.

    Args:
        others: GPUs of the rollout engines alone.
    """
    taken: dict[int, str] = {}
    for name, judge in judges.items():
        if judge.serve is None:
            continue
        where, mine = place_of(name), set(judge.serve.devices)
        yield from judge.serve.problems(others, where)
        if both := sorted(mine & taken.keys()):
            yield (
                f"{where}.serve.devices: {both} belong to {taken[both[0]]} too; give each GPUs of "
                "its own"
            )
        taken |= dict.fromkeys(mine, where)
    for name, judge in judges.items():
        if judge.serve is not None and (both := sorted(_shared(judge.serve) & taken.keys())):
            yield (
                f"{place_of(name)}.serve.tensor_parallel: {judge.serve.gpus} are the first GPUs, "
                f"of which {both} belong to {taken[both[0]]}; make it smaller, or give it devices"
            )


def route_problems(rewards: Mapping[str, RewardConfig]) -> Iterator[str]:
    """Sentences on a table that would be two classifiers, each with all its limits and dollars."""
    given = {n: r for n, r in rewards.items() if isinstance(r, ClassifierRewardConfig)}
    for (one, first), (other, second) in combinations(given.items(), 2):
        same = first.classifier == second.classifier
        if same and first.asked.route != second.asked.route:
            yield (
                f"rewards.{other}.template: pair is asked by another route than other templates, "
                f"so that rewards.{one} and this reward cannot share the limits and dollars of one "
                "table `classifier`; write no pair, or give each a table with its own share of "
                "concurrency and budget"
            )
            return


def _shared(serve: ServeConfig) -> set[int]:
    """GPUs of a judge that has none for itself."""
    return set() if serve.devices else set(range(serve.gpus))


def place_of(name: str) -> str:
    """The section that describes a judge, or the classifier of a reward."""
    if "." in name:
        return f"rewards.{name}"
    return OWN if name == OWN else f"judges.{name}"
