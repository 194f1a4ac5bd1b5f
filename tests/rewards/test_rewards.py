"""The suite calls reward functions as TRL does, and believes nothing that is not a score."""

import asyncio
import math
import re
import statistics
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from rvpo.config.rewards import FunctionRewardConfig
from rvpo.errors import ConfigError, RewardError
from rvpo.rewards.completion import text_of
from rvpo.rewards.metrics import reward_metrics
from rvpo.rewards.reward import Reward
from rvpo.rewards.suite import RewardSuite
from rvpo.satisfied import Satisfied
from rvpo.types import RUN_ARGUMENTS, Failed, Rewards, Rollout, RolloutScores
from tests.fakes import make_prompt, make_sample, make_scores, with_columns


def a_rollout() -> Rollout:
    """Two prompts, the first with a column `answer`, the second with a column `hint`."""
    first, second = make_prompt("sum/0", "1 + 1?", answer=2), make_prompt("sum/1", hint="add")
    samples = [make_sample(first, "a"), make_sample(first, ""), make_sample(second, "b")] * 2
    samples = [samples[0], samples[1], samples[2], samples[5]]
    return Rollout(samples=tuple(samples), group_size=2)


def returning(scores: Any) -> Callable[..., Any]:
    def function(prompts: Any, completions: Any, completion_ids: Any, **columns: Any) -> Any:
        return scores

    return function


def score(*functions: Callable[..., Any], **arguments: Any) -> RolloutScores:
    suite = RewardSuite([Reward(f"r{i}", f, 1.0, arguments) for i, f in enumerate(functions)])
    return suite(a_rollout())


def length(completions: Any, **columns: Any) -> list[float]:
    return [len(text_of(completion)) for completion in completions]


def test_functions_are_called_as_trl_calls_them() -> None:
    calls: list[dict[str, Any]] = []

    def function(prompts: Any, completions: Any, completion_ids: Any, **columns: Any) -> list[int]:
        assert [columns.pop(name) is not None for name in RUN_ARGUMENTS] == [True] * 3
        calls.append({"prompts": prompts, "completions": completions, **columns})
        calls[-1]["completion_ids"] = completion_ids
        return [0, 1, 0, 1]

    score(function)
    assert calls == [
        {
            "prompts": [[{"role": "user", "content": "1 + 1?"}]] * 2
            + [[{"role": "user", "content": "What is 1 + 2?"}]] * 2,
            "completions": [
                [{"role": "assistant", "content": text}] for text in ("a", "", "b", "b")
            ],
            "completion_ids": [[97], [], [98], [98]],
            "answer": [2, 2, None, None],
            "hint": [None, None, "add", "add"],
        }
    ]


def test_columns_of_the_matrix_follow_the_rewards_in_order() -> None:
    scored = RewardSuite(
        [Reward("late", returning([1, 2, 3, 4]), 0.5), Reward("early", returning([5, 6, 7, 8]), 0)]
    )(a_rollout())
    assert scored.rewards.names == ("late", "early")
    assert scored.rewards.group_size == 2
    assert scored.rewards.values.tolist() == [[1, 5], [2, 6], [3, 7], [4, 8]]
    assert scored.rewards.weights[0].tolist() == [0.5, 0]
    assert bool(scored.rewards.valid.all())
    assert scored.rewards.values.dtype == torch.float32


def test_missing_score_is_never_a_zero() -> None:
    scored = score(returning([None, Failed("timed out"), 1.0, None]))
    assert scored.rewards.valid[:, 0].tolist() == [False, False, True, False]
    assert scored.failures == {(1, 0): "timed out"}


@pytest.mark.parametrize("scores", [[True, False, True, True], (1, 0, 1, 1), np.ones(4).tolist()])
def test_every_kind_of_number_is_a_score(scores: Any) -> None:
    assert score(returning(scores)).rewards.values[0].item() == 1.0


@pytest.mark.parametrize(
    "scores",
    [
        [np.float32(0.5), np.int64(1), np.float64(0), np.float16(1)],
        [torch.tensor(0.5), np.bool_(True), np.array(0), torch.tensor(True)],
        [Decimal("0.5"), Fraction(1), False, torch.tensor(1.0, dtype=torch.bfloat16)],
        np.array([0.5, 1, 0, 1]),
        torch.tensor([0.5, 1, 0, 1], requires_grad=True),
        deque([0.5, 1, 0, 1]),
    ],
)
def test_numbers_of_every_library_are_scores(scores: Any) -> None:
    assert score(returning(scores)).rewards.values[:, 0].tolist() == [0.5, 1, 0, 1]


