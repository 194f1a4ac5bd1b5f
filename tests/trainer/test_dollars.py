"""A run ends before the step that its judges' budgets cannot pay for, on every rank alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rvpo.config.judge import JudgeConfig
from rvpo.errors import CheckpointError, RankError
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.dollars import Dollars, last_judged
from tests.fakes import on_each_rank


@dataclass
class Paid:
    """A judge that has cost so much."""

    dollars: float | None
    cost: float
    error: str = ""

    @property
    def config(self) -> JudgeConfig:
        endpoint = {"url": "http://127.0.0.1:1/v1", "input_price": 1.0, "output_price": 1.0}
        return JudgeConfig.model_validate(
            {"model": "m", "endpoints": [endpoint], "budget": {"dollars": self.dollars}}
        )

    def spent(self) -> float:
        if self.error:
            raise CheckpointError(self.error)
        return self.cost


MONEY = st.floats(0.01, 1e6)


@given(most=MONEY, spent=MONEY, next_one=MONEY)
def test_it_ends_where_another_step_would_pass_the_budget(
    most: float, spent: float, next_one: float
) -> None:
    dollars = Dollars({"gold": Paid(most, spent)}, ["gold"], Ranks.alone())
    sentence = dollars.over(3, {"judge/cost": next_one})
    assert (sentence is not None) == (spent + next_one > most or spent >= most)
    if sentence is not None:
        assert sentence.startswith("judges.gold.budget.dollars: the judge has cost $")
        assert "step 3 is done and saved: raise the budget" in sentence
        assert sentence.endswith("--resume judges.gold.budget.dollars=NUMBER")


def test_each_judge_has_the_cost_of_its_own_step() -> None:
    judges = {"judge": Paid(10, 8), "gold": Paid(100, 8)}
    dollars = Dollars(judges, ["judge", "gold"], Ranks.alone())
    metrics = {"judge/cost": 6.0, "judges/judge/cost": 1.0, "judges/gold/cost": 5.0}
    assert dollars.over(1, metrics) is None
    sentence = dollars.over(1, metrics | {"judges/judge/cost": 3.0})
    assert sentence is not None
    assert sentence.startswith("judge.budget.dollars: the judge has cost $8.00 of $10, and another")


def test_a_judge_that_trains_nothing_is_only_spent() -> None:
    judges = {"judge": Paid(None, 8), "gold": Paid(10, 9.5)}
    assert Dollars(judges, ["judge"], Ranks.alone()).over(1, {"judge/cost": 100.0}) is None
    judges["gold"].cost = 10
    assert Dollars(judges, ["judge"], Ranks.alone()).over(0, {}) == (
        "judges.gold.budget.dollars: the judge has cost $10.00 of $10; no step was begun: raise "
        "the budget, and go on with --resume judges.gold.budget.dollars=NUMBER"
    )


def test_a_run_that_goes_on_expects_the_cost_of_the_last_step_that_is_known() -> None:
    rows = [{"step": 1.0, "judge/cost": 1.0}, {"step": 2.0, "judge/cost": 3.0}, {"step": 3.0}]
    assert last_judged(rows) == rows[1]
    assert last_judged(rows[:1]) == rows[0]
    assert last_judged(rows[2:]) == last_judged([]) == {}
    dollars = Dollars({"judge": Paid(10, 8)}, ["judge"], Ranks.alone())
    assert dollars.over(3, last_judged(rows)) is not None
    assert dollars.over(1, last_judged(rows[:1])) is None


def test_all_ranks_end_alike_and_for_one_reason() -> None:
    def over(ranks: Ranks) -> Any:
        # What other ranks think of the cost does not count: they have no workers.
        mine = Paid(10, 11.0 if ranks.is_main else 0.0)
        return Dollars({"judge": mine}, ["judge"], ranks).over(2, {})

    main, other = on_each_rank(over)
    assert isinstance(main, str)
    assert main == other


def test_damaged_books_end_all_ranks() -> None:
    def over(ranks: Ranks) -> Any:
        return Dollars({"judge": Paid(10, 0, "it is damaged")}, ["judge"], ranks).over(2, {})

    main, other = on_each_rank(over)
    assert isinstance(main, CheckpointError)
    assert isinstance(other, RankError)
