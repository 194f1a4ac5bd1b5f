"""Settings of the judge are refused in one sentence, and never repeat a key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rvpo.cli import app
from rvpo.config.run import RunConfig, dump_config, load_config
from rvpo.errors import ConfigError

BASE = """
steps: 1
model: {{path: x}}
data: {{train: {{function: "tests.toy:letters"}}}}
rewards: {rewards}
judge: {judge}
advantage: {{name: rvpo}}
"""
RUBRIC = "{r: {rubric: channels}}"
ENDPOINT = "{model: m, endpoints: [{url: 'http://127.0.0.1:1/v1', %s}]}"


def load(folder: Path, rewards: str = RUBRIC, judge: str = "{serve: x}") -> RunConfig:
    file = folder / "run.yaml"
    file.write_text(BASE.format(rewards=rewards, judge=judge), encoding="utf-8")
    return load_config(file)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"judge": "null"}, "rewards.r: a rubric needs a judge; add judge: {serve: MODEL}"),
        ({"judge": "{}"}, "judge: a judge needs either `endpoints`"),
        ({"judge": "{serve: x, endpoints: [{url: 'http://a'}]}"}, "and not both"),
        ({"judge": "{endpoints: [{url: 'http://a'}]}"}, "judge: `model` is required"),
        ({"judge": ENDPOINT % "concurency: 3"}, "did you mean 'concurrency'?"),
        ({"judge": ENDPOINT % "concurrency: 0"}, "concurrency: must be greater than 0"),
        (
            {"judge": "{model: m, workers: 9, endpoints: [{url: 'http://a', concurrency: 8}]}"},
            "endpoints[0].concurrency: 8 cannot be shared by 9 workers",
        ),
        ({"judge": "{serve: x, extra_body: {model: y}}"}, "'model' is set by rvpo itself"),
        ({"rewards": "{r: {rubric: chanels}}"}, "did you mean 'channels'?"),
        ({"rewards": "{r: {rubric: channels, function: 'a:b'}}"}, "rewards.r: must be a table"),
        (
            {"rewards": "{r: {rubric: channels, criteria: {a: {text: b, polarity: bad}}}}"},
            "'bad' is not available",
        ),
        (
            {"rewards": "{r: {rubric: channels, weight: {start: -1, end: 1}}}"},
            "both ends must be at least 0",
        ),
        (
            {"rewards": "{r: {rubric: channels, weight: {start: 0, end: 0}}}"},
            "every weight is 0",
        ),
        (
            {"rewards": "{r: {rubric: channels, only_if: {reward: q}}}"},
            "rewards.r.only_if.reward: 'q' is no other reward; there are none",
        ),
        (
            {"rewards": "{r: {rubric: channels}, s: {function: 'a:b', only_if: {reward: r}}}"},
            "'r' has a score for each criterion",
        ),
    ],
)
def test_wrong_setting_is_one_sentence(
    tmp_path: Path, settings: dict[str, str], sentence: str
) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, **settings)
    lines = str(error.value).splitlines()
    assert len(lines) == 2
    assert sentence in lines[1]


@pytest.mark.parametrize(
    "judge",
    [
        "{model: m, endpoints: [{url: 'https://me:sk-secret@host/v1'}]}",
        "{model: m, endpoints: [{url: 'https://host/v1?api_key=sk-secret'}]}",
        "{model: m, endpoints: [{url: 'sk-secret'}]}",
        "{model: m, endpoints: [{url: 'https://host/v1/sk-secret-1'}]}",
        "{model: m, endpoints: [{url: 'https://host/v1?sk-secret-1'}]}",
        *(
            f"{{model: m, endpoints: [{{url: 'https://host/v1?{name}=sk-secret'}}]}}"
            for name in ("code", "Password", "passwd", "pwd", "AUTH", "credential")
        ),
        ENDPOINT % "key_variable: sk-secret",
        ENDPOINT % "key_variable: gsk_secret",
        ENDPOINT % "key_variable: hf_secret",
        ENDPOINT % "key_variable: pplxsecret",
        ENDPOINT % "api_key: sk-secret",
        ENDPOINT % "concurrency: sk-secret",
        "sk-secret",
        "{model: m, endpoints: sk-secret}",
        "{model: m, endpoints: [sk-secret]}",
        "{serve: x, temperature: {key: sk-secret}}",
        "{serve: x, structured: [sk-secret]}",
        *(
            f"{{serve: x, extra_body: {{{name}: secret}}}}"
            for name in ("api_key", "apikey", "X-API-Key", "Authorization", "token", "password")
        ),
        "{serve: x, extra_body: {client_secret: secret}}",
        "{serve: x, extra_body: {a: [{b: {access_token: secret}}]}}",
        "{serve: x, extra_body: {a: [sk-secret-1]}}",
        "{serve: x, extra_body: {headers: {a: 'Bearer secret'}}}",
    ],
)
def test_key_in_the_wrong_place_is_refused_and_not_repeated(tmp_path: Path, judge: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, judge=judge)
    lines = str(error.value).splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("  judge")
    assert not re.search("sk-secret|sk_secret|hf_secret|pplxsecret|: secret|Bearer", lines[1])


@pytest.mark.parametrize(
    "extra",
    [
        "{max_tokens: null, max_completion_tokens: 100, logit_bias: {'50256': -100}}",
        "{stop_token_ids: [1], skip_special_tokens: true, prompt_cache_key: judge}",
        "{chat_template_kwargs: {enable_thinking: false, eos_token: '</s>'}, user: risk-averse}",
    ],
)
def test_usual_fields_of_a_request_are_no_secrets(tmp_path: Path, extra: str) -> None:
    assert load(tmp_path, judge=f"{{serve: x, extra_body: {extra}}}").judge is not None


@pytest.mark.parametrize("url", ["http://a/v1/chat/completions", "http://a/chat/completions/?b=c"])
def test_the_whole_address_of_a_call_is_no_base_address(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="must be the base address, without /chat/completions"):
        load(tmp_path, judge=f"{{model: m, endpoints: [{{url: '{url}'}}]}}")


@pytest.mark.parametrize(
    ("rewards", "judge"),
    [
        (RUBRIC, "{serve: x}"),
        (RUBRIC, "{serve: {model: x, concurrency: 3}, cache: null}"),
        ("{r: {rubric: explicit, criteria: {a: A thing., b: {text: B, axis: c}}}}", "{serve: x}"),
        ("{r: {rubric: channels, weight: {start: 0, end: 2}}}", "{serve: x, extra_body: {a: 1}}"),
    ],
)
def test_settings_survive_being_stored(tmp_path: Path, rewards: str, judge: str) -> None:
    config = load(tmp_path, rewards, judge)
    stored = tmp_path / "stored.yaml"
    stored.write_text(dump_config(config), encoding="utf-8")
    assert load_config(stored) == config


def test_short_forms_mean_the_long_ones(tmp_path: Path) -> None:
    config: Any = load(tmp_path, "{r: {rubric: channels, criteria: {a: A thing.}}}")
    assert config.judge.serve.model == "x"
    assert config.rewards["r"].criteria["a"].text == "A thing."


@pytest.mark.parametrize("setting", ["judge.endpoints=[sk-abcdefgh12345", "judge.serve.model=x"])
def test_what_cannot_be_set_is_not_repeated(tmp_path: Path, setting: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("judge: {serve: sk-abcdefgh12345}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path, [setting])
    assert "sk-abcdefgh12345" not in str(caught.value)
    assert "judge.endpoints" in str(caught.value) or "judge.serve" in str(caught.value)


@pytest.mark.parametrize(
    "setting",
    [
        "judge.serve.model=%s",
        "judge.host=%s",
        "judge.revision=x %s",
        "data.train.arguments={any: [%s]}",
        "report.project=%s",
        "judge.%s=3",
        "%s",
    ],
)
def test_a_key_in_any_setting_is_refused_and_not_repeated(tmp_path: Path, setting: str) -> None:
    key = "sk-proj-AbCdEf1234567890AbCdEf"
    file = tmp_path / "run.yaml"
    file.write_text(BASE.format(rewards=RUBRIC, judge="{serve: x}"), encoding="utf-8")
    done = CliRunner().invoke(app, ["show", "--config", str(file), setting % key])
    assert done.exit_code == 2
    assert key not in done.output


@pytest.mark.parametrize("host", ["é..x", "..."])
def test_a_name_that_no_host_can_have_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match="must be an address such as"):
        load(tmp_path, judge=f"{{model: m, endpoints: [{{url: 'http://{host}/v1'}}]}}")