def test_scores_may_be_generated() -> None:
    def lengths(completions: Any, **columns: Any) -> Any:
        return (len(text_of(completion)) for completion in completions)

    def failing(completions: Any, **columns: Any) -> Any:
        return (1 / len(text_of(completion)) for completion in completions)

    assert score(lengths).rewards.values[:, 0].tolist() == [1, 0, 1, 1]
    with pytest.raises(RewardError, match=r"reward 'r0' failed .* ZeroDivisionError"):
        score(failing)


@pytest.mark.parametrize(
    "nan",
    [
        *(math.nan, np.float32("nan"), torch.tensor(math.nan), Decimal("NaN"), Decimal("sNaN")),
        *(np.ma.masked, np.ma.masked_all(())),
    ],
)
def test_nan_does_not_apply_as_in_trl(nan: Any) -> None:
    scored = score(returning([1, nan, 1, 1]))
    assert scored.rewards.valid[:, 0].tolist() == [True, False, True, True]
    assert not scored.failures


def test_what_a_mask_hides_does_not_apply() -> None:
    scored = score(returning(np.ma.array([1.0, 0.5, 1.0, 0.0], mask=[False, True, False, True])))
    assert scored.rewards.valid[:, 0].tolist() == [True, False, True, False]
    assert scored.rewards.values[[0, 2], 0].tolist() == [1.0, 1.0]


class Unwilling(float):
    """A number that will not be read, nor shown."""

    def __float__(self) -> float:
        raise ZeroDivisionError

    def __repr__(self) -> str:
        raise ZeroDivisionError


class Speechless(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


class Hidden:
    def __repr__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Unwilling(), "with a value of type Unwilling that is not to be read (ZeroDivisionError)"),
        (torch.ones((), device="meta"), "with a value of type Tensor that is not to be read"),
        (Hidden(), "with a Hidden that cannot be shown of type Hidden"),
        (np.timedelta64(1), "of type timedelta64; a score is a number"),
        (np.datetime64("2020-01-01"), "of type datetime64; a score is a number"),
    ],
    ids=["number", "meta", "hidden", "span", "date"],  # not all of them can be shown
)
def test_a_value_that_will_not_be_read_is_one_sentence(value: Any, message: str) -> None:
    with pytest.raises(RewardError) as error:
        score(returning([1, value, 1, 1]))
    assert message in str(error.value)


def test_a_sync_wrapper_around_an_async_reward_is_named() -> None:
    async def later(**columns: Any) -> list[float]:
        return [1.0] * 4

    with pytest.raises(RewardError, match="returned a coroutine; write async def"):
        score(lambda **columns: later(**columns))


def test_an_error_without_words_is_named_by_its_type() -> None:
    def failing(**columns: Any) -> list[float]:
        raise Speechless

    with pytest.raises(RewardError, match="Speechless: a Speechless that cannot be shown"):
        score(failing)


def test_empty_completion_and_empty_rollout_are_scored() -> None:
    assert score(length).rewards.values[:, 0].tolist() == [1, 0, 1, 1]
    nothing = RewardSuite([Reward("length", length)])(Rollout(samples=(), group_size=2))
    assert nothing.rewards.values.shape == (0, 1)


def test_arguments_are_passed_on() -> None:
    def longer(completions: Any, than: int, **columns: Any) -> list[bool]:
        return [len(text_of(completion)) > than for completion in completions]

    assert score(longer, than=0).rewards.values[:, 0].tolist() == [1, 0, 1, 1]


def test_async_functions_run_together_after_the_sync_ones() -> None:
    order: list[str] = []
    both_started = asyncio.Event()

    async def waits(**columns: Any) -> list[float]:
        order.append("waits")
        await both_started.wait()
        return [1.0] * 4

    async def releases(**columns: Any) -> list[float]:
        order.append("releases")
        both_started.set()
        return [2.0] * 4

    def sync(**columns: Any) -> list[float]:
        order.append("sync")
        return [3.0] * 4

    assert score(waits, releases, sync).rewards.values[0].tolist() == [1, 2, 3]
    assert order == ["sync", "waits", "releases"]


