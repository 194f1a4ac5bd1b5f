"""Lengths of thoughts and answers, in tokens: of samples, as metrics, and for rewards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.benchmarks.gpqa.gpqa import GpqaConfig
from rvpo.evaluate.measure import measure
from rvpo.evaluate.results import ResultFolder
from rvpo.report.metrics import entry_of
from rvpo.rewards.length import soft_overlong
from rvpo.rewards.reward import Reward
from rvpo.rewards.suite import RewardSuite
from rvpo.rollout.encoder import Encoder
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.metrics import completion_metrics
from rvpo.types import Rollout, Sample
from tests.benchmarks.test_gpqa import file as gpqa_file
from tests.fakes import make_rollout, make_sample
from tests.test_thinking import OPENS, Says, make_encoder, sampled

LENGTHS = (
    "completions/thought_mean_length",
    "completions/answer_mean_length",
    "completions/unanswered_ratio",
)


@pytest.fixture(scope="module")
def encoder(tiny_model: Path) -> Encoder:
    """One token for each byte, and for each marker."""
    return make_encoder(tiny_model)


@pytest.fixture(scope="module")
def opening(tiny_model: Path) -> Encoder:
    """The same with a template that begins a thought."""
    return make_encoder(tiny_model, OPENS)


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("<think>So.</think>Sleep.", 5, 6),
        ("<think>So.</think>\n\nSleep.", 7, 6),
        ("<think></think>Sleep.", 2, 6),
        ("Sleep.", 0, 6),
        (" Sleep.", 0, 7),
        ("<think>So.", 4, 0),
        ("<think>", 1, 0),
        ("", 0, 0),
    ],
)
def test_every_token_is_of_the_thought_or_of_the_answer(
    text: str, thought: int, answer: int, encoder: Encoder
) -> None:
    cut = replace(sampled(encoder, text), finish_reason="length")
    assert (cut.thought_length, cut.answer_length) == (thought, answer)
    whole = sampled(encoder, f"{text}</s>")
    ends_answer = text == "" or answer > 0
    assert whole.thought_length == thought + (not ends_answer)
    assert whole.answer_length == answer + ends_answer


@given(
    thought=st.text("ab. \n", max_size=9),
    answer=st.text("ab. ", max_size=9),
    opened=st.booleans(),
    closed=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_the_two_lengths_add_up(
    thought: str, answer: str, opened: bool, closed: bool, encoder: Encoder, opening: Encoder
) -> None:
    begin, end = "" if opened else "<think>", "</think>" if closed else ""
    sample = sampled(opening if opened else encoder, f"{begin}{thought}{end}{answer}")
    assert sample.thought_length + sample.answer_length == len(sample.completion_ids)
    assert sample.thought_length >= 0
    if not closed:
        assert sample.answer_length == 0


def test_a_step_tells_both_lengths_once_there_are_thoughts(encoder: Encoder, ranks: Ranks) -> None:
    plain = completion_metrics(0, make_rollout(), ranks)
    assert not set(LENGTHS) & set(plain)
    texts = ("<think>So.</think>Sleep.", "Sleep.", "<think>", "<think>So.")
    samples = tuple(replace(sampled(encoder, t), finish_reason="length") for t in texts)
    found = completion_metrics(0, Rollout(samples=samples, group_size=2), ranks)
    assert [found[name] for name in LENGTHS] == [(5 + 0 + 1 + 4) / 4, (6 + 6) / 4, 2 / 4]
    assert "completions/thought_ended_ratio" not in found
    ended = (replace(samples[0], given=(4,)), *samples[1:])
    found = completion_metrics(0, Rollout(samples=ended, group_size=2), ranks)
    assert found["completions/thought_ended_ratio"] == 1 / 4
    assert all(entry_of(name) for name in found)


def test_a_benchmark_tells_both_lengths(tmp_path: Path, ranks: Ranks) -> None:
    gpqa = GpqaConfig.model_validate({"path": str(gpqa_file(tmp_path)), "repeats": 1}).read(print)

    def scores(text: str, folder: str) -> dict[str, float]:
        results = ResultFolder(tmp_path / folder)
        engine: Any = Says(text)
        summary = measure(gpqa, engine, results, ranks, weights={}, seed=0, say=lambda text: None)
        return summary.metrics

    plain, thinks = scores("Answer: C", "plain"), scores("<think>A?", "thinks")
    assert not any("thought" in name for name in plain)
    assert thinks["completions/thought_mean_length"] == len("<think>A?")
    assert thinks["completions/answer_mean_length"] == 0


def thought_and_answer(
    completions: Any, thought_tokens: Sequence[int], answer_tokens: Sequence[int], **columns: Any
) -> list[float]:
    return [t * 100 + a for t, a in zip(thought_tokens, answer_tokens, strict=True)]


def scored(reward: Reward, *samples: Sample) -> list[float]:
    found = RewardSuite([reward])(Rollout(samples=samples, group_size=1)).rewards.values
    return [value for (value,) in found.tolist()]


def test_a_reward_that_names_a_length_is_given_it(encoder: Encoder) -> None:
    cut = replace(sampled(encoder, "<think>So.</think>Sleep."), finish_reason="length")
    assert scored(Reward("both", thought_and_answer), cut, make_sample(text="ab")) == [506, 2]

    def sees(**given: Any) -> list[float]:
        assert "thought_tokens" not in given
        return [0.0] * len(given["completions"])

    scored(Reward("plain", sees), cut)


def test_a_column_or_an_argument_of_that_name_comes_first() -> None:
    with_column = make_sample(replace(make_sample().prompt, columns={"answer_tokens": 7}), "ab")
    assert scored(Reward("both", thought_and_answer), with_column) == [7]
    own = Reward("both", thought_and_answer, arguments={"thought_tokens": [4]})
    assert scored(own, make_sample(text="ab")) == [402]


@pytest.mark.parametrize(
    ("of", "scores"),
    [("completion", [-1.0, 0.0]), ("thought", [-0.5, 0.0]), ("answer", [-0.25, 0.0])],
)
def test_the_length_of_a_part_is_punished_alone(
    of: str, scores: list[float], encoder: Encoder
) -> None:
    long = replace(sampled(encoder, "<think>Soon.</think>Sleep."), finish_reason="length")
    arguments = {"longest": 9, "margin": 4, "of": of}
    reward = Reward("brief", soft_overlong, arguments=arguments)
    assert scored(reward, long, make_sample(text="ab")) == scores


def test_a_part_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="of must be one of completion, thought, answer"):
        soft_overlong([[1]], longest=9, margin=4, of="thoughts")  # type: ignore[arg-type]


def test_where_nobody_has_counted_the_text_is_shared_out() -> None:
    """An engine of others may split nothing and count nothing."""
    sample = make_sample(text="<think>a</think>b")
    assert (sample.thought_length, sample.answer_length) == (16, 1)
    assert make_sample(text="ab").answer_length == 2
