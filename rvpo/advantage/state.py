"""The state of a criterion: what of it there is to learn, and whether it is learned.

A criterion is a reward, or a part of one that reports show. Three numbers of its scores decide,
of a step or of a window of steps:

    met        share of them that is good enough (`level`); None where nobody says what that is
    constant   share of the groups in which all have the same score
    pull       share of what the advantages move (`pull`); None where they move nothing

    saturated    met and constant >= NEARLY: nearly all groups are alike in meeting it
    unexplored   constant = 1 and met = 0: no sample meets it, and none comes nearer than siblings
    dead         constant = 1 otherwise: no two siblings differ, though some groups meet it, or
                 nobody says what meeting it is
    suppressed   constant < 1 and pull < 0: what meets it gets less advantage than what does not
    alive        all others

The first that holds is the state, so that a criterion has one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

Life = Literal["suppressed", "unexplored", "dead", "saturated", "alive"]
STATES: tuple[Life, ...] = get_args(Life)
"""All states, the most severe first."""

NEARLY = 0.95
"""Share from which on nearly all is meant."""


def state_of(met: float | None, constant: float, pull: float | None) -> Life:
    """The state of a criterion.

    Args:
        met: see above.
        constant: see above; of groups in which at least two have the score.
        pull: see above.
    """
    if met is not None and min(met, constant) >= NEARLY:
        return "saturated"
    if constant == 1:
        return "unexplored" if met == 0 else "dead"
    return "suppressed" if pull is not None and pull < 0 else "alive"


def undivided(names: Iterable[str]) -> list[str]:
    """The names that are criteria: those without parts `{name}/{part}` among the others."""
    found = list(names)
    whole = {each[:n] for each in found for n, letter in enumerate(each) if letter == "/"}
    return [name for name in found if name not in whole]
