"""The tools that are ready: a calculator that runs no code, and a table to look things up in."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.environments.ready import LookUp, calculator
from rvpo.environments.tool import tool_of

numbers = st.integers(0, 999).map(str)
expressions = st.recursive(
    numbers,
    lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(
        lambda parts: f"({' '.join(parts)})"
    ),
    max_leaves=8,
)


@given(expressions)
@settings(max_examples=80, deadline=None)
def test_the_calculator_agrees_with_python(expression: str) -> None:
    assert calculator(expression) == str(eval(expression))


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("7 / 2", "3.5"),
        ("6 / 2", "3"),
        ("0.1 + 0.2", "0.3"),
        ("-2 ** 2", "-4"),
        ("2 ** -1", "0.5"),
        ("3 × 4 ÷ 2 − 1", "5"),
        ("17 // 5 + 17 % 5", "5"),
        (" 1e3 ", "1000"),
    ],
)
def test_the_calculator_writes_short_values(expression: str, value: str) -> None:
    assert calculator(expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        "9 ** 9 ** 9",
        "(9 ** 99) ** 99",
        "2 ** 2000",
        "9" * 400,
        "1.5 ** 9999",
        "(-8) ** 0.5",
        "1 / 0",
        "__import__('os').system('true')",
        "open('/etc/passwd')",
        "[1] * 9",
        "'a' * 9",
        "True + 1",
        "1 if 2 else 3",
        "x",
        "1 +",
        "",
        "1\x002",
        "(" * 250 + "1",
        "1 << 9",
        "1j * 1j",
        "1e400 * 1",
    ],
)
def test_the_calculator_refuses_in_words_what_is_no_arithmetic_or_too_large(
    expression: str,
) -> None:
    began = time.monotonic()
    with pytest.raises((ValueError, ArithmeticError)):
        calculator(expression)
    assert time.monotonic() - began < 1


@given(st.text(max_size=40))
@settings(max_examples=100, deadline=None)
def test_the_calculator_gives_a_finite_number_or_an_error(text: str) -> None:
    try:
        value = calculator(text)
    except (ValueError, ArithmeticError):
        return
    assert math.isfinite(float(value))


def test_facts_of_a_row_add_to_those_of_all_episodes_and_are_gone_after_it() -> None:
    world = LookUp({"Rome": "2.8 million", "Oslo": "0.7 million"})
    world.reset(facts={"Paris": 2.1, "Oslo": "0.71 million", "Bonn": None})
    assert world.look_up("  rome") == "2.8 million"
    assert world.look_up("PARIS") == "2.1"
    assert world.look_up("Oslo") == "0.71 million"
    assert world.asked == ["  rome", "PARIS", "Oslo"]
    with pytest.raises(LookupError, match="nothing is known of 'Bonn'"):
        world.look_up("Bonn")
    world.reset()
    assert world.asked == []
    with pytest.raises(LookupError):
        world.look_up("Paris")


def test_a_name_that_is_nearly_right_is_said() -> None:
    world = LookUp({"Reykjavik": 1})
    world.reset()
    with pytest.raises(LookupError, match="try 'reykjavik'"):
        world.look_up("Reykjavic")


def test_both_can_be_shown_to_a_policy() -> None:
    assert tool_of(calculator, "here").name == "calculator"
    assert tool_of(LookUp().look_up, "here").name == "look_up"
