"""A function written for TRL gets what TRL gives it, and may log what TRL lets it log."""

import asyncio
import json
import math
import re
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rvpo.config.rewards import FunctionRewardConfig
from rvpo.errors import ConfigError, RewardError
from rvpo.report.record import sample_rows
from rvpo.rewards.completion import text_of
from rvpo.rewards.reward import Reward
from rvpo.rewards.suite import RewardSuite
from rvpo.rewards.trainer_state import TrainerState
from rvpo.runtime.own_code import line_of
from rvpo.runtime.ranks import Ranks
from rvpo.types import RUN_ARGUMENTS, STANDARD_ARGUMENTS, Rollout, RolloutScores
from tests.fakes import make_prompt, make_record, make_sample, on_each_rank

KEY = "sk-0123456789abcdef"
HERE = "tests.rewards.test_trl_contract"


def a_rollout() -> Rollout:
    """Two answers to one question with the columns `answer` and `hint`."""
    prompt = make_prompt("sum/0", answer=3, hint="add")
    return Rollout(samples=(make_sample(prompt, "3"), make_sample(prompt, "four")), group_size=2)


def score(*functions: Callable[..., Any], updates: int = 0) -> RolloutScores:
    suite = RewardSuite([Reward(f"r{n}", function) for n, function in enumerate(functions)])
    return suite.begin(updates=updates).collect(a_rollout())


def built(path: str, **arguments: Any) -> Reward:
    config = FunctionRewardConfig(function=f"{HERE}:{path}", arguments=arguments)
    (reward,) = RewardSuite.from_config({"r": config}).rewards
    assert isinstance(reward, Reward)
    return reward


GIVEN = (*STANDARD_ARGUMENTS, *RUN_ARGUMENTS, "answer", "hint")


@given(
    st.lists(st.sampled_from(GIVEN), unique=True).filter({*STANDARD_ARGUMENTS}.intersection),
    st.booleans(),
)
def test_a_function_gets_what_it_names_and_all_where_it_takes_all(
    names: list[str], takes_all: bool
) -> None:
    calls: list[dict[str, Any]] = []
    scope = {"calls": calls}
    signature = ", ".join([*names, *(["**columns"] if takes_all else [])])
    exec(f"def f({signature}): calls.append(dict(locals())); return [1.0, 0.0]", scope)
    values = score(scope["f"]).rewards.values  # type: ignore[arg-type]
    assert values.tolist() == [[1.0], [0.0]]
    (call,) = calls
    found = {*call, *call.get("columns", {})} - {"columns"}
    assert found == ({*GIVEN} if takes_all else {*names})


def test_the_state_of_training_goes_on_from_step_to_step() -> None:
    seen: list[TrainerState] = []

    def watching(completions: Any, trainer_state: Any, **columns: Any) -> list[float]:
        seen.append(trainer_state)
        return [float(trainer_state.global_step)] * len(completions)

    suite = RewardSuite([Reward("r", watching)]).in_run(10, 4, 16, is_main=False)
    scores = [suite.begin(updates=n).collect(a_rollout()).rewards.values[0, 0] for n in (0, 6)]
    assert scores == [0, 6]
    assert seen[1] == TrainerState(
        global_step=6, max_steps=10, epoch=1.5, num_train_epochs=3, is_world_process_zero=False
    )


def test_a_state_that_we_do_not_keep_is_named() -> None:
    def adapting(completions: Any, trainer_state: Any, **columns: Any) -> list[float]:
        return [trainer_state.log_history[-1]["reward"] for _ in completions]

    with pytest.raises(RewardError, match=r"has no 'log_history' here; it has global_step, max_st"):
        score(adapting)
    with pytest.raises(FrozenInstanceError):
        TrainerState().global_step = 3  # type: ignore[misc]
    assert getattr(TrainerState(), "log_history", None) is None


def test_a_column_with_the_name_of_an_argument_is_refused() -> None:
    reward = Reward("r", lambda completions, **columns: [])
    for name in RUN_ARGUMENTS:
        with pytest.raises(RewardError, match=f"has a column '{name}', a name that reward"):
            reward.check_columns([name])
        with pytest.raises(ConfigError, match=f"arguments.{name}: is filled in for every batch"):
            Reward("r", lambda log_metric, log_extra, trainer_state, **c: [], 1.0, {name: 1})


def test_logged_numbers_become_metrics_of_the_step() -> None:
    def logging(completions: Any, log_metric: Any, **columns: Any) -> list[float]:
        for completion in completions:
            log_metric("digits", text_of(completion).isdigit())
        log_metric("size", np.float32(0.5))
        log_metric("size", math.nan)
        log_metric("nothing", torch.tensor(math.inf))
        return [0.0] * len(completions)

    async def later(completions: Any, log_metric: Any, **columns: Any) -> list[float]:
        await asyncio.sleep(0)
        log_metric("size", Decimal("1.5"))
        return [0.0] * len(completions)

    assert score(logging, later).metrics == {"digits": 0.5, "size": 1.0}


