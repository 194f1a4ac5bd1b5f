"""Conversations of several turns: the published services, and verdicts that agree with the original
checker on calls that are right, wrong and missing."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rvpo.benchmarks.bfcl.bfcl import Bfcl, BfclConfig
from rvpo.benchmarks.bfcl.distribution import Version, Wheel, find
from rvpo.benchmarks.bfcl.multi_turn import MOST_STEPS
from rvpo.benchmarks.bfcl.multi_turn_rows import MultiTurnRow, load_multi_turn
from rvpo.benchmarks.bfcl.rows import MULTI_TURN
from rvpo.benchmarks.bfcl.service_host import TOO_LONG, ServiceHost
from rvpo.benchmarks.bfcl.services import Modules, Services, answers, failing, read_call
from rvpo.errors import ConfigError
from rvpo.evaluate.measure import measure
from rvpo.evaluate.results import ResultFolder
from rvpo.runtime.ranks import Ranks
from rvpo.types import Prompt
from tests.fakes import FakeEngine

Call = tuple[str, Sequence[Any], Mapping[str, Any]]


@cache
def rows(version: Version) -> list[MultiTurnRow]:
    return load_multi_turn(find(version), MULTI_TURN)


@cache
def modules(version: Version) -> Modules:
    return Modules(find(version).source)


def truth(row: MultiTurnRow) -> list[list[Call]]:
    return [[read_call(text) for text in turn] for turn in row.ground_truth]


@pytest.fixture(params=["v3", "v4"])
def original(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Version, ModuleType]]:
    """The original checker, imported from the wheel; of its package nothing stays imported."""
    wheel = find(request.param)
    sys.path.insert(0, str(wheel.path))
    before = set(sys.modules)
    try:
        package = "bfcl_eval.eval_checker.multi_turn_eval"
        yield request.param, importlib.import_module(f"{package}.multi_turn_checker")
    finally:
        sys.path.remove(str(wheel.path))
        for name in set(sys.modules) - before:
            if name.startswith("bfcl_eval"):
                del sys.modules[name]


def spelt(call: Call) -> str:
    name, places, named = call
    values = [repr(value) for value in places] + [
        f"{key}={value!r}" for key, value in named.items()
    ]
    return f"{name}({', '.join(values)})"


def verdict_of(checker: ModuleType, row: MultiTurnRow, turns: list[list[Call]], tag: str) -> Any:
    """The original's verdict; it keeps services by the model's name, so that each needs its own."""
    entry = {
        "initial_config": row.scene["config"],
        "involved_classes": row.scene["classes"],
        "id": row.id,
    }
    decoded = [[[spelt(call)] for call in turn] for turn in turns]
    found = checker.multi_turn_checker(
        decoded, [list(turn) for turn in row.ground_truth], entry, row.category, tag
    )
    return found["valid"]


def broken(turns: list[list[Call]], how: int) -> list[list[Call]]:
    """The calls with one left out, turns taken together, a value changed or a turn left out."""
    changed = [list(turn) for turn in turns]
    place = how % len(changed)
    match how % 5:
        case 0:
            changed[place] = changed[place][:-1]
        case 1:
            changed[0], changed[-1] = changed[-1], changed[0]
        case 2:
            changed[place] = [(name, [*p, "x"], n) for name, p, n in changed[place]]
        case 3:
            changed[place] = []
        case 4:
            changed[place] = [*changed[place], ("ls", [], {}), ("no_such_function", [], {"a": 1})]
    return changed


def test_verdicts_are_those_of_the_original(original: tuple[Version, ModuleType]) -> None:
    version, checker = original
    counted = {True: 0, False: 0}
    for number, row in enumerate(rows(version)[::23]):
        wanted = truth(row)
        if len(wanted) != len(row.turns):
            continue
        for how, turns in enumerate([wanted, broken(wanted, number), broken(wanted, number + 1)]):
            own = failing(modules(version), row.scene, turns, wanted) is None
            assert own == verdict_of(checker, row, turns, f"m{number}_{how}"), (row.id, how)
            counted[own] += 1
    assert min(counted.values()) > 20


@pytest.mark.parametrize("version", ["v3", "v4"])
def test_the_wanted_calls_are_right_and_none_are_wrong(version: Version) -> None:
    every = rows(version)
    assert len(every) == 800
    for row in every[::40]:
        wanted = truth(row)
        assert failing(modules(version), row.scene, wanted, wanted) is None
        assert failing(modules(version), row.scene, [[] for _ in wanted], wanted) is not None


def test_a_row_whose_turns_are_not_those_of_its_truth_is_wrong_as_in_the_original() -> None:
    odd = [row for row in rows("v3") if len(row.turns) != len(row.ground_truth)]
    assert [row.id for row in odd] == ["multi_turn_base_154"]
    found = failing(modules("v3"), odd[0].scene, [[] for _ in odd[0].turns], truth(odd[0]))
    assert found is not None
    assert found[0] == "wrong_count"


def test_functions_that_are_missed_come_in_their_turn_and_those_left_out_never() -> None:
    missing = next(row for row in rows("v3") if row.id == "multi_turn_miss_func_0")
    assert "sort" not in {each["name"] for each in missing.functions}
    assert [each["name"] for each in missing.added[3]] == ["sort"]
    assert missing.turns[3] == ()
    assert missing.ground_truth[2] == ()
    without = next(row for row in rows("v4") if row.id == "multi_turn_base_0")
    assert "cp" not in {each["name"] for each in without.functions}


SCENE = {"classes": ["MathAPI", "TicketAPI"], "config": {"TicketAPI": {}}, "long": False}


def test_a_service_keeps_nothing_of_the_values_that_it_is_given() -> None:
    """The original reads each call anew; a list that a service adds to is another's no more."""
    row = next(row for row in rows("v3") if row.id == "multi_turn_long_context_90")
    wanted = truth(row)
    assert failing(modules("v3"), row.scene, wanted, wanted) is None
    assert wanted == truth(row)


