"""Supports as engines tell them, and the words in which vLLM is asked for them."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rvpo.config.rollout import RolloutConfig
from rvpo.errors import EngineError
from rvpo.rollout.supports import MOST_LIKELY, MOST_TOLD, told, told_supports
from rvpo.rollout.vllm.request import request_words, told_logprobs
from rvpo.sampling import Sampling

NOTHING = st.sampled_from([-9999.0, -1e9, -math.inf])
places = st.lists(
    st.tuples(st.lists(st.integers(1, 99), min_size=1, max_size=5), st.lists(NOTHING, max_size=4)),
    min_size=1,
    max_size=4,
)


def place_of(parts: list[int], nothing: list[float]) -> tuple[list[int], list[float]]:
    """A drawn token and then the likeliest ones, it among them, and some that have nothing."""
    logprobs = sorted((math.log(each / sum(parts)) for each in parts), reverse=True)
    ids = list(range(10, 10 + len(parts)))
    return [ids[-1], *ids, *range(len(nothing))], [logprobs[-1], *logprobs, *nothing]


@given(places)
def test_a_support_holds_each_token_once_that_has_a_probability(given_places: Any) -> None:
    told_places = [place_of(*each) for each in given_places]
    ids, counts = told_supports(told_places)
    assert list(counts) == [len(parts) for parts, _ in given_places]
    start = 0
    for (parts, _), count in zip(given_places, counts, strict=True):
        assert sorted(ids[start : start + count]) == list(range(10, 10 + len(parts)))
        start += count


def test_probabilities_that_are_not_all_of_what_could_be_drawn_are_an_error() -> None:
    with pytest.raises(EngineError, match=r"of 2 tokens that could be drawn, which are 0\.75"):
        told_supports([([1, 2], [math.log(0.5), math.log(0.25)])])


@given(st.integers(1, MOST_LIKELY), st.integers(2, 2**17))
def test_more_is_asked_for_than_the_limit_and_never_more_than_there_is(k: int, v: int) -> None:
    assert min(k, v) <= told(k, v) <= min(MOST_TOLD, v)
    assert told(k, v) > k or told(k, v) == v


def test_flat_log_probabilities_are_read_as_tables_are() -> None:
    flat = SimpleNamespace(
        start_indices=[0, 3],
        end_indices=[3, 5],
        token_ids=[7, 8, 7, 5, 5],
        logprobs=[math.log(0.25), math.log(0.75), math.log(0.25), 0.0, 0.0],
    )
    logprobs, supports = told_logprobs([7, 5], flat)
    assert logprobs == [math.log(0.25), 0.0]
    assert supports is not None
    assert [list(each) for each in supports] == [[7, 8, 5], [2, 1]]
    table = [{7: SimpleNamespace(logprob=-0.5)}]
    assert told_logprobs([7], table) == ([-0.5], None)


def test_vllm_is_asked_for_everything_in_its_own_words() -> None:
    words = request_words(
        Sampling(
            temperature=0.5,
            max_completion_tokens=3,
            stop=("a", "b"),
            structured={"json_schema": {"type": "object"}},
        )
    )
    assert words["stop"] == ["a", "b"]
    assert words["detokenize"] is True
    assert words["structured_outputs"] == {"json": {"type": "object"}}
    words = request_words(
        Sampling(temperature=0.5, max_completion_tokens=3, structured={"choice": ("yes", "no")})
    )
    assert words["structured_outputs"] == {"choice": ["yes", "no"]}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"repetition_penalty": 1.1}, "repetition_penalty: training compares"),
        ({"presence_penalty": 0.5}, "presence_penalty: training compares"),
        ({"frequency_penalty": -0.5}, "frequency_penalty: training compares"),
        ({"top_p": 0.9}, "top_p: in training vLLM has to tell"),
        ({"min_p": 0.1}, "min_p: in training vLLM has to tell"),
        ({"structured": {"regex": "a+"}}, "structured: in training vLLM has to tell"),
        ({"top_k": MOST_LIKELY + 1}, f"top_k: {MOST_LIKELY + 1} is more than {MOST_LIKELY}"),
        (
            {"structured": {"regex": "a+"}, "engine": {"name": "transformers"}},
            "structured: transformers' own `generate` knows no grammars",
        ),
        ({"structured": {}}, "give one of regex, json_schema and choice, got none"),
        ({"structured": {"regex": "("}}, r"regex: '\(' is no pattern"),
        ({"structured": {"regex": "a", "choice": "b"}}, "got regex and choice"),
        ({"stop": []}, "stop"),
        ({"stop": [""]}, "stop"),
        ({"top_p": 0.0}, "top_p"),
        ({"min_p": 1.0}, "min_p"),
        ({"top_k": -2}, "top_k"),
    ],
)
def test_training_refuses_what_would_part_its_log_probabilities_from_those_of_sampling(
    settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValidationError, match=sentence):
        RolloutConfig.model_validate(settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"top_p": 0.9, "top_k": 50},
        {"top_p": 0.9, "engine": {"name": "transformers"}},
        {"structured": {"choice": ["a", "b"]}, "top_k": 50},
        {"stop": "\n\n"},
        {"top_k": -1},
        {"structured": {"json": {"type": "object"}}, "top_k": 9},
        {"repetition_penalty": 1.0, "presence_penalty": 0, "top_p": 1.0, "top_k": 0},
    ],
)
def test_training_takes_limits_whose_supports_are_known(settings: dict[str, Any]) -> None:
    RolloutConfig.model_validate(settings)
