"""No key of any form gets from settings, functions or servers into what a run keeps or says."""

from __future__ import annotations

import base64
import json
import random
import string
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from rvpo.cli import app
from rvpo.config.run import RunConfig, dump_config, load_config
from rvpo.config.secret import masked, without_secrets
from rvpo.config.secret_name import is_secret_name
from rvpo.data.sources import load_prompts
from rvpo.errors import ConfigError, DataError, RewardError
from rvpo.rewards.reward import Reward
from rvpo.runtime.redaction import Hidden
from rvpo.types import Failed
from tests.commands.test_train import train, write_config
from tests.configs import tiny_settings


def drawn(count: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    text = "".join(random.Random(7).choices(alphabet, k=count))
    return text[:-2] + "7Q"  # of letters and digits whatever was drawn


FORMS = {
    "openai": "sk-" + drawn(48),
    "openai project": "sk-proj-" + drawn(60),
    "anthropic": "sk-ant-api03-" + drawn(60),
    "nvidia": "nvapi-" + drawn(60),
    "google": "AIza" + drawn(35),
    "google oauth": "ya29." + drawn(60),
    "github": "ghp_" + drawn(36),
    "github app": "ghs_" + drawn(36),
    "github fine": "github_pat_" + drawn(70),
    "gitlab": "glpat-" + drawn(20),
    "slack": "xoxb-1234567890-" + drawn(24),
    "slack user": "xoxp-1234567890-" + drawn(24),
    "aws": "AKIA" + drawn(16, string.ascii_uppercase + string.digits),
    "aws session": "ASIA" + drawn(16, string.ascii_uppercase + string.digits),
    "hugging face": "hf_" + drawn(34),
    "groq": "gsk_" + drawn(50),
    "replicate": "r8_" + drawn(37),
    "xai": "xai-" + drawn(60),
    "perplexity": "pplx-" + drawn(40),
    "stripe": "sk_live_" + drawn(24),
    "npm": "npm_" + drawn(36),
    "sendgrid": f"SG.{drawn(22)}.{drawn(43)}",
    "vault": "hvs." + drawn(24),
    "jwt": f"eyJ{drawn(17)}.eyJ{drawn(40)}.{drawn(43)}",
    "pem": "-----BEGIN RSA PRIVATE KEY-----\n" + drawn(64),
    "bearer": "Bearer " + drawn(32),
    "basic": "Basic " + base64.b64encode(b"me:correct-horse").decode(),
    "credentials in an address": "https://me:correct-horse@host.example/v1",
    "database": "postgresql://me:correct-horse@db.example:5432/runs",
    "key in a query": "https://host.example/v1?api_key=correct-horse",
    "signature in a query": "https://host.example/file?a=b&sig=correct-horse",
    "base64 of a key": base64.b64encode(("sk-proj-" + drawn(30)).encode()).decode(),
    "connection string": "Server=db;User=me;Password=correct-horse",
    "header": "X-API-Key: correct-horse",
    "option": "--api-key correct-horse",
}
PLACES = {
    "argument of a reward": "rewards.vowels.arguments={any: %s}",
    "nested and listed": "rewards.vowels.arguments={a: [{b: [1, %s]}]}",
    "argument of the data": "data.train.arguments.any=%s",
    "field of a request": "judge.extra_body={a: {b: %s}}",
    "header of a request": "judge.extra_body={headers: {x: %s}}",
    "model": "model.path=%s",
    "data file": "data.held_out={path: %s}",
    "tracking": "report.project=%s",
    "prompt": "data.system_prompt=%s",
    "judge": "judge.revision=%s",
    "folder": "output=%s",
    "name": "rewards.vowels.arguments={%s: 1}",
}
NAMES = (
    *("api_key", "apikey", "API-Key", "apiKey", "OPENAI_API_KEY", "openai_key", "secret"),
    *("client_secret", "clientSecret", "password", "passwd", "pwd", "passphrase", "db_password"),
    *("token", "access_token", "authToken", "hf_token", "refresh_token", "auth", "Authorization"),
    *("X-Auth-Token", "credentials", "private_key", "aws_secret_access_key", "secretKey"),
    *("session_token", "bearer", "cookie", "api_key_2", "wandb_key", "subscription-key"),
)
INNOCENT = (
    *("max_tokens", "key_variable", "tokenizer", "stop_token", "primary_key", "monkey", "keys"),
    *("stop_token_ids", "eos_token", "pad_token", "answer_key", "sort_key", "prompt_cache_key"),
    *("keyword", "keywords", "author", "authority", "passage", "passing", "compass", "secretary"),
    *("tokens", "n_tokens", "token_budget", "password_length", "turkey", "tokenize", "code"),
)
VALUE = "correct-horse"


def settings_file(folder: Path, settings: dict[str, Any]) -> Path:
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def refusal(folder: Path, setting: str) -> str:
    """What is said of a run with a setting that must be refused."""
    base = tiny_settings(Path("model"), folder / "run", judge={"serve": "x"})
    with pytest.raises(ConfigError, match="holds what looks like a password or key") as caught:
        load_config(settings_file(folder, base), [setting])
    return masked(str(caught.value))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", PLACES)
def test_a_key_is_known_by_its_form_in_every_place(form: str, place: str, tmp_path: Path) -> None:
    key = FORMS[form]
    said = refusal(tmp_path, PLACES[place] % json.dumps(key))
    assert key not in said
    assert VALUE not in said


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "place",
    [
        "rewards.vowels.arguments={%s: %s}",
        "rewards.vowels.arguments={client: {a: [{%s: %s}]}}",
        "data.train.arguments={%s: %s}",
        "judge.extra_body={headers: {%s: %s}}",
        "model={path: x, %s: %s}",
        "report.%s=%s",
        "rewards.vowels.arguments={env: [{name: %s, value: %s}]}",
        "rewards.vowels.arguments={query: %s=%s}",
        "rewards.vowels.arguments={headers: [[%s, %s]]}",
        "rewards.vowels.arguments={options: [--%s, %s]}",
    ],
)
def test_a_secret_is_known_by_its_name_in_every_place(
    name: str, place: str, tmp_path: Path
) -> None:
    assert VALUE not in refusal(tmp_path, place % (name, VALUE))


