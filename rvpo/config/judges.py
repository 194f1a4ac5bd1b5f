"""The judges of a run, by name, and who asks which."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Final

from pydantic import AfterValidator

from rvpo.config.judge import JudgeConfig
from rvpo.config.rewards import RewardName
from rvpo.errors import nearest

OWN: Final = "judge"
"""Name of the judge that the section `judge` describes."""


def _other(name: str) -> str:
    if name == OWN:
        raise ValueError(
            f"'{OWN}' is the one of the section `judge`; give this judge a name of its own, such "
            "as gold"
        )
    return name


JudgeName = Annotated[RewardName, AfterValidator(_other)]


def named(judge: JudgeConfig | None, others: Mapping[str, JudgeConfig]) -> dict[str, JudgeConfig]:
    """Every judge by its name, the one of the section `judge` first."""
    return ({} if judge is None else {OWN: judge}) | dict(others)


def asked(name: str | None, judges: Collection[str]) -> str:
    """Name of the judge that a section asks: the one that it names, else that of the section
    `judge`, else the only one that there is. The settings' own check has told of any other."""
    return name if name is not None else OWN if OWN in judges else next(iter(judges), OWN)


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


def served_problems(judges: Mapping[str, JudgeConfig], others: Collection[int]) -> Iterator[str]:
    """Problems of judges that a run serves, with its engines and with one another.

    Args:
        others: GPUs of the rollout engines alone.
    """
    taken: dict[int, str] = {}
    for name, judge in judges.items():
        if judge.serve is None:
            continue
        where = place_of(name)
        yield from judge.serve.problems(others, where)
        both = sorted(gpu for gpu in judge.serve.devices if gpu in taken)
        if both:
            yield (
                f"{where}.serve.devices: {both} belong to {taken[both[0]]} too; give each GPUs of "
                "its own"
            )
        taken |= dict.fromkeys(judge.serve.devices, where)


def place_of(name: str) -> str:
    """The section that describes a judge, or the classifier of a reward."""
    if "." in name:
        return f"rewards.{name}"
    return OWN if name == OWN else f"judges.{name}"
