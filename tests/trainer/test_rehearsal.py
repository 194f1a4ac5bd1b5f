"""What can fail late is tried before anything is loaded, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from transformers import T5Config

from rvpo.config.judge import EndpointConfig, JudgeConfig, RepeatConfig, ServeConfig
from rvpo.errors import ConfigError, RewardError
from rvpo.judge.client.client import JudgeClient
from rvpo.judge.client.probe import Counted
from rvpo.judge.client.workers import JudgeWorkers
from rvpo.judge.types import Job, Question, Usage
from rvpo.rewards.reward import Reward
from rvpo.rewards.suite import RewardSuite
from rvpo.runtime.port import hold_port
from rvpo.trainer.rehearsal import rehearse_judge, rehearse_rewards, rehearse_saving
from tests.configs import tiny_config
from tests.fakes import make_prompt
from tests.judge.server import FakeEndpoint, completion
from tests.rollout.test_generation_defaults import UNSAVABLE
from tests.rollout.test_stops import changed, read


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


def judge(*urls: str, **settings: Any) -> JudgeConfig:
    return JudgeConfig(
        model="judge", endpoints=tuple(EndpointConfig(url=url) for url in urls), **settings
    )


@pytest.mark.parametrize("status", [301, 400, 401, 402, 403, 404, 405, 410, 413, 422])
def test_a_judge_that_will_never_answer_stops_the_run(status: int) -> None:
    said: list[str] = []
    with (
        FakeEndpoint(script=lambda body: web.Response(status=status, text="so it is")) as endpoint,
        pytest.raises(RewardError, match=f"gave no verdict in a rehearsal: .*{status}.*so it is"),
    ):
        rehearse_judge(judge(endpoint.url), said.append)
    assert not said


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_repeats_that_may_all_be_the_same_are_told_of(temperature: float) -> None:
    for repeat in (None, RepeatConfig()):
        said: list[str] = []
        with FakeEndpoint(truth=lambda shown: True) as endpoint:
            asked = judge(endpoint.url, temperature=temperature, repeat=repeat)
            rehearse_judge(asked, said.append, "judges.gold")
        told = [text for text in said if text.startswith("judges.gold.repeat: at temperature 0")]
        assert len(told) == (temperature == 0 and repeat is not None)


def test_an_address_without_a_judge_stops_the_run() -> None:
    with hold_port("127.0.0.1") as held:
        nowhere = f"http://127.0.0.1:{held.getsockname()[1]}/v1"
        with pytest.raises(RewardError, match="rehearsal: connection; see that the endpoint's url"):
            rehearse_judge(judge(nowhere), print)
        with FakeEndpoint(truth=lambda shown: True) as endpoint:
            rehearse_judge(judge(nowhere, endpoint.url), print)  # another takes over
    with (
        FakeEndpoint(script=lambda body: web.Response(text="<html>Welcome</html>")) as endpoint,
        pytest.raises(RewardError, match="rehearsal: no completion, and said '<html>Welcome"),
    ):
        rehearse_judge(judge(endpoint.url), print)


@pytest.mark.parametrize(
    "reply",
    [
        lambda: web.Response(status=429),
        lambda: web.Response(status=503, text="busy"),
        lambda: web.Response(status=500),
        lambda: web.json_response({"error": {"code": "rate_limit_exceeded"}}, status=403),
        lambda: web.json_response({"error": "Too many requests"}),
        lambda: web.json_response(completion("I like it.")),
        lambda: web.json_response(completion("")),
    ],
)
def test_a_judge_with_a_bad_day_does_not_stop_the_run(
    reply: Callable[[], web.StreamResponse],
) -> None:
    said: list[str] = []
    with FakeEndpoint(script=lambda body: reply()) as endpoint:
        spent = rehearse_judge(judge(endpoint.url, deadline_s=1.0), said.append)
    assert spent is not None
    arrived = len(endpoint.seen.arrivals)
    # The deadline may end the last one on its way.
    assert spent.requests - spent.attempt_failures.get("timeout", 0) <= arrived <= spent.requests
    assert arrived >= 1
    assert "the run goes on" in said[0]


def test_a_judge_that_the_run_serves_is_not_asked_before_it_is_there() -> None:
    assert rehearse_judge(JudgeConfig(serve=ServeConfig(model="any/model")), print) is None


def test_a_missing_key_is_told_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RVPO_TEST_KEY", raising=False)
    endpoint = EndpointConfig(url="http://127.0.0.1:1/v1", key_variable="RVPO_TEST_KEY")
    with pytest.raises(ConfigError, match="RVPO_TEST_KEY holds no API key"):
        rehearse_judge(JudgeConfig(model="judge", endpoints=(endpoint,)), print)


def test_the_first_question_is_remembered_nowhere_and_counted_once(tmp_path: Path) -> None:
    with FakeEndpoint(truth=lambda shown: True) as endpoint:
        settings = judge(endpoint.url, cache=tmp_path / "cache.sqlite")
        for number in (1, 2):
            spent = rehearse_judge(settings, print)
            assert len(endpoint.seen.arrivals) == number
        assert spent is not None
        with (
            closing(JudgeWorkers.start(settings)) as workers,
            closing(JudgeClient(workers.addresses)) as client,
        ):
            counted = Counted(client)
            counted.count(spent)
            answers = [counted.submit(job(text)).result(20)[0] for text in "ab"]
    assert [answer.usage.requests for answer in answers] == [2, 1]
    assert [answer.usage.input_tokens for answer in answers] == [200, 100]
    assert len(endpoint.seen.arrivals) == 4


def test_a_counted_judge_that_is_given_up_cancels_what_waits() -> None:
    with FakeEndpoint(latency_s=30.0, truth=lambda shown: True) as endpoint:
        settings = judge(endpoint.url, cache=None)
        with (
            closing(JudgeWorkers.start(settings)) as workers,
            closing(JudgeClient(workers.addresses)) as client,
        ):
            counted = Counted(client)
            counted.count(Usage(requests=1))
            asked = counted.submit(job("a"))
            counted.cancel()
            with pytest.raises(CancelledError):
                asked.result(20)


def job(response: str) -> Job:
    return Job(conversation=(), response=response, questions=(Question("criterion", "Is kind."),))


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


def test_in_a_world_functions_rehearse_on_episodes_and_those_of_worlds_are_left_out(
    tiny_model: Path,
) -> None:
    seen: list[Any] = []

    def mine(episodes: Any, **given: Any) -> list[float]:
        seen.extend(episodes)
        return [float(len(each.policy_turns)) for each in episodes]

    def of_worlds(environments: Any, **given: Any) -> list[float]:
        raise AssertionError("nobody can invent a world")

    suite = RewardSuite([Reward("mine", mine), Reward("worlds", of_worlds)])
    encoder, _ = read(tiny_model)
    config = tiny_config(tiny_model, environment={"name": "tools", "functions": ["json:dumps"]})
    rehearse_rewards(config, suite, [make_prompt("p/0")], encoder)
    assert {each.ending for each in seen} == {"answered"}
