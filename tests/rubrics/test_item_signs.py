"""Signs and sizes that an entry states, in whatever way it writes them."""

from __future__ import annotations

from typing import Any

import pytest

from rvpo.rubrics.item import read_item


@pytest.mark.parametrize(
    "text",
    [
        "Claims a cure (-3)",
        "Claims a cure [-3].",
        "-3: Claims a cure",
        "Claims a cure: -3 points",
        "Claims a cure (\u22123 points)",
        "(\u22123) Claims a cure",
        "[-3 pts] Claims a cure",
    ],
)
def test_a_size_in_a_text_keeps_its_sign(text: str) -> None:
    item = read_item(text)
    assert (item.text, item.size) == ("Claims a cure", -3.0)


@pytest.mark.parametrize(
    "text", ["Names the year (1999)", "Lists at least 3: a, b and c", "Says 5"]
)
def test_a_number_of_the_sentence_stays_in_it(text: str) -> None:
    item = read_item(text)
    assert (item.text, item.size) == (text, None)


@pytest.mark.parametrize("no", [False, 0, "False", "no", "NO.", "n", "N", "0"])
@pytest.mark.parametrize("name", ["is_positive", "desirable", "pass_criteria", "expected"])
def test_a_stated_no_is_a_sign(name: str, no: Any) -> None:
    assert read_item({"text": "It is safe.", name: no}).polarity == "negative"


@pytest.mark.parametrize("yes", [True, 1, "True", "yes", "Y", "1"])
def test_what_is_negative_costs(yes: Any) -> None:
    assert read_item({"text": "It is safe.", "is_negative": yes}).polarity == "negative"


def test_a_gold_answer_is_no_sign() -> None:
    assert read_item({"criterion": "Is it safe?", "answer": "no"}).polarity is None
