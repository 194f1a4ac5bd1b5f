"""What the judge is asked, what it costs, and whether it answers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from rvpo.config.run import RunConfig
from rvpo.criterion import Criterion
from rvpo.plan.judging import endpoint_findings, load, load_findings
from rvpo.plan.length import length_findings
from rvpo.rewards.rubric import RubricReward
from rvpo.rewards.suite import RewardSuite
from rvpo.types import Prompt
from tests.configs import tiny_config
from tests.fakes import make_prompt
from tests.plan.judge_server import judge_server

MET = '{"reason": "It is.", "met": true}'
NOWHERE = "http://127.0.0.1:9/v1"


def judged(*endpoints: dict[str, Any], rubric: str = "channels", **judge: Any) -> RunConfig:
    settings = {"model": "fake", "endpoints": endpoints or [{"url": NOWHERE}]} | judge
    return tiny_config(
        Path("unused"), rewards={"rubric": {"rubric": rubric}}, judge=settings, steps=10
    )


def rubrics(config: RunConfig) -> list[RubricReward]:
    rewards = RewardSuite.from_config(config.rewards).rewards
    return [reward for reward in rewards if isinstance(reward, RubricReward)]


def prompts(*sizes: int) -> list[Prompt]:
    return [
        make_prompt(
            f"p{size}",
            rubric=[Criterion(text=f"Names number {i}.").to_row() for i in range(size)],
        )
        for size in sizes
    ]


def said(config: RunConfig, *sizes: int, held_out: int = 0) -> dict[str, str]:
    asked = load(config, rubrics(config), prompts(*sizes))
    return {f.part: f.found for f in load_findings(config, asked, held_out)}


def test_every_criterion_of_a_sample_is_a_call() -> None:
    # 2 prompts, 4 samples each, 10 steps; 3 held-out prompts with 4 samples, twice
    assert said(judged(), 5, 15, held_out=3)["judge calls"] == (
        "80 a step, 10.0 a sample; 1,040 in all, 240 of them held out"
    )


def test_verdicts_that_are_asked_for_again_are_calls_of_training_alone() -> None:
    again = judged(repeat={"times": 3, "share": 0.25})
    assert said(again, 5, 15, held_out=3)["judge calls"] == (
        "120 a step, 15.0 a sample; 1,440 in all, 240 of them held out"
    )


def test_criteria_that_share_a_call_are_one() -> None:
    together = judged(criteria_per_call="all")
    found = said(together, 5, 15, held_out=3)
    assert found["judge calls"] == (
        "8 a step, 1.0 a sample with 10.0 criteria each; 104 in all, 24 of them held out"
    )
    assert said(judged(criteria_per_call=4), 5, 15)["judge calls"] == (
        "24 a step, 3.0 a sample with 3.3 criteria each; 240 in all"
    )
    # 10 verdicts of 60 tokens each, and a label
    (tokens,) = re.findall(r"and ([\d,]+) out a step", found["judge tokens"])
    assert int(tokens.replace(",", "")) == 8 * 10 * 68
    asked = load(together, rubrics(together), prompts(5, 15))
    alone = load(judged(), rubrics(judged()), prompts(5, 15))
    assert asked.calls * asked.verdicts == alone.calls == 10
    assert asked.input_tokens < 2 * alone.input_tokens


def test_a_served_judge_needs_room_for_all_criteria_of_a_call() -> None:
    def needs(**settings: Any) -> list[str]:
        config = tiny_config(
            Path("unused"),
            rewards={"rubric": {"rubric": "channels"}},
            judge={"serve": {"model": "tiny", "max_context_tokens": 1100}, **settings},
        )
        return [finding.part for finding in length_findings(config, rubrics(config), prompts(12))]

    assert needs() == []
    assert needs(criteria_per_call="all") == ["judge context"]


def test_a_rating_by_the_whole_rubric_is_one_call() -> None:
    calls = said(judged(rubric="implicit"), 5, 15)["judge calls"]
    assert calls == "8 a step, 1.0 a sample; 80 in all"


def test_a_criterion_that_stands_twice_is_asked_once() -> None:
    (prompt,) = prompts(2)
    twice = make_prompt(rubric=[*prompt.columns["rubric"], *prompt.columns["rubric"]])
    config = judged()
    assert load(config, rubrics(config), [twice]).calls == 2


def test_longer_responses_and_reasons_take_more_tokens() -> None:
    short, long = (
        judged().model_copy(
            update={"rollout": judged().rollout.model_copy(update={"max_completion_tokens": n})}
        )
        for n in (100, 1100)
    )
    tokens = [load(c, rubrics(c), prompts(5)).input_tokens for c in (short, long)]
    assert tokens[1] - tokens[0] == 500
    brief = judged(reasons=False)
    assert (
        load(brief, rubrics(brief), prompts(5)).output_tokens
        < load(short, rubrics(short), prompts(5)).output_tokens
    )


def test_cost_is_tokens_times_prices() -> None:
    endpoint = {"url": NOWHERE, "input_price": 10.0, "output_price": 100.0}
    config = judged(endpoint)
    asked = load(config, rubrics(config), prompts(5))
    step = 2 * 4 * 5 * (asked.input_tokens * 10 + asked.output_tokens * 100) / 1e6
    assert said(config, 5)["judge cost"] == f"about ${step:.2f} a step, ${10 * step:.2f} in all"


def test_the_dearest_endpoint_is_counted() -> None:
    cheap, dear = (
        {"url": f"{NOWHERE}/{price}", "input_price": price, "output_price": 1}
        for price in (1.0, 1000.0)
    )
    found = said(judged(cheap, dear), 5)["judge cost"]
    assert found == said(judged(dear), 5)["judge cost"] + " at the dearest endpoint"


@pytest.mark.parametrize("price", ["input_price", "output_price"])
def test_an_unknown_price_is_said_to_be_unknown(price: str) -> None:
    config = judged({"url": NOWHERE, price: 1.0})
    assert said(config, 5)["judge cost"] == f"unknown: {NOWHERE} has no price"


def test_a_served_judge_costs_nothing() -> None:
    config = tiny_config(
        Path("unused"), rewards={"rubric": {"rubric": "channels"}}, judge={"serve": "some/model"}
    )
    assert said(config, 5)["judge cost"].startswith("none")


def test_a_judge_is_asked_one_real_question_in_the_runs_own_form() -> None:
    with judge_server(MET) as (url, requests):
        (finding,) = endpoint_findings(judged({"url": url}), None)
    assert finding.state == "ok"
    assert finding.found.startswith(f"fake at {url} answered in schema in ")
    ((_, body),) = requests
    assert body["model"] == "fake"
    assert body["response_format"]["type"] == "json_schema"


def test_how_long_a_step_of_calls_takes_is_told() -> None:
    with judge_server(MET) as (url, _):
        config = judged({"url": url, "concurrency": 1, "requests_per_minute": 60})
        asked = load(config, rubrics(config), prompts(5))
        (finding,) = endpoint_findings(config, asked)
    assert finding.found.endswith(
        "; a step's calls take 40 s or more, for its requests_per_minute of 60"
    )


def test_the_limit_that_allows_least_tells_how_long_a_step_takes() -> None:
    with judge_server(MET) as (url, _):
        limits = {"concurrency": 1, "requests_per_minute": 60, "tokens_per_minute": 600}
        config = judged({"url": url, **limits})
        asked = load(config, rubrics(config), prompts(5))
        (finding,) = endpoint_findings(config, asked)
    seconds = 60 * 40 * (asked.input_tokens + asked.output_tokens) / 600
    words = f"calls take {seconds:,.0f} s or more, for its tokens_per_minute of 600"
    assert finding.found.endswith(words)


def served(room: int, **judge: Any) -> RunConfig:
    return tiny_config(
        Path("unused"),
        rewards={"rubric": {"rubric": "channels"}},
        judge={"serve": {"model": "some/model", "max_context_tokens": room}, **judge},
    )


def test_a_question_that_a_served_judge_has_no_room_for_is_noted() -> None:
    config = served(700, max_tokens=512)
    (finding,) = length_findings(config, rubrics(config), prompts(2))
    assert (finding.part, finding.state) == ("judge context", "note")
    assert "room for 700" in finding.found
    needed = re.match(r"judge.serve.max_context_tokens=(\d+)", finding.remedy)
    assert needed is not None
    enough = served(int(needed[1]), max_tokens=512)
    assert not length_findings(enough, rubrics(enough), prompts(2))
    (row,) = prompts(1)
    long = make_prompt(rubric=[*row.columns["rubric"], Criterion(text="x" * 3999).to_row()])
    assert length_findings(enough, rubrics(enough), [row, long])
    assert not length_findings(judged(), rubrics(judged()), [row, long])


def test_a_criterion_that_is_a_whole_text_is_named() -> None:
    (row,) = prompts(1)
    long = make_prompt("p/7", rubric=[*row.columns["rubric"], Criterion(text="x" * 4001).to_row()])
    (finding,) = length_findings(judged(), rubrics(judged()), [row, long, long])
    assert finding.state == "note"
    assert finding.found == (
        "criterion 1 of prompt 'p/7' has 4,001 characters, and 1 more are as long"
    )


def test_a_judge_that_finds_two_and_two_not_to_be_four_is_noted() -> None:
    with judge_server('{"reason": "No.", "met": false}') as (url, _):
        (finding,) = endpoint_findings(judged({"url": url}), None)
    assert finding.state == "note"
    assert finding.found.endswith("but said that 2 + 2 is not 4")


@pytest.mark.parametrize(("content", "status"), [("I like it.", 200), (MET, 500)])
def test_a_judge_without_a_verdict_stops_the_run(content: str, status: int) -> None:
    with judge_server(content, status) as (url, _):
        (finding,) = endpoint_findings(judged({"url": url}), None)
    assert finding.state == "missing"
    assert url in finding.found
    assert "offers 'fake'" in finding.remedy


def test_what_the_judge_said_and_what_may_help_are_told() -> None:
    with judge_server(MET, 404) as (url, _):
        (finding,) = endpoint_findings(judged({"url": url}), None)
    assert finding.found.startswith(f"{url} gave no verdict: http 404, and said '")
    assert finding.remedy.startswith("see that judge.model is a name this endpoint knows")


def test_a_judge_that_is_down_stops_the_run_unless_another_takes_over() -> None:
    (finding,) = endpoint_findings(judged({"url": NOWHERE}), None)
    assert (finding.part, finding.state) == ("judge", "missing")
    with judge_server(MET) as (url, _):
        found = endpoint_findings(judged({"url": NOWHERE}, {"url": url}), None)
    assert [finding.state for finding in found] == ["note", "ok"]


def test_a_missing_key_is_named_and_a_given_one_is_shown_nowhere(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RVPO_TEST_KEY", raising=False)
    (finding,) = endpoint_findings(judged({"url": NOWHERE, "key_variable": "RVPO_TEST_KEY"}), None)
    assert finding.state == "missing"
    assert "RVPO_TEST_KEY" in finding.found
    assert finding.remedy == ""  # the sentence has its own
    monkeypatch.setenv("RVPO_TEST_KEY", "sk-0123456789abcdef")
    with judge_server(MET, 401) as (url, requests):
        (finding,) = endpoint_findings(judged({"url": url, "key_variable": "RVPO_TEST_KEY"}), None)
    assert requests[0][0]["Authorization"] == "Bearer sk-0123456789abcdef"
    assert finding.state == "missing"
    assert "0123456789" not in str(finding) + "".join(capfd.readouterr())