def test_object_with_an_async_call_is_awaited() -> None:
    class Judge:
        async def __call__(self, **columns: Any) -> list[float]:
            return [1.0] * 4

    assert score(Judge()).rewards.values[:, 0].tolist() == [1] * 4


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([1, 2], "reward 'r0' returned 2 scores for 4 completions (first prompt sum/0)"),
        ([], "returned 0 scores"),
        (None, "returned a value of type NoneType"),
        (0.5, "returned a value of type float"),
        ("1111", "returned a value of type str"),
        (torch.ones(4, 1), "returned a value of type Tensor"),
        (np.float64(1), "returned a value of type float64"),
        ({1, 2, 3, 4}, "returned a value of type set"),
        ({"a": 1, "b": 1, "c": 1, "d": 1}, "returned a value of type dict"),
        ([1, math.inf, 1, 1], "scored a completion of prompt sum/0 with a number beyond every"),
        ([1, 1, 10**400, 1], "scored a completion of prompt sum/1 with a number beyond every"),
        ([1, 1, -(10**6000), 1], "scored a completion of prompt sum/1 with a number beyond every"),
        ([1, 1, Fraction(10**400), 1], "with a number beyond every float"),
        ([1, 1, Decimal("1e9999"), 1], "with a number beyond every float"),
        ([1, 1, -1e19, 1], "with -1e+19; scores lie between -1e+18 and 1e+18"),
        ([1, 1, np.array([1.0]), 1], "with array([1.]) of type ndarray"),
        ([1, 1, np.str_("1"), 1], "of type str"),
        ([1, 1, "1", 1], "completion of prompt sum/1 with '1' of type str"),
        ([[1], 1, 1, 1], "with [1] of type list"),
        ([1j, 1, 1, 1], "with 1j of type complex"),
    ],
)
def test_what_is_no_score_is_refused_by_name(scores: Any, message: str) -> None:
    async def later(**columns: Any) -> Any:
        return scores

    for function in (returning(scores), later):
        with pytest.raises(RewardError) as error:
            score(function)
        assert message in str(error.value)


def test_raising_function_is_named_with_its_error() -> None:
    def raising(**columns: Any) -> list[float]:
        return [1 / 0]

    async def raising_later(**columns: Any) -> list[float]:
        return [1 / 0]

    for function in (raising, raising_later):
        with pytest.raises(RewardError) as error:
            score(function)
        assert re.fullmatch(
            r"reward 'r0' failed on a batch of 4 completions \(first prompt sum/0\): "
            r"ZeroDivisionError: division by zero \(test_rewards.py:\d+\)",
            str(error.value),
        )
        assert isinstance(error.value.__cause__, ZeroDivisionError)


def test_missing_column_is_named() -> None:
    def needs(completions: Any, anser: Any, **columns: Any) -> list[float]:
        return []

    with pytest.raises(RewardError, match=r"needs a column 'anser'.*did you mean 'answer'?"):
        RewardSuite([Reward("r", needs)]).fitted([make_prompt(answer=3)])


def test_argument_may_not_hide_a_column() -> None:
    def takes(answer: Any, **columns: Any) -> list[float]:
        return []

    with pytest.raises(RewardError, match="argument 'answer' is also a column"):
        score(takes, answer=3)


def no_completions(answer: Any) -> list[float]:
    return []


def positional(prompts: Any, /, **columns: Any) -> list[float]:
    return []