def test_what_a_model_writes_is_no_code() -> None:
    services = Services(modules("v3"), SCENE)
    for name in ("__import__", "eval", "_load_scenario", "TicketAPI", "exec", "print"):
        assert services.call((name, (), {})) == (
            f"Error during execution: name '{name}' is not defined"
        )
    assert "is not allowed" in services.call(("exit", (), {}))
    said = services.call(("create_ticket", (), {"title": "__import__('os').getpid()"}))
    assert str(os.getpid()) not in said


@settings(deadline=None, max_examples=40)
@given(
    name=st.sampled_from(["add", "mean", "logarithm", "create_ticket", "nothing"]),
    values=st.dictionaries(
        st.sampled_from(["a", "b", "numbers", "value", "base", "title", "x"]),
        st.one_of(st.none(), st.integers(-9, 9), st.text(max_size=5), st.lists(st.integers(0, 3))),
    ),
)
def test_every_call_has_an_answer(name: str, values: dict[str, Any]) -> None:
    (said,) = answers(modules("v3"), SCENE, [[(name, (), values)]])
    assert isinstance(said, str)


def test_services_that_take_for_ever_end_the_call_and_not_the_evaluation() -> None:
    huge = [("power", (), {"base": 10**9, "exponent": 10**9})]
    with ServiceHost(find("v3"), seconds=1.0) as host:
        assert host.answers(SCENE, [huge]) is None
        assert host.failing(SCENE, [huge], [["power(base=2, exponent=3)"]]) == ("error", TOO_LONG)
        assert host.answers(SCENE, [[("power", (), {"base": 2, "exponent": 3})]]) == [
            '{"result": 8}'
        ]


def test_services_that_do_not_run_are_one_sentence(tmp_path: Path) -> None:
    with (
        ServiceHost(Wheel("v3", tmp_path, None)) as host,
        pytest.raises(ConfigError, match=r"do not run here .*gorilla_file_system.py is not there"),
    ):
        host.answers(SCENE, [[]])


def test_only_the_published_wheel_is_run(tmp_path: Path) -> None:
    folder = Wheel("v3", tmp_path, None)
    with pytest.raises(ConfigError, match=r"run code that is in the wheel.* give that file"):
        load_multi_turn(folder, ["multi_turn_base"])
    assert load_multi_turn(folder, []) == []


