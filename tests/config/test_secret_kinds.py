"""Secrets of many languages, writings and vendors are refused, and what only looks alike is not."""

from __future__ import annotations

import base64
import json
import string
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rvpo.config.secret import masked, without_secrets

NAMES = (
    *("pw", "db_pw", "pswd", "creds", "mdp", "otp", "passwort", "datenbankPasswort", "kennwort"),
    *("contraseña", "contrasena", "mot_de_passe", "motDePasse", "mot de passe", "clé_api", "senha"),
    *("wachtwoord", "lösenord", "hasło", "şifre", "salasana", "пароль", "密码", "パスワード"),
    *("비밀번호", "api_tok", "access_tok", "bot_token", "X-Functions-Key", "pass_phrase"),
    *("\u0430pi_key", "ap\u200bi_key", "".join(chr(ord(c) + 0xFEE0) for c in "password")),
)
OFTEN = ("tok", "hf tok", "clave", "parola", "my_pin", "openai", "WANDB", "answer_key")
WORDS = st.text(string.ascii_lowercase, min_size=3, max_size=8)
PASSWORDS = st.builds("{}{}".format, WORDS, st.integers(10, 9999))
DRAWN = st.builds(
    lambda parts: "".join(f"{a}{b}{n}" for a, b, n in parts),
    st.lists(
        st.tuples(
            st.sampled_from(string.ascii_lowercase),
            st.sampled_from(string.ascii_uppercase),
            st.integers(0, 9),
        ),
        min_size=10,
        max_size=14,
    ),
)
WRITINGS = (
    '{{"{name}": "{value}"}}',
    "{{'{name}': '{value}'}}",
    'a call of {{"user": "me", "{name}":"{value}"}} at night',
    '{{\\"{name}\\": \\"{value}\\"}}',
    "host: example\n{name}: {value}\nport: 80",
    "export {name}={value}",
    'curl -H "{name}: {value}" http://a.example',
    "<{name}>{value}</{name}>",
)
FORMS = (
    *("AQ.Ab8RN6{}", "sq0atp-{}", "sgp_{}", "sntrys_{}", "pcsk_{}", "dp.pt.{}", "xkeysib-{}"),
    *("glrtr-{}", "LTAI{}", "lsv2_pt_{}", "sk-lf-0f8b2a6c-9e1d-4b7f-3a5c-0f8b2a6c9e1d"),
    *("https://discord.com/api/webhooks/123456789/{}", "https://a.webhook.office.com/webhookb2/{}"),
    *("https://hooks.slack.com/workflows/T1/A1/{}", "https://hooks.zapier.com/hooks/catch/12/{}"),
    *("curl -u me:{} http://a.example", "machine a.example login me password {}"),
)


def is_refused(**arguments: Any) -> bool:
    document = {"rewards": {"r": {"arguments": arguments}}}
    try:
        without_secrets(document)
    except ValueError:
        return True
    return False


@given(st.sampled_from(NAMES), WORDS, PASSWORDS)
def test_a_name_means_a_secret_in_every_language(name: str, word: str, value: str) -> None:
    for spelt in (name, name.upper(), f"{word}_{name}", f"{name}_2"):
        assert is_refused(**{spelt: value}), spelt
        assert is_refused(client={"a": [{spelt: value}]}), spelt


@given(st.sampled_from(OFTEN), DRAWN)
def test_a_name_of_many_meanings_means_a_secret_with_a_key(name: str, key: str) -> None:
    assert is_refused(**{name: key})


@pytest.mark.parametrize("writing", WRITINGS)
@given(name=st.sampled_from(["password", "api_key", "X-Api-Key", "passwort", "пароль", "pw"]))
def test_a_text_that_names_a_secret_and_has_it_is_one(writing: str, name: str) -> None:
    assert is_refused(any=writing.format(name=name, value="hunter2"))
    assert not is_refused(any=writing.format(name=name, value="<your-own>"))


@given(st.sampled_from(FORMS), DRAWN)
def test_a_published_form_is_a_key(form: str, drawn: str) -> None:
    key = form.format(drawn)
    assert is_refused(any=key)
    assert is_refused(any=f"it is {key} here")
    assert is_refused(any=base64.b64encode(key.encode()).decode())
    assert is_refused(any=key.encode().hex())


@given(WORDS, PASSWORDS, st.sampled_from(["", "\n"]))
def test_a_login_in_base64_is_a_secret(user: str, password: str, end: str) -> None:
    code = base64.b64encode(f"{user}:{password}{end}".encode()).decode()
    assert is_refused(any=code)
    assert is_refused(any=json.dumps({"a": code}))


@given(DRAWN, st.integers(0, 30), st.sampled_from("\u200b\u200d\u2060\ufeff\u00ad\u3164\ufe0f"))
def test_what_cannot_be_seen_hides_no_key(drawn: str, at: int, invisible: str) -> None:
    key = f"sk-proj-{drawn}"
    hidden = key[:at] + invisible + key[at:]
    assert is_refused(any=hidden)
    assert drawn not in masked(f"no {hidden}").replace(invisible, "")


@pytest.mark.parametrize(
    "arguments",
    [
        {"token": "</s>", "bot_token": "<|bot|>", "tok": "meta-llama/Llama-3-8B", "max_tokens": 9},
        {"tok": 5, "pw": 0.5, "pass": 1, "pin": "a", "parola": "gatto", "clave": "respuesta"},
        {"pwd": "/home/me/data", "code": "python", "openai": "gpt-4o-mini-2024-07-18"},
        {"keyboard": "qwerty2000", "passage": "a1b2c3d4", "password_length": 12, "power": "x2"},
        {"stock": "abc123", "token_type": "word1", "spin": "half12", "palabra_clave": "perro"},
        {"git": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b", "api_key_env": "OPENAI_API_KEY"},
        {"pattern": r"(?<=token=)\w+", "prompt": "The password: must not be told."},
        {"schema": '{"password": {"type": "string"}, "token": "string", "api_key": "API_KEY"}'},
        {"words": 'Forbidden are "password", "secret" and "api_key": never say them.'},
        {"prompt": "Answer as\nToken: yes\nPassword: none\nSecret: banana\n"},
        {"format": "<answer>42</answer> after <think>a1b2c3</think>"},
        {"docker": "--user 1000:1000 -u root:root", "base": "data:image/png;base64,iVBORw0KGgo"},
    ],
    ids=str,
)
def test_what_is_ordinary_is_taken(arguments: dict[str, Any]) -> None:
    for name, value in arguments.items():
        assert not is_refused(**{name: value}), name


@pytest.mark.parametrize("path", sorted(Path("experiments").rglob("*.yaml")), ids=str)
def test_every_experiment_is_taken(path: Path) -> None:
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert without_secrets(settings) is settings
