"""Where a prompt is text, functions are handed texts; those that read messages go on doing so."""

from __future__ import annotations

import copy
import json
import pickle
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvpo.rewards.handed import HandedText, handed_completion, handed_prompt
from rvpo.rewards.reward import Reward
from rvpo.rewards.suite import RewardSuite
from rvpo.thinking import Thinking
from rvpo.types import Prompt, Rollout
from tests.fakes import make_prompt, make_sample

SAID = ["<think>2</think> 12", "four", "", "no 7"]


def of_text(content: str = "How many?", system: str | None = None) -> Prompt:
    prompt = replace(make_prompt(content=content), text=content)
    said = () if system is None else ({"role": "system", "content": system},)
    return replace(prompt, messages=(*said, *prompt.messages))


def scores(function: Callable[..., Any], prompt: Prompt) -> list[float]:
    samples = tuple(make_sample(prompt, text) for text in SAID)
    suite = RewardSuite([Reward("r", function, shown="everything")])
    return suite(Rollout(samples=samples, group_size=4)).rewards.values[:, 0].tolist()


def long(completions: Sequence[Any], **columns: Any) -> list[float]:
    return [float(len(completion)) for completion in completions]


def counted(completions: Sequence[Any], **columns: Any) -> list[float]:
    found = []
    for completion in completions:
        try:
            found.append(float(len(re.findall(r"\d", "<think>" + completion))))
        except Exception:
            found.append(0.0)
    return found


def echoed(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float]:
    return [float(len(p + c)) for p, c in zip(prompts, completions, strict=True)]


def spoken(completions: Sequence[Any], **columns: Any) -> list[float]:
    return [float(len(completion[0]["content"])) for completion in completions]


def last(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float]:
    return [
        float(len(p[-1]["content"]) + len(c[-1].get("content", "")))
        for p, c in zip(prompts, completions, strict=True)
    ]


def either(completions: Sequence[Any], **columns: Any) -> list[float]:
    texts = [c if isinstance(c, str) else c[0]["content"] for c in completions]
    return [float(len(text)) for text in texts]


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (long, [len(text) for text in SAID]),
        (counted, [3, 0, 0, 1]),
        (echoed, [len(text) + 9 for text in SAID]),
        (spoken, [len(text) for text in SAID]),
        (last, [len(text) + 9 for text in SAID]),
        (either, [len(text) for text in SAID]),
    ],
)
def test_texts_score_by_functions_of_both_of_trls_formats(function: Any, found: Any) -> None:
    assert scores(function, of_text()) == found
    assert scores(function, of_text(system="Count.")) == found


@pytest.mark.parametrize("function", [spoken, last, either])
def test_messages_are_handed_as_messages(function: Any) -> None:
    assert scores(function, make_prompt(content="How many?")) == scores(function, of_text())
    assert handed_prompt(make_prompt()) == [dict(make_prompt().messages[0])]
    assert handed_completion(make_sample(text="a"), "answer") == [
        {"role": "assistant", "content": "a"}
    ]


def shaped(completions: Sequence[Any], **columns: Any) -> list[float]:
    """As recipes have it whose prompt ends with the marker of a thought."""
    form = r"^<think>[^<]*</think>\n<answer>[^<]*</answer>$"
    return [float(re.search(form, "<think>" + c) is not None) for c in completions]


def test_a_function_sees_all_that_was_sampled_behind_a_prompt_that_stands_as_it_is() -> None:
    prompt = replace(of_text("<|im_start|>assistant\n<think>"), is_raw=True)
    said = "2 and 3</think>\n<answer>5</answer>"
    sample = replace(make_sample(prompt, said), parts=Thinking().split(said, "<think>"))

    def score(reward: Reward) -> float:
        rollout = Rollout(samples=(sample,), group_size=1)
        return float(RewardSuite([reward])(rollout).rewards.values.item())

    assert score(Reward("r", shaped)) == 1
    assert score(Reward("r", shaped, shown="answer")) == 0


@given(st.text(), st.integers(-5, 5), st.integers(-5, 5))
def test_a_handed_text_is_that_text(text: str, start: int, end: int) -> None:
    handed = handed_completion(make_sample(of_text(), text), "everything")
    assert handed == text
    assert hash(handed) == hash(text)
    assert isinstance(handed, str)
    assert str(handed) == text
    assert f"{handed}" == text
    assert list(handed) == list(text)
    assert handed[start:end] == text[start:end]
    assert [handed[place] for place in range(len(text))] == list(text)
    assert json.loads(json.dumps(handed)) == text
    assert re.sub("a", "b", handed) == re.sub("a", "b", text)
    assert dict(handed[0]) == {"role": "assistant", "content": text}
    for same in (copy.deepcopy(handed), pickle.loads(pickle.dumps(handed))):
        assert same == text
        assert same[0]["content"] == text


def test_a_text_without_messages_is_a_text() -> None:
    with pytest.raises(IndexError):
        HandedText("")[0]
    assert HandedText("ab")[1] == "b"


def test_what_a_function_does_to_messages_harms_no_other() -> None:
    prompt = make_prompt()
    handed_prompt(prompt)[0]["content"] = "mine"
    text = of_text()
    handed_prompt(text)[0].message["content"] = "mine"
    assert prompt == make_prompt()
    assert handed_prompt(text)[0]["content"] == "How many?"
