"""The life of a criterion: each state is a proposition about scores and advantages."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rvpo.advantage.state import STATES, Life, state_of, undivided
from rvpo.rewards.criteria import criteria_metrics
from rvpo.runtime.ranks import Ranks
from rvpo.satisfied import Satisfied
from rvpo.trainer.metrics import step_metrics
from rvpo.types import Advantages, Rewards, RolloutScores
from tests.fakes import make_rollout, with_columns

share = st.one_of(st.sampled_from([0.0, 0.5, 0.95, 1.0]), st.floats(0, 1))
pull = st.one_of(st.none(), st.sampled_from([0.0, -0.0]), st.floats(-1, 1))


def told(scored: RolloutScores, advantages: list[float], ranks: Ranks) -> dict[str, float]:
    """The numbers of a step that has these advantages, as of an estimator of somebody else's."""
    values = torch.tensor(advantages)
    found = Advantages(
        values=values,
        trained=torch.ones(len(values), dtype=torch.bool),
        z=torch.zeros_like(scored.rewards.values),
        metrics={},
    )
    rollout = make_rollout(len(values) // 4, 4)
    return step_metrics(0, rollout, scored, found, ranks)


def states(metrics: dict[str, float]) -> dict[str, float]:
    found = {
        name.removeprefix("criteria/"): x for name, x in metrics.items() if "criteria/" in name
    }
    return {name.removesuffix("_frac"): x for name, x in found.items() if x}


UP = [1.0, 0.0, 0.0, -1.0] * 2
"""Advantages of two groups of four."""


@pytest.mark.parametrize(
    ("scores", "state"),
    [
        ([1, 0, 0, 0, 1, 1, 0, 0], "alive"),  # what meets it gets more
        ([0, 0, 0, 1, 0, 0, 1, 1], "suppressed"),  # what meets it gets less
        ([0] * 8, "unexplored"),
        ([0.5] * 8, "unexplored"),  # as near to it as its siblings, and met by none
        ([1] * 8, "saturated"),
        ([1] * 4 + [0] * 4, "dead"),  # the prompt decides, and not the sample
    ],
)
def test_a_state_is_what_scores_and_advantages_say(
    scores: list[float], state: Life, ranks: Ranks
) -> None:
    scored = with_columns(Rewards(torch.tensor(scores)[:, None].float(), ["a"], 4))
    assert states(told(scored, UP, ranks)) == {state: 1.0}


@pytest.mark.parametrize(
    ("declared", "scores", "state"),
    [
        (Satisfied(0, 1.5), [2.0] * 8, "saturated"),
        (Satisfied(0, 1.5), [1.2] * 8, "unexplored"),
        (
            Satisfied(0, 1.5),
            [1.2, 1.0, 0.7, 0.2] * 2,
            "alive",
        ),  # none meets it, and some come nearer
        (None, [2.0] * 8, "dead"),  # nobody says what is good enough
    ],
)
def test_a_declaration_says_what_meets_a_criterion(
    declared: Satisfied | None, scores: list[float], state: Life, ranks: Ranks
) -> None:
    values = torch.tensor(scores)[:, None]
    scored = with_columns(Rewards(values, ["a"], 4, satisfied=[declared]))
    metrics = told(scored, UP, ranks)
    assert states(metrics) == {state: 1.0}
    assert ("rewards/a/met_frac" in metrics) == (declared is not None)


def test_the_shares_of_the_states_are_over_weighted_criteria_without_parts(ranks: Ranks) -> None:
    values = torch.tensor([[1.0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 1, 1]]).repeat(2, 1)
    rewards = Rewards(
        values, ["care/a", "care/b", "c", "d"], 4, weights=torch.tensor([1.0, 1, 1, 0]).expand(8, 4)
    )
    whole = torch.tensor([True, True, False, False]).expand(8, 4)
    scored = RolloutScores(rewards=rewards, aspects={"care": whole, **rewards.columns})
    thirds = dict.fromkeys(("alive", "unexplored", "saturated"), pytest.approx(1 / 3))
    assert states(told(scored, UP, ranks)) == thirds


def test_where_no_group_compares_there_is_no_state(ranks: Ranks) -> None:
    valid = torch.tensor([[True], [False], [False], [False]] * 2)
    scored = with_columns(Rewards(torch.ones(8, 1), ["a"], 4, valid=valid))
    assert states(told(scored, UP, ranks)) == {}


def test_criteria_that_were_spared_count(ranks: Ranks) -> None:
    """Nobody asked about them, since they told no samples apart for long."""
    valid = torch.tensor([[True], [True], [False], [False]] * 2)
    rewards = Rewards(torch.ones(8, 1), ["a"], 4, weights=torch.zeros(8, 1), valid=valid)
    spared = {(row, 0): 1.0 for row in range(8)}
    scored = RolloutScores(rewards=rewards, aspects=rewards.columns, spared=spared)
    assert states(told(scored, UP, ranks)) == {"saturated": 1.0}
    assert told(scored, UP, ranks)["rewards/a/met_frac"] == 1.0


@given(st.one_of(st.none(), share), share, pull)
def test_the_states_part_the_criteria(
    met: float | None, constant: float, pull: float | None
) -> None:
    """Each proposition by itself, and one of them holds."""
    nearly = met is not None and met >= 0.95 and constant >= 0.95
    flat = constant == 1 and not nearly
    below = pull is not None and pull < 0
    holds = {
        "saturated": nearly,
        "unexplored": flat and met == 0,
        "dead": flat and met != 0,
        "suppressed": constant < 1 and not nearly and below,
        "alive": constant < 1 and not nearly and not below,
    }
    assert [state for state, true in holds.items() if true] == [state_of(met, constant, pull)]
    assert set(holds) == set(STATES)


@given(
    st.lists(st.tuples(st.one_of(st.none(), share), share, pull), min_size=1, max_size=6),
)
def test_the_shares_add_up_to_one(numbers: list[tuple[float | None, float, float | None]]) -> None:
    names = [f"r{n}" for n in range(len(numbers))]
    scored = with_columns(Rewards(torch.zeros(2, len(names)), names, 2))
    metrics: dict[str, float] = {}
    for name, (met, constant, moved) in zip(names, numbers, strict=True):
        metrics[f"rewards/{name}/zero_std_frac"] = constant
        if met is not None:
            metrics[f"rewards/{name}/met_frac"] = met
        if moved is not None:
            metrics[f"advantage/pull/{name}"] = moved
    assert sum(criteria_metrics(scored, metrics).values()) == pytest.approx(1)


def test_what_has_parts_is_no_criterion() -> None:
    assert undivided(["a", "b", "b/c", "b/c/d", "bc"]) == ["a", "b/c/d", "bc"]
