"""A judge with a budget of dollars is asked as long as there is money, and then no more."""

from __future__ import annotations

import asyncio
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rvpo.config.classifier import ClassifierConfig
from rvpo.config.judge import AskedConfig, JudgeConfig
from rvpo.judge.hint import hint
from rvpo.judge.spending import SPENT, UNNOTED, Spending
from rvpo.judge.types import Answer
from rvpo.judge.worker.asker import Asker
from tests.judge.server import FakeEndpoint, Script, completion, verdict
from tests.judge.worker.test_asker import config, job, says

CALL = 0.001
"""Dollars of a call: 100 tokens in at 8 a million, and 20 out at 10."""
PRICED = {"input_price": 8.0, "output_price": 10.0}


def ask(judge: JudgeConfig, spending: Spending, *numbers: int) -> list[Answer]:
    async def run() -> list[Answer]:
        async with Asker(judge, spending=spending) as asker:
            return list(chain.from_iterable(await asyncio.gather(asker.answer(job(*numbers)))))

    return asyncio.run(run())


def limited(url: str, dollars: float | None, concurrency: int = 1) -> JudgeConfig:
    endpoint = {**PRICED, "concurrency": concurrency}
    return config(url, endpoint=endpoint, budget={"dollars": dollars})


@settings(max_examples=8)
@given(calls=st.integers(1, 12), concurrency=st.integers(1, 4), before=st.integers(0, 13))
def test_no_call_begins_once_the_money_is_spent(
    calls: int,
    concurrency: int,
    before: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("spent") / "judge"
    other = Spending(path, 0)
    other.add(before * CALL)
    other.close()
    with FakeEndpoint() as endpoint:
        judge = limited(endpoint.url, (calls - 0.5) * CALL, concurrency)
        answers = ask(judge, Spending(path, 1), *range(20))
    asked = len(endpoint.seen.arrivals)
    left = max(0, calls - before)
    assert left <= asked <= max(0, left + concurrency - 1) if left else asked == 0
    assert Spending(path, 0).total() == pytest.approx((before + asked) * CALL)
    assert [answer.failure for answer in answers if answer.value is None] == [SPENT] * (20 - asked)


def test_what_waits_for_a_pace_is_told_at_once(tmp_path: Path) -> None:
    with FakeEndpoint() as endpoint:
        judge = limited(endpoint.url, CALL)
        slow = judge.endpoints[0].model_copy(update={"requests_per_minute": 1})
        judge = judge.model_copy(update={"endpoints": (slow,)})
        answers = ask(judge, Spending(tmp_path / "judge", 1), *range(500))  # of 500 minutes
    assert sum(answer.failure == SPENT for answer in answers) == 499


def test_without_a_budget_it_is_only_counted(tmp_path: Path) -> None:
    with FakeEndpoint() as endpoint:
        answers = ask(limited(endpoint.url, None), Spending(tmp_path / "judge", 1), *range(5))
    assert all(answer.failure is None for answer in answers)
    assert Spending(tmp_path / "judge", 0).total() == pytest.approx(5 * CALL)


def counted(usage: Any) -> Script:
    reply = {**completion(verdict(True)), "usage": usage}
    return lambda body: web.json_response(reply)


def test_a_reply_that_counts_nothing_is_not_free(tmp_path: Path) -> None:
    with FakeEndpoint(script=counted(None)) as endpoint:
        answers = ask(limited(endpoint.url, 0.01), Spending(tmp_path / "judge", 1), *range(40))
    assert 0 < sum(answer.value is not None for answer in answers) < 40


@pytest.mark.parametrize(
    ("usage", "least"),
    [
        (None, 0.0004),
        ({}, 0.0004),
        ({"prompt_tokens": 0, "completion_tokens": 0}, 0.0004),
        ({"completion_tokens": 20}, 0.0002 + 0.0004),
        ({"prompt_tokens": 100}, 0.0008 + 0.00001),
        ({"prompt_tokens": 100, "completion_tokens": 20}, CALL),
    ],
)
def test_what_the_server_does_not_count_costs_the_same_in_the_books_and_in_the_metrics(
    usage: Any, least: float, tmp_path: Path
) -> None:
    with FakeEndpoint(script=counted(usage)) as endpoint:
        (answer,) = ask(limited(endpoint.url, None), Spending(tmp_path / "judge", 1), 1)
    assert answer.usage.cost >= least
    assert Spending(tmp_path / "judge", 0).total() == pytest.approx(answer.usage.cost)
    told = usage or {}
    assert answer.usage.input_tokens == told.get("prompt_tokens", 0)
    assert answer.usage.output_tokens == told.get("completion_tokens", 0)


def refusing(**message: Any) -> dict[str, Any]:
    whole = completion(None)
    return {**whole, "choices": [{"message": message, "finish_reason": "stop"}]}


UNUSABLE: dict[str, tuple[Any, int]] = {
    "refused": (refusing(content=None, refusal="I cannot."), 200),
    "filtered": (completion("", "content_filter"), 200),
    "moderated": ({**completion(verdict(True)), "flagged": True}, 200),
    "failed": (completion("", "error"), 200),
    "error beside it": ({**completion(verdict(True)), "error": {"message": "No."}}, 200),
    "no choice": ({**completion(""), "choices": []}, 200),
    "two choices": ({**completion(""), "choices": 2 * completion("")["choices"]}, 200),
    "no message": ({**completion(""), "choices": [{}]}, 200),
    "empty": (completion(""), 200),
    "unreadable": (completion("Hm."), 200),
    "cut": (completion('{"met": t', "length"), 200),
    "refused by its status": ({**completion(""), "error": {"message": "Moderated."}}, 400),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_a_reply_of_no_use_is_paid_and_counted(kind: str, tmp_path: Path) -> None:
    reply, status = UNUSABLE[kind]
    script: Script = lambda body: web.json_response(reply, status=status)  # noqa: E731
    with FakeEndpoint(script=script) as endpoint:
        judge = limited(endpoint.url, None).model_copy(update={"attempts": 2})
        (answer,) = ask(judge, Spending(tmp_path / "judge", 1), 1)
    asked = len(endpoint.seen.arrivals)
    assert answer.value is None
    assert asked >= 1
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (100 * asked, 20 * asked)
    assert answer.usage.cost == pytest.approx(asked * CALL)
    assert Spending(tmp_path / "judge", 0).total() == pytest.approx(asked * CALL)


def test_refusals_spend_the_money_like_answers(tmp_path: Path) -> None:
    reply, _ = UNUSABLE["refused"]
    with FakeEndpoint(script=lambda body: web.json_response(reply)) as endpoint:
        ask(limited(endpoint.url, 9.5 * CALL), Spending(tmp_path / "judge", 1), *range(20))
    assert len(endpoint.seen.arrivals) == 10


def test_an_error_that_counts_nothing_costs_nothing(tmp_path: Path) -> None:
    script: Script = lambda body: web.json_response({"error": "No."}, status=400)  # noqa: E731
    with FakeEndpoint(script=script) as endpoint:
        (answer,) = ask(limited(endpoint.url, None), Spending(tmp_path / "judge", 1), 1)
    assert answer.usage.cost == Spending(tmp_path / "judge", 0).total() == 0


def test_replies_that_cannot_be_read_are_paid_too(tmp_path: Path) -> None:
    with FakeEndpoint(script=lambda body: says("Hm.")) as endpoint:
        ask(limited(endpoint.url, None), Spending(tmp_path / "judge", 1), 1)
    paid = Spending(tmp_path / "judge", 0).total()
    assert paid == pytest.approx(len(endpoint.seen.arrivals) * CALL)
    assert len(endpoint.seen.arrivals) > 1


def test_a_verdict_whose_cost_cannot_be_noted_is_missing(tmp_path: Path) -> None:
    (tmp_path / "spent").symlink_to(tmp_path / "gone" / "elsewhere")
    with FakeEndpoint() as endpoint:
        (answer,) = ask(limited(endpoint.url, 1.0), Spending(tmp_path / "spent" / "judge", 1), 1)
    assert (answer.value, answer.failure) == (None, UNNOTED)
    assert "can be written" in hint(UNNOTED, "")


@pytest.mark.parametrize("price", list(PRICED))
def test_a_budget_needs_the_price_of_every_call(price: str) -> None:
    prices = {name: value for name, value in PRICED.items() if name != price}
    with pytest.raises(
        ValidationError, match=rf"budget\.dollars: 5 cannot be kept .*add {price}, .*endpoints\[1\]"
    ):
        JudgeConfig.model_validate(
            {
                "model": "m",
                "endpoints": [{"url": "http://a/v1", **PRICED}, {"url": "http://b/v1", **prices}],
                "budget": {"dollars": 5},
            }
        )


def test_a_judge_that_is_served_costs_no_dollars() -> None:
    with pytest.raises(ValidationError, match=r"budget\.dollars: 5 is for endpoints that cost"):
        JudgeConfig.model_validate({"serve": "m", "budget": {"dollars": 5}})


@pytest.mark.parametrize("config", [JudgeConfig, ClassifierConfig])
def test_a_budget_is_refused_where_nothing_can_be_spent(config: type[AskedConfig]) -> None:
    free = {"url": "http://a/v1", "input_price": 0, "output_price": 0}
    judge = {"model": "m", "endpoints": [free, free], "budget": {"dollars": 5}}
    with pytest.raises(ValidationError, match=r"budget\.dollars: 5 .* all prices here are 0"):
        config.model_validate(judge)
    paid = {**free, "input_price": 1}
    assert config.model_validate({**judge, "endpoints": [free, paid]}).is_priced


def test_the_way_on_is_a_larger_budget_of_that_judge() -> None:
    assert hint(SPENT, "", "judges.gold") == "raise judges.gold.budget.dollars"