def test_a_logged_number_is_a_mean_over_the_values_of_all_ranks() -> None:
    def on_rank(ranks: Ranks) -> RolloutScores:
        def logging(completions: Any, log_metric: Any, **columns: Any) -> list[float]:
            for _ in range(1 + 2 * ranks.rank):
                log_metric("rank", ranks.rank)
            if ranks.rank:
                log_metric("second", 7)
            return [0.0] * len(completions)

        return RewardSuite([Reward("r", logging)]).begin().collect(a_rollout(), ranks)

    for scored in on_each_rank(on_rank):
        assert isinstance(scored, RolloutScores)
        assert scored.metrics == {"rank": 0.75, "second": 7.0}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("reward", 1.0, "logged the metric 'reward', and a metric of that name is the run's own"),
        ("rewards/r0/mean", 1.0, "a metric of that name is the run's own; give another"),
        ("", 1.0, "logged the metric ''; its name must be a text"),
        (3, 1.0, "logged the metric 3; its name must be a text"),
        ("mine", "high", "logged the metric 'mine' with a value of type str; log a number"),
        ("mine", [1.0], "with a value of type list; log a number"),
        ("mine", torch.ones((), device="meta"), "with a value that is not to be read"),
    ],
    ids=["taken", "pattern", "empty", "number", "text", "list", "meta"],
)
def test_what_is_no_metric_is_named_though_the_function_catches_everything(
    name: Any, value: Any, message: str
) -> None:
    def logging(completions: Any, log_metric: Any, **columns: Any) -> list[float]:
        try:
            log_metric(name, value)
        except Exception:
            return [0.0] * len(completions)
        return [1.0] * len(completions)

    with pytest.raises(RewardError) as error:
        score(logging)
    assert message in str(error.value)


def test_extra_columns_stand_beside_the_samples() -> None:
    def logging(completions: Any, log_extra: Any, **columns: Any) -> list[float]:
        log_extra("text", [text_of(completion) for completion in completions])
        for completion in completions:
            log_extra("length", [np.int64(len(text_of(completion)))])
        log_extra("odd", np.array([math.nan, 1.0]))
        log_extra("parts", [{"a": (1, torch.ones(2))}, {1}])
        return [0.0] * len(completions)

    scored = score(logging, logging)
    rows = list(sample_rows(replace(make_record(1), rollout=a_rollout(), scored=scored)))
    columns = {"text": "four", "length": 4, "odd": 1, "parts": "{1}"}
    assert rows[1]["extras"] == {"r0": columns, "r1": columns}
    assert rows[0]["extras"]["r0"]["odd"] == "nan"
    assert rows[0]["extras"]["r0"]["parts"] == {"a": [1, [1.0, 1.0]]}
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert next(sample_rows(make_record(1)))["extras"] == {}


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("a", ["one"], "logged 1 values in the extra column 'a' for 2 completions"),
        ("a", "on", "logged 1 values in the extra column 'a' for 2 completions"),
        ("a", 3, "log one value for each"),
        (5, [1, 2], "in the extra column 5 for 2 completions; name a column by a text"),
    ],
)
def test_what_is_no_column_is_named(column: Any, values: Any, message: str) -> None:
    def logging(completions: Any, log_extra: Any, **columns: Any) -> list[float]:
        log_extra(column, values)
        return [0.0] * len(completions)

    with pytest.raises(RewardError) as error:
        score(logging)
    assert message in str(error.value)


# Makers of rewards, which settings name.


def longer_than(limit: int = 1) -> Callable[..., list[float]]:
    def longer(completions: Any, **columns: Any) -> list[float]:
        return [float(len(text_of(completion)) > limit) for completion in completions]

    return longer


class Counting:
    """Counts its calls, as an object that keeps something may."""

    def __init__(self, start: int = 0, **more: Any) -> None:
        self.calls = start + sum(more.values())

    def __call__(self, completions: Any, **columns: Any) -> list[float]:
        self.calls += 1
        return [float(self.calls)] * len(completions)


class Awaited:
    async def __call__(self, completions: Any, bonus: float = 0.0, **columns: Any) -> list[float]:
        await asyncio.sleep(0)
        return [bonus] * len(completions)


class Uncallable:
    pass


filled_in = partial(Awaited(), bonus=2.5)


def failing(key: str = "") -> Callable[..., Any]:
    return re.compile(f"({key}").search  # type: ignore[return-value]


def needing(limit: int, other: int) -> None: ...


def logs_its_key(key: str) -> Callable[..., Any]:
    def reward(completions: Any, log_extra: Any, **columns: Any) -> list[float]:
        log_extra("said", [f"denied for {key}"] * len(completions))
        if key.endswith("!"):
            raise ValueError(key)
        return [0.0] * len(completions)

    return reward


