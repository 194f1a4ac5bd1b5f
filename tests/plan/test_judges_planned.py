"""A plan looks at every judge: what it is asked, costs and takes, and whether it answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rvpo.config.run import RunConfig
from rvpo.plan.device import Devices, device_findings
from rvpo.plan.disk import verdict_bytes
from rvpo.plan.judging import endpoint_findings, load, load_findings
from rvpo.plan.length import length_findings
from rvpo.plan.machine import Finding, examine
from rvpo.plan.shape import ModelShape, published_shape
from rvpo.rewards.rubric import RubricReward
from rvpo.rewards.suite import RewardSuite
from rvpo.types import Prompt
from tests.configs import tiny_config
from tests.fakes import make_prompt
from tests.plan.judge_server import judge_server

MACHINE = examine()
GIB = 2**30
PRICES = {"input_price": 1.0, "output_price": 10.0}
PROMPTS = [make_prompt(f"p{number}") for number in range(3)]


def asked(url: str = "http://127.0.0.1:9/v1", **settings: Any) -> dict[str, Any]:
    return {"model": "m", "endpoints": [{"url": url, **PRICES}], **settings}


def rubric(count: int, **settings: Any) -> dict[str, Any]:
    criteria = {f"c{number}": f"Names number {number} of {count}." for number in range(count)}
    return {"rubric": "channels", "criteria": criteria, **settings}


def run_of(judges: Mapping[str, Any], **sections: Any) -> RunConfig:
    rewards = {"easy": rubric(2), "hard": rubric(3, judge="gold")}
    return tiny_config(
        Path("m"), judge=asked(), judges=judges, **({"rewards": rewards, "steps": 10} | sections)
    )


def rubrics(config: RunConfig) -> list[RubricReward]:
    suite = RewardSuite.from_config(config.rewards, config.every_judge)
    return [reward for reward in suite.rewards if isinstance(reward, RubricReward)]


def said(config: RunConfig, name: str, held_out: int = 0) -> dict[str, str]:
    loaded = load(config, rubrics(config), PROMPTS, name)
    return {f.part: f.found for f in load_findings(config, loaded, held_out, name)}


def test_each_judge_is_asked_for_its_own_rewards() -> None:
    config = run_of({"gold": asked()})
    assert said(config, "judge")["judge calls"] == "16 a step, 2.0 a sample; 160 in all"
    assert said(config, "gold")["judges.gold calls"] == "24 a step, 3.0 a sample; 240 in all"


def test_the_judge_of_held_out_prompts_is_asked_for_all_and_the_others_for_none() -> None:
    config = run_of({"gold": asked()}, evaluate={"judge": "gold", "every": 5})
    assert "held out" not in said(config, "judge", held_out=3)["judge calls"]
    # 3 prompts, 4 samples, 5 criteria, after 0, 5 and 10 steps
    assert said(config, "gold", held_out=3)["judges.gold calls"] == (
        "24 a step, 3.0 a sample; 420 in all, 180 of them held out"
    )


def test_a_gold_judge_is_asked_where_it_looks_for_what_others_give() -> None:
    def held_out(name: str, **evaluate: Any) -> str:
        prompts = {"function": "tests.toy:letters", "arguments": {"count": 3}}
        judges = {"gold": asked(), "third": asked()}
        config = run_of(judges, evaluate=evaluate, data={"held_out": prompts})
        found = said(config, name, held_out=3)
        return next(text for part, text in found.items() if part.endswith(" calls"))

    # 3 prompts, 4 samples; scored after 0, 5 and 10 steps, and for the watch after 4 and 8 too
    every = {"every": 5, "gold": {"judge": "gold", "every": 4}}
    assert held_out("judge", **every).endswith(f"{3 * 4 * 5 * 2} of them held out")
    # its own three criteria each time, the two of the other judge where it looks: 0, 4, 8, 10
    assert held_out("gold", **every).endswith(f"{3 * 4 * (5 * 3 + 4 * 2)} of them held out")
    third = {"every": 5, "judge": "third", "gold": {"judge": "gold"}}
    assert held_out("third", **third).endswith(f"{3 * 4 * 3 * 5} of them held out")
    assert held_out("judge", **third).endswith(f"{3 * 4 * 3 * 2} of them held out")
    assert held_out("gold", **third).endswith(f"{3 * 4 * 3 * 2} of them held out")


def test_each_judge_costs_by_its_own_prices_and_budget() -> None:
    dear = {"url": "http://127.0.0.1:9/v1", "input_price": 100.0, "output_price": 1000.0}
    budget = {"dollars": 0.01}
    config = run_of({"gold": {"model": "g", "endpoints": [dear], "budget": budget}})
    assert "budget" not in said(config, "judge")["judge cost"]
    cost = said(config, "gold")["judges.gold cost"]
    assert cost.endswith("more than the $0.01 of judges.gold.budget.dollars, at which the run ends")


def test_each_judge_is_asked_a_question_under_its_own_name() -> None:
    with judge_server('{"reason": "It is.", "met": true}') as (url, requests):
        config = run_of({"gold": asked(url)})
        (finding,) = endpoint_findings(config, None, "gold")
    assert (finding.part, finding.state, len(requests)) == ("judges.gold", "ok", 1)
    (down,) = endpoint_findings(config, None)
    assert (down.part, down.state) == ("judge", "missing")
    with judge_server("", 404) as (url, _):
        (unknown,) = endpoint_findings(run_of({"gold": asked(url)}), None, "gold")
    assert unknown.remedy.startswith("see that judges.gold.model is a name this endpoint knows")


def test_room_is_looked_for_in_each_judge_that_is_served() -> None:
    small = {"serve": {"model": "some/model", "max_context_tokens": 600}}
    config = run_of({"gold": small})
    (finding,) = length_findings(config, rubrics(config), PROMPTS)
    assert finding.part == "judges.gold context"
    assert finding.remedy.startswith("judges.gold.serve.max_context_tokens=")


def test_verdicts_of_all_judges_take_disk_where_they_are_kept() -> None:
    config = run_of({"gold": asked(cache=None)})
    loads = {name: load(config, rubrics(config), PROMPTS, name) for name in ("judge", "gold")}
    assert verdict_bytes(config, loads) == 440 * 2 * 8 * 10


def planned(gpus: int, cheap: dict[str, Any], gold: dict[str, Any]) -> dict[str, Finding]:
    """Findings about two training processes with two judges of 7B, by part."""
    config = tiny_config(
        Path("m"),
        distributed={"processes": 2},
        judges={
            "cheap": {"serve": {"model": "c", **cheap}},
            "gold": {"serve": {"model": "g", **gold}},
        },
        rollout={"engine": {"name": "vllm"}, "max_completion_tokens": 64},
    )
    judge, policy = shape("Qwen2.5-7B"), shape("Qwen2.5-1.5B")
    devices = Devices.of(config, MACHINE, gpus, 79.0)
    sizes = {"cheap": judge, "gold": judge}
    found = device_findings(config, policy, sizes, 100, devices, MACHINE)
    return {each.part.strip(): each for each in found}


def shape(name: str) -> ModelShape:
    found = published_shape(name)
    assert found is not None
    return found


def gib(finding: Finding) -> float:
    return float(finding.found.split()[0])


def test_judges_that_share_take_their_shares_together() -> None:
    both = planned(2, {"gpu_memory": 0.25}, {"gpu_memory": 0.3})
    assert gib(both["judge"]) == round(0.55 * 79, 1)
    one = planned(4, {"gpu_memory": 0.25}, {"devices": [2], "gpu_memory": 0.9})
    assert gib(one["judge"]) == round(0.25 * 79, 1)
    # Each is a process with a context of its own.
    assert gib(both["contexts"]) - gib(one["contexts"]) == pytest.approx(0.75, abs=0.1)
    assert planned(2, {"gpu_memory": 0.5}, {"gpu_memory": 0.5})["start peak"].state == "missing"


def test_a_judge_that_does_not_fit_is_named() -> None:
    found = planned(4, {"devices": [2], "gpu_memory": 0.9}, {"devices": [3], "gpu_memory": 0.1})
    assert "served judges.cheap" not in found
    assert found["served judges.gold"].remedy.startswith("raise judges.gold.serve.gpu_memory")


def test_on_cpus_every_served_judge_takes_memory() -> None:
    judge = shape("Qwen2.5-1.5B")
    config = tiny_config(
        Path("m"), judges={n: {"serve": {"model": n, "cpu_kv_cache_gib": 4}} for n in "ab"}
    )
    devices = Devices(gpus=0, memory=64.0 * GIB, given=False)
    taken = []
    for sizes in ({}, {"a": judge}, {"a": judge, "b": judge}):
        found = device_findings(config, judge, sizes, 100, devices, MACHINE)
        taken.append(float(found[0].found.removeprefix("about ").split()[0]))
    each = 2 * judge.parameters / GIB + 4
    assert [round(taken[1] - taken[0], 1), round(taken[2] - taken[0], 1)] == [
        round(each, 1),
        round(2 * each, 1),
    ]


def test_prompts_that_bring_criteria_count_for_the_judge_that_is_asked() -> None:
    rows = [{"text": f"Names {number}."} for number in range(4)]
    prompt: Prompt = make_prompt("p", rubric=rows)
    config = run_of({"gold": asked()}, rewards={"r": {"rubric": "channels", "judge": "gold"}})
    assert load(config, rubrics(config), [prompt], "gold").calls == 4
    assert load(config, rubrics(config), [prompt], "judge").calls == 0


def test_criteria_that_share_a_call_are_fewer_calls_and_as_many_verdicts() -> None:
    alone, together = (
        run_of({"gold": asked(criteria_per_call=most)}, rewards={"r": rubric(7, judge="gold")})
        for most in (1, 3)
    )
    one, several = (load(c, rubrics(c), PROMPTS, "gold") for c in (alone, together))
    assert (one.calls, several.calls) == (7, 3)
    assert one.calls * one.verdicts == pytest.approx(several.calls * several.verdicts) == 7
    assert several.calls * several.input_tokens < 0.7 * one.calls * one.input_tokens
    said_of = {f.part: f.found for f in load_findings(together, several, 0, "gold")}
    assert said_of["judges.gold calls"] == (
        "24 a step, 3.0 a sample with 2.3 criteria each; 240 in all"
    )
    loads = [verdict_bytes(c, {"gold": each}) for c, each in ((alone, one), (together, several))]
    assert loads == [pytest.approx(440 * 7 * 8 * 10)] * 2