def with_limit(completions: Any, limit: int = 3, **columns: Any) -> list[float]:
    return []


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (no_completions, {}, "rewards.r.function: a reward function is called by keyword"),
        (positional, {}, "rewards.r.function: a reward function is called by keyword"),
        (with_limit, {"limt": 2}, "rewards.r.arguments.limt: .*did you mean 'limit'?"),
        (with_limit, {"zzz": 2}, r"rewards.r.arguments.zzz: .*it takes \['limit'\]"),
        (with_limit, {"completions": 2}, "arguments.completions: is filled in for every batch"),
    ],
)
def test_function_that_cannot_be_called_is_refused_at_once(
    function: Callable[..., Any], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Reward("r", function, 1.0, arguments)


def test_suite_needs_distinct_rewards() -> None:
    with pytest.raises(ConfigError, match="there is none"):
        RewardSuite([])
    with pytest.raises(ConfigError, match="names must differ"):
        RewardSuite([Reward("r", length), Reward("r", length)])


def test_suite_is_built_from_settings() -> None:
    suite = RewardSuite.from_config(
        {
            "brief": FunctionRewardConfig(
                function="rvpo.rewards.arithmetic:brief", weight=2, arguments={"max_words": 0}
            )
        }
    )
    scored = suite(a_rollout())
    assert scored.rewards.names == ("brief",)
    assert scored.rewards.values[:, 0].tolist() == [0, 0, 0, 0]
    assert scored.rewards.weights[0, 0] == 2
    with pytest.raises(ConfigError, match=r"rewards.r.function: rvpo.rewards.arithmetic has no"):
        RewardSuite.from_config(
            {"r": FunctionRewardConfig(function="rvpo.rewards.arithmetic:breif")}
        )


def test_text_of_plain_and_chat_completions() -> None:
    turns = [{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert [text_of("x"), text_of(""), text_of([]), text_of(turns)] == ["x", "", "", "b"]


def test_metrics_follow_their_definitions() -> None:
    scored = make_scores(
        [[1.0, 0.5], [0.0, None], [1.0, 1.0], [1.0, None]], failures={(1, 1): "timed out"}
    )
    assert reward_metrics(scored) == pytest.approx(
        {
            "rewards/correct/mean": 0.75,
            "rewards/correct/std": 0.5,
            "rewards/correct/group_std": math.sqrt(0.5) / 2,
            "rewards/correct/missing_frac": 0,
            "rewards/correct/failed_frac": 0,
            "rewards/correct/met_frac": 0.75,
            "rewards/correct/zero_std_frac": 0.5,
            "rewards/brief/met_frac": 0.5,
            "rewards/brief/mean": 0.75,
            "rewards/brief/std": math.sqrt(0.125),
            "rewards/brief/missing_frac": 0.5,
            "rewards/brief/failed_frac": 0.25,
            "reward": (1.5 + 0 + 2 + 1) / 4,
            "reward_std": statistics.stdev([1.5, 0, 2, 1]),
            "reward_group_std": (1.5 + 1) / math.sqrt(2) / 2,
            "frac_reward_zero_std": 0,
            "rewards_joint/satisfied_all_frac": 2 / 3,  # the failed row is not known
            "rewards_joint/worst_mean": (0.5 + 1 + 1) / 3,
        }
    )


def test_weights_enter_the_sum_and_not_the_single_rewards() -> None:
    rewards = Rewards(
        torch.tensor([[1.0, 5.0], [0.0, 5.0]]), ["a", "logged"], 2, weights=torch.tensor([3.0, 0.0])
    )
    metrics = reward_metrics(with_columns(rewards))
    assert metrics["rewards/a/mean"] == 0.5
    assert metrics["rewards/logged/mean"] == 5
    assert metrics["reward"] == 1.5
    assert metrics["rewards_joint/satisfied_all_frac"] == 0.5


def test_almost_satisfied_is_not_satisfied_and_equal_sums_have_no_spread() -> None:
    metrics = reward_metrics(make_scores([[1.0, 0.75], [0.75, 1.0], [1.0, 1.0], [1.0, 0.0]]))
    assert metrics["rewards_joint/satisfied_all_frac"] == 0.25
    assert metrics["frac_reward_zero_std"] == 0.5


def test_satisfaction_is_left_out_for_other_scales() -> None:
    assert "rewards_joint/satisfied_all_frac" not in reward_metrics(
        make_scores([[3.0, 1.0], [1.0, 1.0]])
    )


def test_satisfaction_reads_what_rewards_declare() -> None:
    values = torch.tensor([[3.0, 1.0], [2.0, 1.0], [0.0, 0.5], [-3.0, 1.0]])
    declared = [Satisfied(bad=-1, good=3), None]
    metrics = reward_metrics(with_columns(Rewards(values, ["a", "b"], 2, satisfied=declared)))
    assert metrics["rewards_joint/satisfied_all_frac"] == 0.25
    assert metrics["rewards_joint/worst_mean"] == (1 + 0.75 + 0.25 + 0) / 4


@pytest.mark.parametrize("rows", [[[None, None]] * 4, [[1.0, None], [None, None]] * 2, []])
def test_no_metric_is_ever_nan(rows: list[list[float | None]]) -> None:
    values = torch.tensor([[x or 0.0 for x in row] for row in rows]).reshape(len(rows), 2)
    valid = torch.tensor([[x is not None for x in row] for row in rows], dtype=torch.bool)
    metrics = reward_metrics(
        with_columns(Rewards(values, ["a", "b"], 2, valid=valid.reshape(len(rows), 2)))
    )
    assert all(math.isfinite(value) for value in metrics.values())
    assert "rewards/b/mean" not in metrics
