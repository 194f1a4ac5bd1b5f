"""Programs are scored by what they do, whatever they try with their tests."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.errors import ConfigError
from rvpo.rewards.code import solved
from rvpo.rewards.code.cases import Called, Printed, Written, cases_of
from rvpo.rewards.code.checking import _is
from rvpo.rewards.code.fence import program_in
from rvpo.rewards.code.tester import _same_lines
from rvpo.rewards.code.wire import decoded, encoded
from rvpo.types import Failed

pytestmark = pytest.mark.usefixtures("isolation")

ADD = "def add(a, b):\n    return a + b"


def scored(code: str, tests: Any, **arguments: Any) -> Any:
    (score,) = solved([f"Here:\n```python\n{code}\n```\n"], tests=[tests], **arguments)
    return score


SUM = "print(sum(map(int, input().split())))"


@pytest.mark.parametrize(
    ("code", "tests"),
    [
        (SUM, {"inputs": ["1 2\n", "3 4\n"], "outputs": ["3\n", "7"]}),
        (SUM, json.dumps([{"input": "1 2", "output": "3", "testtype": "stdin"}])),
        (SUM, {"test_cases": [{"input": "1 2", "output": "3", "type": "stdin_stdout"}]}),
        (ADD, ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"]),
        (ADD, str(["assert add(1, 2) == 3"])),
        (ADD, "assert add(1, 2) == 3\nassert add('a', 'b') == 'ab'"),
        (ADD, "from solution import add\ndef test_it():\n    assert add(1, 2) == 3"),
        (ADD, "from solution import *\nassert add((1,), (2,)) == (1, 2)"),
        (ADD, {"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]}),
        (ADD, {"fn_name": "add", "inputs": [[[1], [2]]], "outputs": [[[1, 2]]]}),
        (
            "class Solution:\n    def add(self, a, b):\n        return (a + b,)",
            [{"input": "1\n2", "output": "[3]", "metadata": '{"func_name": "add"}'}],
        ),
        (
            "def turn(numbers):\n    numbers.reverse()",
            "numbers = [1, 2, 3]\nturn(numbers)\nassert numbers == [3, 2, 1]",
        ),
        (
            "class Stack:\n    def __init__(self): self.items = []\n"
            "    def push(self, item): self.items.append(item)\n"
            "    def __len__(self): return len(self.items)",
            "stack = Stack()\nassert not stack\nstack.push(3)\nassert len(stack) == 1\n"
            "assert stack.items == [3]\nstack.name = 'a'\nassert stack.name == 'a'",
        ),
        (
            "def check_age(n):\n    if n < 0: raise ValueError('negative')\n    return n",
            "try:\n    check_age(-1)\n    assert False\n"
            "except ValueError as error:\n    assert 'negative' in str(error)",
        ),
        (
            "def primes():\n    yield from (2, 3, 5)",
            "assert list(primes()) == [2, 3, 5]",
        ),
        (
            ADD,
            "import unittest\nclass TestAdd(unittest.TestCase):\n"
            "    def test_add(self):\n        self.assertEqual(add(1, 2), 3)",
        ),
    ],
)
def test_a_right_program_passes_tests_of_every_shape(code: str, tests: Any) -> None:
    assert scored(code, tests) == 1.0


def test_humanevals_check_is_given_the_function() -> None:
    check = "def check(candidate):\n    assert candidate(1, 2) == 3"
    assert scored(ADD, check, entry_point=["add"]) == 1.0
    assert scored(ADD.replace("+", "-"), check, entry_point=["add"]) == 0.0


TESTS = [
    "assert add(19, 23) == 42",
    "assert abs(add(0.5, 0.25) - 0.75) < 1e-6",
    "assert 5 in [add(2, 3)]",
]
ALWAYS = (
    "class Always:\n"
    "    def __eq__(self, other): return True\n"
    "    def __sub__(self, other): return 0\n"
    "    def __rsub__(self, other): return 0\n"
    "    def __lt__(self, other): return True\n"
    "    def __contains__(self, item): return True\n"
    "    def __abs__(self): return 0\n"
    "    def __bool__(self): return True\n"
    "    __ne__ = lambda self, other: False\n"
)
CHEATS = {
    "leaves before the tests": "import os\nos._exit(0)",
    "leaves as if all were well": "import sys\nsys.exit(0)",
    "leaves from the function": "import os\ndef add(a, b): os._exit(0)",
    "raises what is no error": "def add(a, b): raise SystemExit(0)",
    "raises what skips a test": "import unittest\ndef add(a, b): raise unittest.SkipTest",
    "returns what equals all": f"{ALWAYS}def add(a, b): return Always()",
    "returns a number that equals all": (
        "class Number(int):\n    __eq__ = lambda self, other: True\n    __hash__ = int.__hash__\n"
        "def add(a, b): return Number(1)"
    ),
    "returns a class that equals all": (
        "class Meta(type):\n    __eq__ = lambda self, other: True\n    __hash__ = type.__hash__\n"
        "class Always(metaclass=Meta): pass\ndef add(a, b): return Always"
    ),
    "prints verdicts": (
        "import os\n"
        "for number in range(20):\n"
        "    for line in (b'[true]\\n', b'[true, true, true]\\n', b'{\"passed\": true}\\n'):\n"
        "        try: os.write(number, line)\n"
        "        except OSError: pass\n"
        "def add(a, b): return 0"
    ),
    "answers before it is asked": (
        "import os\n"
        "for number in range(3, 20):\n"
        '    try: os.write(number, b\'{"names": ["add"]}\\n\' + b\'{"value": true}\\n\' * 9)\n'
        "    except OSError: pass\n"
        "def add(a, b): return 0"
    ),
    "answers what cannot be read": (
        "import os\ndef add(a, b):\n    os.write(4, b'[' * 100000 + b'\\n')\n    return 0"
    ),
    "changes what equality is": (
        "import builtins\n"
        "builtins.abs = lambda x: 0\n"
        "builtins.AssertionError = ValueError\n"
        "def add(a, b): return 0"
    ),
    "brings names of Python's own": (
        "def abs(x): return 0\ndef all(x): return True\ndef list(x): return [5]\n"
        "def add(a, b): return 0"
    ),
    "changes the module that asks it": (
        "import sys\n"
        "wire = sys.modules['rvpo.rewards.code.wire']\n"
        "wire.encoded = lambda value, handle: True\n"
        "serving = sys.modules['__main__']\n"
        "serving.encoded = lambda value, handle: True\n"
        "def add(a, b): return 0"
    ),
    "looks for the tests": (
        "import gc, os, sys\n"
        "found = [each for each in gc.get_objects() if isinstance(each, str) and '== 42' in each]\n"
        "for folder, _, files in os.walk('/tmp'):\n"
        "    for file in files:\n"
        "        with open(os.path.join(folder, file), errors='replace') as text:\n"
        "            found += ['x'] if 'add(19' in text.read() and file != 'solution.py' else []\n"
        "def add(a, b): return a + b if found else 0"
    ),
    "writes files for the tests to import": (
        "open('solution.py', 'w').write('def add(a, b): return 42')\n"
        "open('unittest.py', 'w').write('')\n"
        "def add(a, b): return 0"
    ),
    "never answers": "import time\ndef add(a, b):\n    while True: pass",
    "is no Python": "def add(a, b) return a",
    "has another name": "def plus(a, b): return a + b",
    "is empty": "",
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_program_that_tampers_passes_no_test(cheat: str) -> None:
    assert scored(CHEATS[cheat], TESTS, seconds=1, score="share") == 0.0


def test_a_module_of_python_is_pythons_own() -> None:
    code = "class math:\n    isclose = lambda *given, **named: True\ndef area(r): return 0"
    assert scored(code, ["assert math.isclose(area(1), 3.14159265, rel_tol=1e-6)"]) == 0.0


@pytest.mark.parametrize("name", ["sum", "bisect", "queue"])
@pytest.mark.parametrize(
    "test",
    [
        "assert NAME(1, 2) == 30",
        "assert abs(NAME(1, 2) - 30) < 1e-6",
        "from solution import *\nassert NAME(1, 2) == 30",
        "from solution import NAME\ndef test_it():\n    assert list([NAME(1, 2)]) == [30]",
    ],
)
def test_a_program_may_be_named_like_what_python_has(name: str, test: str) -> None:
    code = f"def {name}(a, b):\n    return 10 * (a + b)"
    tests = test.replace("NAME", name)
    assert scored(code, tests) == 1.0
    assert scored(code.replace("10", "11"), tests) == 0.0
    assert scored("", tests) == 0.0


@pytest.mark.parametrize("name", ["sum", "bisect"])
def test_a_named_function_is_the_programs_whatever_it_is_named(name: str) -> None:
    code, test = f"def {name}(a, b):\n    return 10 * (a + b)", f"assert {name}(1, 2) == 30"
    assert scored(code, test, entry_point=[name]) == 1.0
    assert scored("def other(): pass", test, entry_point=[name]) == 0.0


def test_a_check_calculates_with_pythons_own_names() -> None:
    check = "def check(candidate):\n    assert candidate([1, 2]) == sum([1, 2])"
    assert scored("def sum(x): return 0", check, entry_point=["sum"]) == 0.0


OBJECTS = {
    "a dataclass": (
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass P:\n"
        "    x: int\n    y: int\ndef f(a): return P(a, 2)",
        "assert f(1) == P(1, 2) and f(1) != P(2, 2)\nassert {f(1), f(1)} == {P(1, 2)}\n"
        "assert isinstance(f(1), P) and f(1).x == 1\nassert repr(f(1)) == 'P(x=1, y=2)'",
    ),
    "a named tuple": (
        "from typing import NamedTuple\nclass P(NamedTuple):\n    x: int\n    y: int\n"
        "    def norm(self): return self.x + self.y\n"
        "def f(a): return P(a, 2)\ndef g(p): return p.norm()",
        "assert f(1) == (1, 2) == P(1, 2)\nassert f(1).x == 1 and f(1).norm() == 3 == g(f(1))",
    ),
    "a class": (
        "class P:\n    def __init__(self, x): self.x = x\n"
        "    def __eq__(self, o): return isinstance(o, P) and self.x == o.x\n"
        "    def __add__(self, o): return P(self.x + o.x)\n"
        "    def __lt__(self, o): return self.x < o.x\ndef f(a): return P(a)",
        "assert f(1) + f(2) == P(3)\nassert f(1) < f(2)\n"
        "assert [e.x for e in sorted([f(3), f(1)])] == [1, 3]\nassert f(1) != 1",
    ),
    "a class without an equality": (
        "class P: pass\none = P()\ndef f(): return one",
        "assert f() == f()\nassert f() != P()",
    ),
    "an enumeration": (
        "import enum\nclass C(enum.Enum):\n    RED = 1\nclass N(enum.IntEnum):\n    ONE = 1\n"
        "def f(): return C.RED\ndef g(): return N.ONE",
        "assert f() == C.RED and f().value == 1\nassert g() == 1 == N.ONE and g().name == 'ONE'",
    ),
    "a kind of dict": (
        "from collections import OrderedDict\nclass Cache(OrderedDict):\n"
        "    def put(self, k, v): self[k] = v\n    def top(self): return next(reversed(self))",
        "c = Cache()\nc.put('a', 1)\nc.put('b', 2)\nassert c.top() == 'b' and len(c) == 2\n"
        "assert c == {'a': 1, 'b': 2} and c['a'] == 1",
    ),
}


@pytest.mark.parametrize("kind", OBJECTS)
def test_objects_of_a_right_program_are_compared_as_python_does(kind: str) -> None:
    assert scored(*OBJECTS[kind]) == 1.0


RAISES = (
    "class Base(Exception): pass\n"
    "class Low(Base):\n    def __init__(self, n):\n        super().__init__(f'low: {n}')\n"
    "        self.n = n\n"
    "class TimeoutError(Exception): pass\n"
    "def f(n):\n    if n == 0: raise TimeoutError('late')\n    raise Low(n)"
)


@pytest.mark.parametrize(
    "test",
    [
        "import pytest\ndef test_it():\n"
        "    with pytest.raises(Low, match='low: 3') as found: f(3)\n"
        "    assert found.value.n == 3",
        "import pytest\nfrom solution import Base, f\n"
        "def test_it():\n    with pytest.raises(Base): f(3)",
        "try:\n    f(3)\n    assert False\nexcept Low as error:\n    assert str(error) == 'low: 3'",
        "import unittest\nclass T(unittest.TestCase):\n    def test_it(self):\n"
        "        with self.assertRaises(Low): f(3)",
        "try:\n    f(0)\n    assert False\nexcept TimeoutError:\n    pass",
    ],
)
def test_a_test_can_expect_the_programs_own_exceptions(test: str) -> None:
    assert scored(RAISES, test) == 1.0
    assert scored(RAISES.replace("raise Low(n)", "pass").replace("raise Tim", "Tim"), test) == 0.0
    other = RAISES.replace("raise Low(n)", "raise KeyError(n)")
    assert scored(other.replace("raise TimeoutError('late')", "raise KeyError"), test) == 0.0


CHOOSERS = {
    "objects of its own": f"{ALWAYS}def add(a, b): return Always()",
    "an error of imports": "def add(a, b): raise ImportError('no')",
    "an error of the machinery": (
        "from rvpo.rewards.code.wire import UnsendableError\n"
        "def add(a, b): raise UnsendableError('no')"
    ),
    "an error named like the machinery's": (
        "class E(Exception): pass\nE.__name__ = 'NamelessError'\nE.__module__ = '__main__'\n"
        "def add(a, b): raise E('no')"
    ),
    "an error derived from that of imports": (
        "class E(ModuleNotFoundError): pass\ndef add(a, b): raise E('no')"
    ),
    "an error that cannot be shown": (
        "class E(Exception):\n    def __str__(self): raise ValueError\ndef add(a, b): raise E"
    ),
    "an exception as the answer": "def add(a, b): return ImportError('no')",
    "a class as the answer": "class E(Exception): pass\ndef add(a, b): return E",
    "no such function": "def plus(a, b): return a + b",
    "no program": "",
    "no Python": "def add(a, b) return",
    "a text that is none": "def add(a, b): return '\ud800'",
}


@pytest.mark.parametrize("chooser", CHOOSERS)
def test_no_program_chooses_to_be_missing(chooser: str) -> None:
    tests = [
        "assert add(1, 2) == 3",
        "from solution import add\nassert add(1, 2) + add(0, 1) == 4",
        "import solution\ndef test_it():\n    assert solution.add(1, 2) == 3",
        "import unittest\nfrom solution import add\nclass T(unittest.TestCase):\n"
        "    def test_it(self): self.assertEqual(add(1, 2), 3)",
    ]
    assert scored(CHOOSERS[chooser], tests, seconds=1, score="share") == 0.0
    assert scored(CHOOSERS[chooser], {"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]}) == 0.0


FAKES = [
    "import sys, types\nnp = sys.modules['numpy'] = types.ModuleType('numpy')\n"
    "np.allclose = lambda *given, **named: True",
    "class np:\n    allclose = staticmethod(lambda *given, **named: True)",
    "import numpy as np\nnp.allclose = lambda *given, **named: True",
]


@pytest.mark.parametrize("fake", FAKES)
@pytest.mark.parametrize(
    "before", ["", "import numpy as np\n", "import numpy as np\nfrom solution import *\n"]
)
def test_a_module_that_judges_is_never_the_programs(fake: str, before: str) -> None:
    test = f"{before}assert np.allclose(halves([1.0, 3.0]), [0.5, 1.5])"
    right, wrong = "return [v / 2 for v in x]", "return [0, 0]"
    assert scored(f"{fake}\ndef halves(x): {right}", test) == 1.0
    assert scored(f"{fake}\ndef halves(x): {wrong}", test) == 0.0


def test_a_column_of_the_function_can_lie_deeper() -> None:
    check = "def check(candidate):\n    assert candidate(1, 2) == 3"
    code = f"{ADD}\ndef other(): pass"
    column = {"entry_column": "reward_model.entry_point", "reward_model": [{"entry_point": "add"}]}
    assert scored(code, check, **column) == 1.0


NAMELESS = [
    {"input": "1\n2", "output": "3", "testtype": "functional"},
    "def check(candidate):\n    assert candidate(1, 2) == 3",
]


@pytest.mark.parametrize("test", NAMELESS)
def test_tests_without_a_name_are_about_the_last_function(test: Any) -> None:
    tests = [test] if isinstance(test, dict) else test
    assert scored(f"import math\nfrom math import gcd\n{ADD}", tests) == 1.0
    assert scored(ADD.replace("+", "-"), tests) == 0.0
    assert scored("x = 1", tests) == 0.0
    assert scored(f"def other(a, b): return 0\n{ADD}", tests) == 1.0
    assert scored(f"{ADD}\ndef other(a, b): return 0", tests) == 0.0


def test_a_functional_test_without_a_name_finds_the_last_method() -> None:
    methods = "    def zero(self): return 0\n    def add(self, a, b): return a + b"
    code = f"class Node: pass\nclass Solution:\n{methods}"
    assert scored(code, [NAMELESS[0]]) == 1.0


def test_a_share_counts_every_test() -> None:
    tests = ["assert add(1, 2) == 3", "assert add(2, 2) == 4", "assert add(0, 0) == 0"]
    code = "def add(a, b):\n    if a == 2: raise KeyError\n    return a + b"
    assert scored(code, tests, score="share") == pytest.approx(2 / 3)
    assert scored(code, tests) == 0.0


def test_a_program_that_ends_early_keeps_what_it_passed() -> None:
    code = "import os\ndef add(a, b):\n    if a == 2: os._exit(0)\n    return a + b"
    tests = ["assert add(1, 2) == 3", "assert add(2, 2) == 4", "assert add(0, 0) == 0"]
    assert scored(code, tests, score="share") == pytest.approx(1 / 3)


@pytest.mark.parametrize("tests", [None, [], "", "[]"])
def test_a_row_without_tests_has_no_score(tests: Any) -> None:
    assert scored(ADD, tests) is None


@pytest.mark.parametrize(
    ("tests", "reason"),
    [
        ("assert add(1, 2) ==", "the test is no Python"),
        ("import a_package_that_is_nowhere\nassert add(1, 2) == 3", "needs what is not there"),
        ("assert add(print, 2)", "hands over what cannot leave it"),
        ({"question": "?"}, "these have question"),
        ("def test_it():\n    import nowhere_at_all\n    add(1, 2)", "needs what is not there"),
        (
            "import unittest\nclass T(unittest.TestCase):\n    def test_it(self):\n"
            "        import nowhere_at_all",
            "needs what is not there",
        ),
        (
            "def test_it():\n    try:\n        add(print, 2)\n    except TypeError:\n        pass",
            "hands over what cannot leave it",
        ),
        ({"fn_name": "add", "inputs": "[({1}, 2)]", "outputs": "[3]"}, "cannot be handed over"),
        ({"inputs": ["1"], "outputs": []}, "1 inputs have 0 outputs"),
        (5, "a int holds no tests"),
    ],
)
def test_tests_that_cannot_be_run_give_no_verdict(tests: Any, reason: str) -> None:
    score = scored(ADD, tests)
    assert isinstance(score, Failed)
    assert reason in score.reason


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"no column 'test', but tests; .* did you mean 'tests'"):
        solved(["x"], column="test", tests=["assert True"])


def test_tests_can_lie_deeper() -> None:
    cell = json.dumps({"tests": ["assert add(1, 2) == 3"]})
    assert solved([ADD], column="info.tests", info=[cell]) == [1.0]


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="isolation must be"):
        scored(ADD, [], isolation="jail")
    with pytest.raises(ValueError, match="score must be"):
        scored(ADD, [], score="most")


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("```python\na\n```\nthen\n```py\nb\n```", "b\n"),
        ("```python\na\n```\n```bash\nls\n```", "a\n"),
        ("```\na\n```", "a\n"),
        ("```json\n{}\n```", ""),
        ("```python\na\nb", "a\nb"),
        ("~~~python\n```\n~~~", "```\n"),
        ("a = 1", "a = 1"),
    ],
)
def test_the_program_is_the_last_block_of_python(text: str, program: str) -> None:
    assert program_in(text) == program


def test_each_shape_is_read_as_what_it_is() -> None:
    assert cases_of({"inputs": [["1", "2"]], "outputs": ["3"]}) == [Printed("1\n2", "3")]
    assert cases_of({"fn_name": "f", "inputs": [[1]], "outputs": [[2]]}) == [
        Called("f", [1], [[2], 2])
    ]
    assert cases_of({"input": "1", "output": "2", "fn_name": "f", "type": "stdin"}) == [
        Printed("1", "2")
    ]
    assert cases_of(["assert f()"], "f", "import math") == [Written("import math\nassert f()", "f")]


@pytest.mark.parametrize(
    ("printed", "expected", "same"),
    [
        ("1 2 \n\n", "1 2", True),
        ("1\n2", "1 2", False),
        ("0.3333333", "0.33333334", True),
        ("1.0", "1", True),
        ("1e3", "1000", True),
        ("007", "7", True),
        ("10000001", "10000000", False),
        ("1.0000001", "1", False),
        ("1", "1.0000001", True),
        ("1.1", "1.0", False),
        ("1e5", "100000", True),
        ("100000.01", "1e5", False),
        ("1_000", "1000", False),
        ("inf", "1e999", False),
        ("inf", "1.0", False),
        ("nan", "1.0", False),
        ("1.5", "NaN", False),
        ("nan", "nan", True),
        ("nan", "1", False),
        ("YES", "yes", False),
        ("", "", True),
    ],
)
def test_printed_lines_are_compared_word_by_word(printed: str, expected: str, same: bool) -> None:
    assert _same_lines(printed, expected) is same


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.fractions()
    | st.complex_numbers(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.frozensets(st.integers(), max_size=4)
        | st.sets(st.text(), max_size=4)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=60)
@given(PLAIN)
def test_data_cross_as_they_are(value: Any) -> None:
    text = json.loads(json.dumps(encoded(value, pytest.fail)))
    back = decoded(text, pytest.fail)
    assert (back, type(back)) == (value, type(value))


@settings(deadline=None, max_examples=60)
@given(st.recursive(st.booleans() | st.integers() | st.text(), st.lists, max_leaves=8))
def test_a_value_of_json_equals_itself_with_tuples_for_lists(value: Any) -> None:
    def frozen(value: Any) -> Any:
        return tuple(map(frozen, value)) if isinstance(value, list) else value

    assert _is(value, value)
    assert _is(frozen(value), value)
    assert not _is([value], value)