@pytest.mark.parametrize(
    ("path", "arguments", "scores"),
    [
        ("longer_than", {}, [0, 1]),
        ("longer_than", {"limit": 9}, [0, 0]),
        ("Counting", {}, [1, 1]),
        ("Counting", {"start": 4, "others": 2}, [7, 7]),
        ("Awaited", {}, [0, 0]),
        ("filled_in", {}, [2.5, 2.5]),
        ("filled_in", {"bonus": 4.0}, [4, 4]),
    ],
)
def test_a_factory_a_class_and_an_object_are_rewards(
    path: str, arguments: dict[str, Any], scores: list[float]
) -> None:
    suite = RewardSuite([built(path, **arguments)])
    assert suite(a_rollout()).rewards.values[:, 0].tolist() == scores
    suite.close()


def test_what_was_made_is_made_once() -> None:
    suite = RewardSuite([built("Counting")])
    assert [suite(a_rollout()).rewards.values[0, 0] for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("path", "arguments", "message"),
    [
        ("needing", {"limit": 1}, "rewards.r.function: needing makes a reward function, and needs "
         "other; write rewards.r.arguments={other: ...}"),
        ("longer_than", {"limt": 1}, "rewards.r.arguments.limt: .*did you mean 'limit'?"),
        ("needing", {"limit": 1, "other": 2}, "needing takes none of prompts, completions, "
         "completion_ids, so it was asked .* made a value of type NoneType; write f"),
        ("Uncallable", {}, "Uncallable takes none of .* made a value of type Uncallable"),
        ("failing", {}, r"failing failed: .*unterminated.* \(test_trl_contract.py:\d+\)"),
    ],
)  # fmt: skip
def test_a_maker_that_makes_nothing_is_one_sentence(
    path: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        built(path, **arguments)


def test_a_function_of_c_that_tells_nothing_is_refused() -> None:
    config = FunctionRewardConfig(function="builtins:max")
    with pytest.raises(ConfigError, match=r"rewards.r.function: Python does not tell what"):
        RewardSuite.from_config({"r": config})


def test_keys_of_a_maker_show_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKER_KEY", KEY)
    reward = built("logs_its_key", key={"variable": "MAKER_KEY"})
    assert KEY not in str(reward)
    logged = RewardSuite([reward])(a_rollout()).extras
    assert logged == {"r": {"said": ["denied for [key]"] * 2}}
    monkeypatch.setenv("MAKER_KEY", f"{KEY}!")
    with pytest.raises(RewardError, match=r"ValueError: \[key\] \(test_trl_contract.py:\d+\)"):
        RewardSuite([built("logs_its_key", key={"variable": "MAKER_KEY"})])(a_rollout())
    monkeypatch.setenv("MAKER_KEY", f"{KEY})(")
    with pytest.raises(ConfigError) as error:
        built("failing", key={"variable": "MAKER_KEY"})
    assert KEY not in str(error.value)


def test_the_line_to_mend_is_named_and_not_that_of_a_library() -> None:
    def in_re(completions: Any, **columns: Any) -> Any:
        return [re.search("(", str(completion)) for completion in completions]

    def in_json(completions: Any, **columns: Any) -> Any:
        return (json.loads(text_of(completion)) for completion in completions)

    def in_torch(completions: Any, **columns: Any) -> Any:
        return torch.stack([torch.ones(n) for n, _ in enumerate(completions)])

    def in_callback(completions: Any, **columns: Any) -> Any:
        return sorted(completions, key=lambda _: 1 / 0)

    for function in (in_re, in_json, in_torch, in_callback):
        line = function.__code__.co_firstlineno + 1
        with pytest.raises(RewardError, match=rf"\(test_trl_contract.py:{line}\)$"):
            score(function)


def test_a_call_that_does_not_fit_names_the_function() -> None:
    def outer(completions: Any, **columns: Any) -> Any: ...

    def inner() -> None: ...

    inner.__wrapped__ = outer  # type: ignore[attr-defined]  # a decorator that promises too much
    line = outer.__code__.co_firstlineno
    with pytest.raises(RewardError, match=rf"TypeError: .*\(test_trl_contract.py:{line}\)$"):
        score(inner)


def test_a_package_that_was_called_alone_is_named_by_its_own_line() -> None:
    with pytest.raises(np.linalg.LinAlgError) as raised:
        np.linalg.inv(np.zeros((2, 2)))
    error = raised.value
    assert re.fullmatch(r"test_trl_contract.py:\d+", line_of(error))
    assert error.__traceback__ is not None
    assert re.fullmatch(
        r"_linalg.py:\d+", line_of(error.with_traceback(error.__traceback__.tb_next))
    )
