"""What a user is told to do about a judge that does not answer."""

from __future__ import annotations

import pytest
import yaml

from rvpo.judge.hint import hint

UNSUPPORTED = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
    "'max_completion_tokens' instead."
)
TOO_LONG = (
    "'max_tokens' or 'max_completion_tokens' is too large: 512. This model's maximum context "
    "length is 4096 tokens and your request has 4000 input tokens."
)


@pytest.mark.parametrize(
    ("failure", "detail", "words"),
    [
        ("http 400", UNSUPPORTED, "judge.extra_body={max_tokens: null, max_completion_tokens: N}"),
        ("http 400", "'temperature' does not support 0.0", "judge.extra_body={temperature: null}"),
        ("http 400", TOO_LONG, "lower judge.max_tokens"),
        ("http 401", "Incorrect API key provided", "key_variable"),
        ("http 403", "", "key_variable"),
        ("http 402", "", "credit"),
        ("quota used up", "", "credit"),
        ("http 429", "You exceeded your current quota", "credit"),
        ("http 404", "The model `m` does not exist", "judge.model"),
        ("unknown host", "", "url"),
        ("connection", "", "url"),
        ("tls", "", "url"),
    ],
)
def test_what_has_a_remedy_names_it(failure: str, detail: str, words: str) -> None:
    assert words in hint(failure, detail)


@pytest.mark.parametrize(
    ("failure", "detail"),
    [("http 400", ""), ("http 429", "Slow down"), ("http 500", "temperature"), ("no verdict", "")],
)
def test_what_has_no_known_remedy_has_no_hint(failure: str, detail: str) -> None:
    assert hint(failure, detail) == ""


@pytest.mark.parametrize("detail", [UNSUPPORTED, "temperature"])
def test_settings_in_hints_are_settings(detail: str) -> None:
    setting = hint("http 400", detail).removeprefix("set judge.extra_body=")
    assert None in yaml.safe_load(setting).values()
