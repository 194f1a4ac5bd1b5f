"""What can fail late is tried before anything is loaded, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import T5Config

from rvpo.errors import ConfigError, RewardError
from rvpo.rehearsal import rehearse_rewards, rehearse_saving
from rvpo.rewards.reward import Reward
from rvpo.rewards.suite import RewardSuite
from tests.configs import tiny_config
from tests.fakes import make_prompt
from tests.test_generation_defaults import UNSAVABLE
from tests.test_stops import changed, read


def rehearse(model: Path, function: Callable[..., Any]) -> None:
    suite = RewardSuite([Reward("mine", function)])
    prompts = [make_prompt(f"p/{i}", "2 + 2?", solution="4") for i in range(3)]
    encoder, _ = read(model)
    rehearse_rewards(tiny_config(model), suite, prompts, encoder)


def test_a_reward_meets_answers_of_the_shape_of_the_run(tiny_model: Path) -> None:
    calls: list[dict[str, Any]] = []

    def mine(**given: Any) -> list[float]:
        calls.append(given)
        return [0.0] * len(given["completions"])

    rehearse(tiny_model, mine)
    (given,) = calls
    texts = [completion[0]["content"] for completion in given["completions"]]
    assert len(texts) == len(given["completion_ids"]) == len(given["solution"]) >= 2 * 4
    assert "" in texts
    assert len(set(texts)) > 3
    assert all(given["completion_ids"])


def of_empty(completions: list[Any], **columns: Any) -> list[float]:
    return [float(ord(completion[0]["content"][0])) for completion in completions]


def of_ascii(completions: list[Any], **columns: Any) -> list[float]:
    return [float(len(completion[0]["content"].encode("ascii"))) for completion in completions]


def of_text(completions: list[Any], **columns: Any) -> list[float]:
    return [float(completion.strip() == "4") for completion in completions]


def of_infinity(completions: list[Any], **columns: Any) -> list[float]:
    return [
        1 / max(1, len(c[0]["content"])) or 0 if c[0]["content"] else 1e400 for c in completions
    ]


def of_words(completions: list[Any], **columns: Any) -> list[Any]:
    return ["good" for _ in completions]


def of_the_whole(completions: list[Any], **columns: Any) -> Any:
    return 1.0


@pytest.mark.parametrize(
    "function", [of_empty, of_ascii, of_text, of_infinity, of_words, of_the_whole]
)
def test_a_reward_that_fails_on_some_answer_is_one_sentence(
    function: Callable[..., Any], tiny_model: Path
) -> None:
    with pytest.raises(RewardError, match=r"reward 'mine' .* in a rehearsal on invented answers"):
        rehearse(tiny_model, function)


@pytest.mark.parametrize("values", UNSAVABLE)
def test_what_cannot_be_saved_is_said_before_the_run(
    values: dict[str, Any], tiny_model: Path, tmp_path: Path
) -> None:
    folder = changed(tiny_model, tmp_path / "m", "generation_config.json", values)
    said: list[str] = []
    before = sorted(folder.iterdir())
    rehearse_saving(str(folder), read(folder)[0], False, said.append)
    assert "does not save this model's generation_config.json" in said[0]
    assert sorted(folder.iterdir()) == before


def test_a_model_that_is_no_causal_one_is_one_sentence(tiny_model: Path, tmp_path: Path) -> None:
    T5Config(d_model=8, num_layers=1).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="is a t5 model, and transformers has no causal"):
        rehearse_saving(str(tmp_path), read(tiny_model)[0], False, print)


def test_a_rehearsal_is_as_small_for_the_largest_step(tiny_model: Path) -> None:
    calls: list[int] = []

    def mine(completions: list[Any], **columns: Any) -> list[float]:
        calls.append(len(completions))
        return [0.0] * len(completions)

    largest = {"prompts_per_step": 10**15, "samples_per_prompt": 10**15}
    suite = RewardSuite([Reward("mine", mine)])
    prompts = [make_prompt(f"p/{i}", "2 + 2?", solution="4") for i in range(3)]
    rehearse_rewards(tiny_config(tiny_model, rollout=largest), suite, prompts, read(tiny_model)[0])
    assert calls[0] < 1000
