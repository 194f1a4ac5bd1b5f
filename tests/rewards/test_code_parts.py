"""Every test that scores a program has run something that judges it."""

from __future__ import annotations

from typing import Any

import pytest

from rvpo.types import Failed

from .test_code import scored as scored_by

pytestmark = pytest.mark.usefixtures("isolation")

RIGHT = "def f(x):\n    if x < 0: raise ValueError('neg')\n    return x + 1"
WRONG = "def f(*given, **named): return 'nope'"


def scored(code: str, tests: Any, **columns: Any) -> Any:
    return scored_by(code, tests, seconds=1, **columns)


MARK = "import pytest\n@pytest.mark.parametrize('a,b', [(1, 2), (2, 3)])\n"


@pytest.mark.parametrize(
    "test",
    [
        "class TestF:\n    def setup_method(self): self.n = 1\n"
        "    def test_a(self): assert f(self.n) == 2",
        "async def test_a():\n    assert f(1) == 2",
        "def run():\n    assert f(1) == 2\nif __name__ == '__main__':\n    run()",
        f"{MARK}def test_a(a, b):\n    assert f(a) == b",
        f"{MARK}class TestF:\n    def test_a(self, a, b):\n        assert f(a) == b",
        "def check(candidate):\n    assert abs(candidate(1) - 2) < 1e-6",
        "def check():\n    assert f(1) == 2",
        "def check(candidate):\n    assert candidate(1) == 2\ncheck(f)",
    ],
)
def test_tests_of_every_form_tell_right_from_wrong(test: str) -> None:
    assert scored(RIGHT, test) == 1.0
    assert scored(WRONG, test) == 0.0


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ("def run():\n    assert f(1) == 2", "holds no test that is run"),
        ("print(f(1))", "holds no test that is run"),
        ("def test_a(capsys):\n    assert f(1) == 2", "takes the fixture 'capsys'"),
    ],
)
@pytest.mark.parametrize("code", [RIGHT, WRONG])
def test_a_test_of_which_nothing_is_run_gives_no_verdict(test: str, reason: str, code: str) -> None:
    score = scored(code, test)
    assert isinstance(score, Failed)
    assert reason in score.reason


ENDS = {
    "leaves": "import os\ndef f(x): os._exit(0)",
    "interrupts": "def f(x): raise KeyboardInterrupt",
    "never answers": "def f(x):\n    while True: pass",
    "is no Python": "def f(x:",
    "is empty": "",
}
CATCHES = [
    "import pytest\nfrom solution import *\ndef test_a():\n"
    "    with pytest.raises(Exception): f(-1)",
    "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n"
    "        with self.assertRaises(Exception): f(-1)",
    "try:\n    f(-1)\nexcept:\n    pass\nassert True",
]


@pytest.mark.parametrize("test", CATCHES)
def test_the_end_of_a_program_is_no_exception(test: str) -> None:
    assert scored(RIGHT, test) == 1.0
    assert [end for end in ENDS if scored(ENDS[end], test) != 0.0] == []


def test_a_check_judges_with_pythons_own_names() -> None:
    check = "def check(candidate):\n    assert abs(candidate(1) - 2) < 1e-6"
    assert scored("def abs(x): return 0\ndef f(x): return 77", check) == 0.0


@pytest.mark.parametrize(
    "test",
    [
        "assert f(1)[:2] == [1, 2]",
        "r = f(1)\nassert all(a < b for a, b in zip(r, r[1:]))",
        "r = f(1)\nr.sort(key=lambda v: v)\nassert r == [1, 2]",
        "r = f(1)\ntry:\n    r.append(print)\nexcept TypeError:\n    pass\nassert True",
    ],
)
def test_an_object_in_the_place_of_data_is_a_failed_test(test: str) -> None:
    members = "__getitem__ = lambda s, k: 1\n    __getattr__ = lambda s, n: lambda *a, **k: 0"
    assert scored(f"class X:\n    {members}\ndef f(*a): return X()", test) == 0.0


@pytest.mark.parametrize(
    ("code", "tests"),
    [
        ("class W(list): pass\ndef f(x): return W([1, 2, 3])", "assert f(1)[:2] == [1, 2]"),
        ("def f(n): yield from range(n)", "g = f(3)\nassert (next(g), next(g)) == (0, 1)"),
        ("class S: pass\ns = S()\ndef f(x): return s", "assert f(1) is f(2)"),
        ("def f(m): m.reverse()", "m = [1, 2]\nf(m=m)\nassert m == [2, 1]"),
        (
            "from heapq import *\nclass Solution:\n    def merge(self, a, b): return sorted(a + b)",
            {"fn_name": "merge", "inputs": [[[3], [1]]], "outputs": [[1, 3]]},
        ),
    ],
)
def test_a_right_program_is_met_as_python_meets_it(code: str, tests: Any) -> None:
    assert scored(code, tests) == 1.0


def test_no_program_hides_an_error_of_its_tests() -> None:
    members = "__enter__ = lambda s: 6\n    __exit__ = lambda s, *given: True"
    code = f"class T:\n    {members}"
    assert scored(code, "with T() as x:\n    assert x == 6") == 1.0
    assert scored(code, "with T() as x:\n    assert x == 5") == 0.0


def test_the_function_can_be_a_method_of_an_instance() -> None:
    check = "def check(candidate):\n    assert candidate(1) == 2"
    code = "class Solution:\n    def f(self, x): return x + 1"
    assert scored(code, check, entry_point=["Solution().f"]) == 1.0
    assert scored(code.replace("+", "-"), check, entry_point=["Solution().f"]) == 0.0