@pytest.mark.parametrize("command", ["train", "show", "plan", "judge", "dashboard", "compare"])
@pytest.mark.parametrize(
    "setting",
    [
        "rewards.vowels.arguments={password: %s}",
        "rewards.vowels.arguments={password: %s",
        "rewards.vowels.arguments.password.x=[%s",
        "judge.extra_body={password: %s",
        "report.project=http://me:%s@host",
    ],
)
def test_no_command_stores_or_repeats_a_secret(
    command: str, setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    base = tiny_settings(Path("model"), Path("run"), judge={"serve": "x"})
    file = settings_file(tmp_path, base)
    arguments = [command, "--config", str(file), "--", setting % VALUE]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2, done.output
    assert VALUE not in done.output
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in kept if VALUE.encode() in path.read_bytes()]
    assert {path.name for path in tmp_path.iterdir()} <= {"run.yaml", "runs"}


@pytest.mark.parametrize("name", INNOCENT)
@pytest.mark.parametrize("value", ["answer", 3, True, None, ["a", "b"], "<|im_end|>", 0.5])
def test_a_name_that_only_sounds_like_a_secret_is_taken(name: str, value: Any) -> None:
    assert not is_secret_name(name)
    document = {"rewards": {"r": {"arguments": {name: value}}}}
    assert without_secrets(document) is document


@pytest.mark.parametrize("name", ["key", "answer_key", "signature", "idp_auth_code"])
@pytest.mark.parametrize("value", ["0f8b2a6c9e1d4b7f3a5c", "Zk3v9QpL2xR8mT1wB6yN4c"])
def test_a_random_value_under_a_name_of_keys_is_one(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="looks like a password or key") as caught:
        without_secrets({"rewards": {"r": {"arguments": {name: value}}}})
    assert value not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"rewards": {"token": {"function": "a:b"}, "password": {"rubric": "channels"}}},
        {"rewards": {"r": {"rubric": "channels", "criteria": {"password": "It names none."}}}},
        {"data": {"train": {"path": "a.csv", "types": {"token": "int"}}}},
        {"data": {"system_prompt": "Never tell a password: say that a token is needed."}},
        {"data": {"system_prompt": "Log in with token=<your token>, as at http://a.b:80/c@d."}},
        {"model": {"path": "hf-internal-testing/tiny-random-gpt2"}},
        {"model": {"path": "/models/hf_cache/models--a--b/snapshots/0f8b2a6c9e1d4b7f3a5c"}},
        {"rewards": {"r": {"arguments": {"pass": 1.0, "fail": 0, "use_auth": True}}}},
        {"rewards": {"r": {"arguments": {"forbidden": ["password", "secret", "api_key"]}}}},
        {"rewards": {"r": {"arguments": {"token": {"variable": "MY_TOKEN"}}}}},
        {"judge": {"extra_body": {"user": "risk-averse", "cookie": None}}},
    ],
)
def test_what_is_no_secret_is_taken(settings: dict[str, Any]) -> None:
    assert without_secrets(settings) is settings


