"""A reference answer is something to see, and is shown as it stands."""

from __future__ import annotations

from typing import Any

import pytest

from rvpo.rewards.reference import answer_in
from rvpo.trial.response import controls
from tests.fakes import make_prompt

NOTHING = [
    *(None, float("nan"), float("inf"), float("-inf"), ["x"], {}),
    *("", " \t\r\n", "\u00a0\u3000", "\u200b", "\ufeff", "\u2060\u200d\u00ad", "\x00", "\u3164"),
    *("\u2028", "\u2800", "\ufe0f", " \u200e \n"),
]


@pytest.mark.parametrize("value", NOTHING)
def test_what_shows_nothing_is_no_answer(value: Any) -> None:
    assert answer_in(value) == ""
    kinds = {response.kind for response in controls([make_prompt(answer=value)], 1)}
    assert "reference" not in kinds


@pytest.mark.parametrize(
    "value", ["nan", " a\u200b\n", 0, -1.5, "0", "\u2764\ufe0f", "\u0e33", "\u4e2d", "-"]
)
def test_an_answer_is_shown_as_it_stands(value: Any) -> None:
    assert answer_in(value) == str(value)
