"""The criteria of a page's runs that are not alive, with what to do about them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rvpo.advantage.state import STATES, Life, state_of, undivided
from rvpo.page.history import Floats, PageArm, reward_names

WINDOW = 10
"""Steps that a state is judged by."""
SHOWN = 20
"""Criteria of an arm that are listed."""
_FEWEST = 3
"""Values of a pull that tell how sure its sign is."""

ADVICE: Mapping[Life, str] = {
    "suppressed": "Others are paid for at its cost. If they must not win, take advantage.name: "
    "level_min, unless its verdicts are mostly noise, or raise its weight.",
    "unexplored": "No advantage finds what is never sampled: start from a model that meets it at "
    "times, draw more samples of a prompt, or grade it in steps.",
    "dead": "Its samples never differ, so nothing is learned of it: grade it finer, draw more "
    "samples of a prompt, or say what is good enough (satisfied).",
    "saturated": "Learned. Keep it while its curve should not fall, or ask for more.",
    "alive": "Nothing: it is being learned.",
}
"""A sentence on what to do next, for each state."""


@dataclass(frozen=True)
class LifeRow:
    """A criterion at the last step."""

    name: str
    state: Life
    met: float | None
    pull: float | None
    since: int
    """Step from which on it has been in this state."""
    advice: str


@dataclass(frozen=True)
class CriteriaTable:
    """The criteria of an arm."""

    arm: str
    count: str
    """Number of criteria in each state, as a sentence."""
    rows: Sequence[LifeRow]
    """Those not alive, the most severe first."""
    more: int
    """Number of those that are not listed."""


def criteria_tables(arms: Sequence[PageArm]) -> list[CriteriaTable]:
    """A table for each arm whose runs say how their criteria are."""
    tables = []
    for arm in arms:
        found = [_row(arm, name) for name in undivided(reward_names([arm])) if _weighs(arm, name)]
        rows = [row for row in found if row is not None]
        if rows:
            tables.append(_table(arm.name, rows))
    return tables


def _table(arm: str, rows: Sequence[LifeRow]) -> CriteriaTable:
    counts = Counter(row.state for row in rows)
    said = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    listed = sorted(
        (row for row in rows if row.state != "alive"), key=lambda row: STATES.index(row.state)
    )
    whole = "1 criterion" if len(rows) == 1 else f"{len(rows)} criteria"
    return CriteriaTable(arm, f"{whole}: {said}", listed[:SHOWN], max(0, len(listed) - SHOWN))


def _weighs(arm: PageArm, name: str) -> bool:
    """Its reward trains anything."""
    reward = arm.runs[0].config.rewards.get(name.partition("/")[0])
    return reward is None or reward.weight != 0


def _row(arm: PageArm, name: str) -> LifeRow | None:
    """The criterion, where the last steps compared its scores."""
    steps, met = arm.curve(f"rewards/{name}/met_frac")
    constant = arm.curve(f"rewards/{name}/zero_std_frac")[1]
    pull = arm.curve(f"advantage/pull/{name}")[1]
    end = len(steps)
    state = _state(met, constant, pull, end)
    if state is None:
        return None
    first = end
    while first > 1 and _state(met, constant, pull, first - 1) == state:
        first -= 1
    last = slice(max(0, end - WINDOW), end)
    known = (_mean(met[:, last]), _mean(pull[:, last]))
    return LifeRow(name, state, *known, since=int(steps[first - 1]), advice=ADVICE[state])


def _state(met: Floats, constant: Floats, pull: Floats, end: int) -> Life | None:
    """The state after `end` steps, of [runs, T] values; None where nothing is known of it."""
    last = slice(max(0, end - WINDOW), end)
    shared = _mean(constant[:, last])
    if shared is None:
        return None
    return state_of(_mean(met[:, last]), shared, _at_most(pull[:, last]))


def _mean(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _at_most(values: Floats) -> float | None:
    """The mean and two standard errors, so that only a pull that is surely below 0 is."""
    known = values[np.isfinite(values)]
    if len(known) < _FEWEST:
        return None
    return float(known.mean() + 2 * known.std(ddof=1) / math.sqrt(len(known)))