def test_toolrl_has_no_form_for_several_turns() -> None:
    with pytest.raises(ValidationError, match="multi_turn_base has no form in format=toolrl"):
        BfclConfig.model_validate({"categories": ["multi_turn_base"], "format": "toolrl"})


def benchmark(**settings: Any) -> Bfcl:
    given = {"categories": ["multi_turn_base", "simple_python"], "limit": 4, **settings}
    return BfclConfig.model_validate(given).read(lambda words: None)


def written(call: Call) -> str:
    name, places, named = call
    assert not places
    return f"<tool_call>{json.dumps({'name': name, 'arguments': named})}</tool_call>"


class Player:
    """Answers each turn of a conversation by the calls of the ground truth, and then by words."""

    def __init__(self, benchmark: Bfcl) -> None:
        self.benchmark = benchmark
        self.asked: list[Prompt] = []

    def __call__(self, prompt: Prompt) -> str:
        self.asked.append(prompt)
        row = self.benchmark.rows[prompt.id]
        if not isinstance(row, MultiTurnRow) or prompt.messages[-1]["role"] == "tool":
            return "It is done."
        turn = sum(message["role"] == "user" for message in prompt.messages) - 1
        return "".join(written(read_call(text)) for text in row.ground_truth[turn])


def evaluated(exam: Bfcl, folder: Path, rule: Any, **fields: Any) -> Any:
    return measure(
        exam,
        FakeEngine(rule),
        ResultFolder(folder),
        Ranks.join(),
        weights={},
        seed=0,
        say=lambda words: None,
        **fields,
    )


def kept(folder: Path) -> list[dict[str, Any]]:
    """The rows that an evaluation wrote."""
    files = sorted((folder / "samples").iterdir())
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]


def by_name_only(row: Any) -> bool:
    return isinstance(row, MultiTurnRow) and all(
        not read_call(text)[1] for turn in row.ground_truth for text in turn
    )


def test_a_conversation_is_asked_turn_by_turn_and_answered_by_its_services(tmp_path: Path) -> None:
    exam = benchmark(limit=8)
    player = Player(exam)
    playable = {n for n, row in exam.rows.items() if by_name_only(row)}
    assert playable
    known = [prompt for prompt in exam.prompts if prompt.id in playable or "simple" in prompt.id]
    exam = type(exam)(exam.config, tuple(known), exam.rows, exam.shown, exam.wheel)
    summary = evaluated(exam, tmp_path, player)
    assert summary.metrics["multi_turn_base"] == 1
    assert summary.metrics["simple_python"] == 0
    several = [line for line in kept(tmp_path) if line["category"] == "multi_turn_base"]
    row = max(several, key=lambda line: len(line["conversation"]))
    roles = [message["role"] for message in row["conversation"]]
    assert roles[0] == "assistant"
    assert {"tool", "user", "assistant"} == set(roles)
    assert row["completion"] == "It is done."
    assert [message["role"] for message in row["prompt"]] == ["user"]
    # What is kept is not asked again.
    again = Player(exam)
    assert evaluated(exam, tmp_path, again).metrics == summary.metrics
    assert not again.asked


def test_a_conversation_that_would_never_end_is_broken_off_and_wrong(tmp_path: Path) -> None:
    exam = benchmark(categories=["multi_turn_base"], limit=1)
    call = written(("nothing", (), {}))
    asked = []

    def endless(prompt: Prompt) -> str:
        asked.append(prompt)
        return call

    summary = evaluated(exam, tmp_path, endless)
    assert summary.metrics["multi_turn_base"] == 0
    assert len(asked) == MOST_STEPS + 1


def test_a_prompt_that_grows_too_long_breaks_its_conversation_off(tmp_path: Path) -> None:
    exam = benchmark(categories=["multi_turn_base"], limit=2)
    player = Player(exam)
    summary = evaluated(exam, tmp_path, player, refusal=lambda prompt: "too long")
    assert summary.metrics["multi_turn_base"] == 0
    assert len(player.asked) == 2
    lines = kept(tmp_path)
    assert {(line["reason"], line["detail"]) for line in lines} == {("broken_off", "too long")}
