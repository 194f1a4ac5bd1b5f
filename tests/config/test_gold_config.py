"""A watch that could see nothing, or a rule that could stop nothing, is refused before a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rvpo.commands.needs import asked_judges
from rvpo.config.diff import changed_settings
from rvpo.config.run import RunConfig
from tests.configs import tiny_config

HELD_OUT = {"held_out": {"function": "tests.toy:letters", "arguments": {"count": 3}}}
JUDGE = {"model": "m", "endpoints": [{"url": "http://127.0.0.1:9/v1"}]}
RUBRIC = {"rubric": "channels", "criteria": {"kind": "It is kind."}}


def watched(gold: Any, **sections: Any) -> RunConfig:
    usual = {
        "data": HELD_OUT,
        "judge": JUDGE,
        "judges": {"gold": JUDGE},
        "rewards": {"judged": RUBRIC},
        "evaluate": {"gold": gold, "every": 1},
        "steps": 10,
    }
    return tiny_config(Path("model"), **usual | sections)


def test_a_run_that_is_watched_asks_both_judges() -> None:
    config = watched({"judge": "gold", "stop": {"gap": 0.2}})
    assert list(asked_judges(config)) == ["judge", "gold"]
    assert config.evaluate.gold is not None
    assert config.evaluate.gold.stop is not None
    assert config.evaluate.gold.stop.times == 2


@pytest.mark.parametrize(
    ("gold", "sections", "message"),
    [
        (
            {"judge": "gild"},
            {},
            "evaluate.gold.judge: there is no judge 'gild'; did you mean 'gold'",
        ),
        ({"judge": "judge"}, {}, "every judged reward asks 'judge' already, which cannot watch"),
        ({"judge": "gold"}, {"data": {}}, "evaluate.gold: .*held-out prompts, and there are none"),
        (
            {"judge": "gold"},
            {"rewards": {"late": {"function": "tests.toy:late"}}},
            "evaluate.gold: no reward asks a judge",
        ),
        (
            {"judge": "gold"},
            {"judge": None, "judges": {}, "rewards": {"late": {"function": "tests.toy:late"}}},
            "evaluate.gold.judge: there are no judges; add judges: {gold:",
        ),
        ({"judge": "gold", "stop": {}}, {}, "names no limit, so that nothing would ever stop"),
        ({"judge": "gold", "stop": {"gap": 0}}, {}, "evaluate.gold.stop.gap"),
        ({"judge": "gold", "stop": {"gap": 1}}, {}, "gap: 1 is never exceeded"),
        ({"judge": "gold", "stop": {"gap": 0.2, "growth": 2}}, {}, "growth: 2 is never exceeded"),
        (
            {"judge": "gold", "stop": {"gap": 0.1, "times": 10}},
            {},
            "evaluate.gold.stop.times: 10 looks in a row cannot end the run, since there are 9",
        ),
        ({"judge": "gold", "every": 5, "stop": {"gap": 0.1}}, {}, "since there are 1 between"),
        (
            {"judge": "gold", "stop": {"gap": 0.1}},
            {"evaluate": {"gold": {"judge": "gold", "stop": {"gap": 0.1}}}},
            "since there are 0 .* make evaluate.gold.every smaller than steps and above 0",
        ),
        ({"judge": "gold", "stop": {"gap": 0.1, "times": 0}}, {}, "evaluate.gold.stop.times"),
        ({}, {}, "evaluate.gold.judge"),
    ],
)
def test_a_watch_that_sees_nothing_is_refused(
    gold: Any, sections: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message.replace(".", r"\.").replace(r"\.*", ".*")):
        watched(gold, **sections)


@pytest.mark.parametrize("best", ["eval/gold/rewards/judged/mean", "judge_gap/judged"])
def test_a_metric_of_the_watch_needs_one(best: str) -> None:
    checkpoint = {"best": best}
    watched({"judge": "gold"}, checkpoint=checkpoint)
    with pytest.raises(ValidationError, match="given by the watch alone, and there is none"):
        watched(None, checkpoint=checkpoint)


def test_a_judge_that_only_some_rewards_ask_can_watch_the_others() -> None:
    rewards = {"judged": RUBRIC, "strict": {**RUBRIC, "judge": "gold"}}
    assert watched({"judge": "gold"}, rewards=rewards).evaluate.gold is not None


def test_a_comparison_can_be_watched_too() -> None:
    rewards = {"better": {"compare": "Which response is kinder?"}}
    assert watched({"judge": "gold"}, rewards=rewards).evaluate.gold is not None


def test_a_resumed_run_may_look_more_often_and_have_another_rule_but_no_other_gold_judge() -> None:
    from rvpo.config.diff import MAY_CHANGE_ON_RESUME

    first = watched({"judge": "gold", "stop": {"gap": 0.2}})
    later = watched({"judge": "gold", "every": 3, "stop": {"growth": 0.1, "times": 1}})
    assert changed_settings(first, later, MAY_CHANGE_ON_RESUME) == []
    without = watched({"judge": "gold"})
    assert changed_settings(first, without, MAY_CHANGE_ON_RESUME) == []
    other = watched({"judge": "other"}, judges={"gold": JUDGE, "other": JUDGE})
    assert "evaluate.gold.judge" in changed_settings(first, other, MAY_CHANGE_ON_RESUME)