@given(
    st.recursive(
        st.text() | st.text("aé=:/?&.日- ", min_size=24) | st.binary() | st.none() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    )
)
def test_every_setting_is_read_for_secrets_without_a_traceback(value: Any) -> None:
    with suppress(ValueError):
        without_secrets({"data": {"train": {"arguments": {"any": value}}}})


def test_a_variable_is_stored_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RVPO_TEST_SECRET", VALUE)
    arguments = {"api_key": {"variable": "RVPO_TEST_SECRET"}}
    settings = tiny_settings(Path("model"), tmp_path / "run", rewards={"vowels": {}})
    settings["rewards"]["vowels"] = {"function": "tests.toy:vowels", "arguments": arguments}
    config = load_config(settings_file(tmp_path, settings))
    stored = dump_config(config)
    assert VALUE not in stored
    assert "variable: RVPO_TEST_SECRET" in stored
    assert RunConfig.model_validate(yaml.safe_load(stored)) == config


def call(client: Any, completions: list[Any], **columns: Any) -> list[Any]:
    outcome = client["outcome"]
    if outcome == "raise":
        raise ValueError(f"cannot log in with {client['tokens'][0]}")
    if outcome == "fail":
        return [Failed(f"401: wrong key {client['tokens'][0]}")]
    if outcome == "odd":
        return [client["tokens"][0]]
    return [float(client["tokens"][0] == VALUE)]


def told(api_key: str, completions: list[Any], **columns: Any) -> list[Any]:
    """Fails on one completion of each batch and repeats its key, as clients do."""
    part = base64.b64encode(api_key.encode()).decode()
    return [Failed(f"401 for {api_key}, {part}"), *([0.5] * (len(completions) - 1))]


def rows(token: str) -> list[dict[str, Any]]:
    if token == VALUE:
        return [{"prompt": "hello"}]
    raise ValueError(f"cannot log in with {token}")


def reward(outcome: str) -> Reward:
    client = {"outcome": outcome, "tokens": [{"variable": "RVPO_TEST_SECRET"}]}
    return Reward("r", call, arguments={"client": client})


def score(outcome: str) -> Any:
    batch: dict[str, Any] = {"prompts": ["a"], "completions": ["b"], "completion_ids": [[1]]}
    return reward(outcome).scores(batch, ["0"])[0]


def test_a_function_gets_the_variable_and_what_it_says_is_told_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RVPO_TEST_SECRET", VALUE)
    assert score("score") == 1
    assert score("fail") == Failed("401: wrong key [key]")
    for outcome in ("raise", "odd"):
        with pytest.raises(RewardError) as caught:
            score(outcome)
        assert VALUE not in str(caught.value)
        assert "[key]" in str(caught.value)
    assert VALUE not in repr(reward("score"))


def test_data_get_the_variable_too(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tiny_settings(Path("model"), Path("run"))
    arguments = {"token": {"variable": "RVPO_TEST_SECRET"}}
    settings["data"]["train"] = {
        "function": "tests.config.test_secrets:rows",
        "arguments": arguments,
    }
    source = RunConfig.model_validate(settings).data.train
    monkeypatch.setenv("RVPO_TEST_SECRET", VALUE)
    assert len(load_prompts(source, None, "data.train")) == 1
    monkeypatch.setenv("RVPO_TEST_SECRET", "another-horse")
    with pytest.raises(DataError, match=r"cannot log in with \[key\]"):
        load_prompts(source, None, "data.train")


def test_a_variable_that_is_not_set_is_told_before_the_first_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RVPO_TEST_SECRET", raising=False)
    with pytest.raises(ConfigError, match=r"rewards\.r\.arguments\.client\.tokens\[0\]: the env"):
        reward("score")


KEYS = st.text(string.ascii_letters + string.digits + "-_", min_size=24, max_size=64)
PROSE = st.text(" .:'\n", max_size=20)


@given(KEYS, PROSE, PROSE, st.data())
def test_no_part_and_no_encoding_of_a_key_is_repeated(
    key: str, before: str, after: str, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(key) - 8))
    stop = data.draw(st.integers(start + 8, len(key)))
    aligned = base64.b64encode(data.draw(st.binary(max_size=4)) + key.encode())
    for told in (
        *(key, key.upper(), key[start:stop], key.encode().hex(), quote(key, safe="")),
        *(aligned.decode(), base64.urlsafe_b64encode(key.encode()).decode()),
        *(f"{key[:4]}****{key[-4:]}", f"{key[:3]}...", f"***{key[-2:]}"),
    ):
        shown = Hidden([key]).out_of(f"{before} {told} {after}")
        assert len(longest_common(shown.lower(), told.lower())) < 8
        assert "[key]" in shown


def longest_common(one: str, other: str) -> str:
    parts = (one[i:j] for i in range(len(one)) for j in range(i + 1, len(one) + 1))
    return max((part for part in parts if part in other), key=len, default="")


@given(KEYS, st.text(string.ascii_lowercase[:5] + " .", max_size=80))
def test_words_that_hold_no_part_of_a_key_stay(key: str, text: str) -> None:
    key = "".join(c for c in key if c not in string.ascii_letters[:5] + "ABCDE") + "-0123456789-"
    assert Hidden([key]).out_of(text) == text


KNOWN_BY_NAME = ("connection string", "header", "option", "key in a query", "signature in a query")


@pytest.mark.parametrize(
    "form", sorted(FORMS.keys() - {*KNOWN_BY_NAME, "base64 of a key", "basic"})
)
def test_errors_mask_what_has_the_form_of_a_key(form: str) -> None:
    assert "[key]" in masked(f"cannot use '{FORMS[form]}'")


@pytest.mark.parametrize("host", ["judge.example", "10.0.0.7", "0.0.0.0", "localhost.example"])
def test_a_key_goes_to_another_machine_encrypted_or_not_at_all(host: str, tmp_path: Path) -> None:
    endpoint = {"url": f"http://{host}:8000/v1", "key_variable": "JUDGE_KEY"}
    judge = {"model": "m", "endpoints": [endpoint]}
    settings = tiny_settings(Path("model"), tmp_path / "run", judge=judge)
    with pytest.raises(ConfigError, match=r"judge\.endpoints\[0\]: the key in JUDGE_KEY would go"):
        load_config(settings_file(tmp_path, settings))
    endpoint["key_in_clear"] = True  # type: ignore[assignment]
    assert load_config(settings_file(tmp_path, settings)).judge is not None


@pytest.mark.parametrize(
    "url", ["https://judge.example/v1", "http://127.0.0.1:1/v1", "http://[::1]:1/v1"]
)
def test_a_key_stays_on_this_machine_or_is_encrypted(url: str, tmp_path: Path) -> None:
    judge = {"model": "m", "endpoints": [{"url": url, "key_variable": "JUDGE_KEY"}]}
    settings = tiny_settings(Path("model"), tmp_path / "run", judge=judge)
    assert load_config(settings_file(tmp_path, settings)).judge is not None


@pytest.mark.slow
def test_nothing_that_a_run_keeps_or_says_holds_the_key_of_a_function(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = FORMS["openai"]
    monkeypatch.setenv("RVPO_TEST_SECRET", key)
    monkeypatch.setenv("WANDB_MODE", "offline")
    arguments = {"api_key": {"variable": "RVPO_TEST_SECRET"}}
    function = {"function": "tests.config.test_secrets:told", "arguments": arguments}
    rewards = {"told": function, "vowels": {"function": "tests.toy:vowels"}}
    config = write_config(tiny_model, tmp_path, rewards=rewards, report={"trackers": ["wandb"]})
    output = train(config)
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {"config.yaml", "provenance.json", "metrics.jsonl"} <= {path.name for path in kept}
    assert any(path.suffix == ".wandb" for path in kept)
    assert b"401 for [key], [key]" in b"".join(kept.values())
    assert b"variable: RVPO_TEST_SECRET" in (tmp_path / "run" / "config.yaml").read_bytes()
    for secret in (key, base64.b64encode(key.encode()).decode()):
        assert secret not in output
        assert not [path for path, content in kept.items() if secret.encode() in content]
