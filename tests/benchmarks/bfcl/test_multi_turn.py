"""Conversations of several turns: the published services, and verdicts that agree with the original
checker on calls that are right, wrong and missing."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rvpo.benchmarks.bfcl.bfcl import Bfcl, BfclConfig
from rvpo.benchmarks.bfcl.decode import storable
from rvpo.benchmarks.bfcl.distribution import Version, Wheel, find
from rvpo.benchmarks.bfcl.multi_turn import MOST_STEPS
from rvpo.benchmarks.bfcl.multi_turn_rows import MultiTurnRow, load_multi_turn
from rvpo.benchmarks.bfcl.rows import MULTI_TURN
from rvpo.benchmarks.bfcl.service_host import TOO_LONG, ServiceHost, check_services
from rvpo.benchmarks.bfcl.services import MODULES, Modules, Services, answers, failing, read_call
from rvpo.benchmarks.bfcl.worker import answer
from rvpo.benchmarks.bfcl.world import BfclWorld
from rvpo.environments import Session, ToolFailed, WorldReply
from rvpo.errors import ConfigError, RewardError
from rvpo.evaluate.measure import measure
from rvpo.evaluate.results import ResultFolder
from rvpo.rollout.encoder import Encoder
from rvpo.runtime.ranks import Ranks
from rvpo.thinking import NO_MODEL
from rvpo.types import Prompt, Sample
from tests.benchmarks.bfcl.plain_loop import Shown, played
from tests.fakes import FakeEngine, make_sample
from tests.tiny import tiny_tokenizer

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


HUGE: list[Call] = [("power", (), {"base": 10**9, "exponent": 10**9})]
SMALL: list[Call] = [("power", (), {"base": 2, "exponent": 3})]
EIGHT = ['{"result": 8}']


def hosted(work: Callable[[ServiceHost], Awaitable[None]], seconds: float = 20.0) -> None:
    async def asked() -> None:
        host = ServiceHost(find("v3"), seconds)
        try:
            await work(host)
        finally:
            await host.close()

    asyncio.run(asked())


def test_services_that_take_for_ever_end_the_call_and_not_the_evaluation() -> None:
    async def work(host: ServiceHost) -> None:
        assert await host.answers(SCENE, [HUGE]) is None
        truth = [["power(base=2, exponent=3)"]]
        assert await host.failing(SCENE, [HUGE], truth) == ("error", TOO_LONG)
        assert await host.answers(SCENE, [SMALL]) == EIGHT

    hosted(work, seconds=1.0)


def test_nobody_hears_the_answer_to_a_question_that_was_given_up() -> None:
    async def work(host: ServiceHost) -> None:
        assert await host.answers(SCENE, [[]]) == []
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(host.answers(SCENE, [HUGE]), 0.3)
        assert await host.answers(SCENE, [SMALL]) == EIGHT

    hosted(work)


def test_questions_at_the_same_time_have_their_own_answers() -> None:
    async def work(host: ServiceHost) -> None:
        wanted = [("add", (), {"a": n, "b": 1}) for n in range(6)]
        found = await asyncio.gather(*(host.answers(SCENE, [[call]]) for call in wanted[:3]))
        found += await asyncio.gather(*(host.answers(SCENE, [[call]]) for call in wanted[3:]))
        assert found == [[json.dumps({"result": n + 1})] for n in range(6)]

    hosted(work)


def test_a_worker_that_something_else_ends_blames_no_call() -> None:
    async def work(host: ServiceHost) -> None:
        asked = asyncio.ensure_future(host.answers(SCENE, [HUGE]))
        while not host._every:
            await asyncio.sleep(0.01)
        host._every[0].kill()
        with pytest.raises(ToolFailed, match="ended by signal 9"):
            await asked
        assert await host.answers(SCENE, [SMALL]) == EIGHT

    hosted(work)


def test_a_worker_that_ends_while_nobody_asks_costs_nothing() -> None:
    async def work(host: ServiceHost) -> None:
        assert await host.answers(SCENE, [[]]) == []
        (worker,) = host._every
        worker.kill()
        await worker.wait()
        assert await host.answers(SCENE, [SMALL]) == EIGHT

    hosted(work)


def test_services_that_do_not_run_are_one_sentence(tmp_path: Path) -> None:
    broken = Wheel("v3", tmp_path, None)
    wanted = r"do not run here .*gorilla_file_system.py is not there"
    with pytest.raises(ConfigError, match=rf"bfcl.categories: .*{wanted}.*leave the multi_turn"):
        check_services(broken)

    async def ask() -> None:
        host = ServiceHost(broken)
        with pytest.raises(ToolFailed, match=wanted):
            await host.answers(SCENE, [[]])
        await host.close()

    asyncio.run(ask())


def data_in(names: Mapping[str, Any]) -> dict[str, Any]:
    """What modules and their classes hold that is no code."""
    found: dict[str, Any] = {}
    for name, value in names.items():
        if name.startswith("__") or isinstance(value, ModuleType):
            continue
        if isinstance(value, type):
            if value.__module__.startswith("bfcl_eval"):
                found[name] = data_in(vars(value))
        elif not callable(value):
            found[name] = repr(value)
    return found


def test_a_question_finds_the_services_as_if_nothing_had_been_asked_before() -> None:
    known = Modules(find("v3").source)
    for name in MODULES:
        known.service(name)
    before = {name: data_in(names) for name, names in known._known.items()}
    chance = random.Random(0)
    values = ["a", "AAPL", "document", "*", -1, 3, [1, 2], ["AAPL"], {"a": 1}, True, 2.5]
    changed = 0
    for row in rows("v3")[200::37]:
        scene = {**row.scene, "long": True}
        methods = Services(known.anew(), scene)._methods
        calls = [
            (name, (), {each: chance.choice(values) for each in signature(method).parameters})
            for name, method in chance.choices(list(methods.items()), k=40)
        ]
        asked = {"scene": scene, "turns": [calls], "wanted": None}
        assert answer(known, asked) == answer(known, asked)
        answers(other := known.anew(), scene, [calls])
        changed += any(data_in(names) != before[name] for name, names in other._known.items())
    assert {name: data_in(names) for name, names in known._known.items()} == before
    assert changed  # some of them do write


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
    return _read(json.dumps(given))


@cache
def _read(settings: str) -> Bfcl:
    return BfclConfig.model_validate(json.loads(settings)).read(lambda words: None)


def written(call: Call) -> str:
    name, places, named = call
    values = {**named, **{f"place_{n}": each for n, each in enumerate(places)}}
    return f"<tool_call>{json.dumps({'name': name, 'arguments': values})}</tool_call>"


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


TEMPLATE = (
    "{% for t in tools or [] %}{{ t.function.name }} {% endfor %}{% for m in messages %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}{{ m.tool_calls | tojson if m.tool_calls }}<|im_end|>"
    "\n{% endfor %}<|im_start|>assistant\n"
)


def encoder(context: int = 10**6) -> Encoder:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = TEMPLATE
    return Encoder(tokenizer, (tokenizer.eos_token_id,), context, len(tokenizer))


def evaluated(exam: Bfcl, folder: Path, rule: Any, context: int = 10**6) -> Any:
    return measure(
        exam,
        FakeEngine(rule),
        ResultFolder(folder),
        Ranks.join(),
        weights={},
        seed=0,
        say=lambda words: None,
        encoder=encoder(context),
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
    longest = max(len(encoder().encode(prompt)) for prompt in exam.prompts)
    room = longest + exam.config.max_completion_tokens
    summary = evaluated(exam, tmp_path, player, context=room)
    assert summary.metrics["multi_turn_base"] == 0
    assert len(player.asked) < 6
    lines = kept(tmp_path)
    assert {line["reason"] for line in lines} == {"broken_off"}
    assert all(f"do not fit in the context of {room}" in line["detail"] for line in lines)


class Erring:
    """Takes turns as models do that are no good: what it says follows from what it is shown, and
    for some questions is right, or never ends."""

    def __init__(self, exam: Bfcl, seed: int) -> None:
        self.rows = exam.rows
        self.seed = seed
        self.asked: dict[str, list[Shown]] = {}

    def __call__(self, prompt: Prompt) -> Sample:
        shown = (list(prompt.messages), prompt.tools)
        self.asked.setdefault(prompt.id, []).append(shown)
        text, is_cut = self.says(prompt.id, shown)
        return make_sample(prompt, text, finish_reason="length" if is_cut else "stop")

    def says(self, id: str, shown: Shown) -> tuple[str, bool]:
        messages, row = shown[0], self.rows[id]
        assert isinstance(row, MultiTurnRow)
        turn = sum(message["role"] == "user" for message in messages) - 1
        asked = messages[-1]["role"] == "user"
        truth = row.ground_truth[turn] if asked and turn < len(row.ground_truth) else ()
        right = "".join(written(read_call(text)) for text in truth)
        habit = random.Random(f"{self.seed} {id}").choice(
            ["right", "right", "mixed", "mixed", "endless"]
        )
        if habit == "right":
            return right or "It is done.", False
        if habit == "endless":
            return written(("nothing", (), {})), False
        drawn = random.Random(f"{self.seed} {id} {len(messages)}")
        said = drawn.choice(
            [right, right, "", "It is done.", "It is done.", "It is done.", *ERRORS]
        )
        return said, drawn.random() < 0.2


ERRORS = (
    "<tool_call>{bad",
    "<think>So, so",
    "<think>So.</think>" + written(("ls", (), {})),
    "I look." + written(("cd", (), {"folder": "document"})) + written(("pwd", (), {"a": True})),
    json.dumps([{"name": "ls", "arguments": {}}, {"name": "pwd", "parameters": {}}]),
    '```json\n{"name": "cd", "arguments": {"folder": "temp"}}\n```',
    '{"name": "cd", "arguments": {"folder": NaN}}',
    '{"name": "echo", "arguments": "{\\"content\\": \\"x\\"}"}',
    '{"name": "cd", "arguments": {"folder": ' + 900 * "[" + 900 * "]" + "}}",
    written(("__import__", (), {"name": "os"})),
    written(("ls.__class__", (), {})),
    written(("cd", (), {"self": 1})),
    written(("exit", (), {})),
    written(("power", (), {"base": 10, "exponent": 5000})),
)


@pytest.mark.parametrize(("version", "context"), [("v3", 10**6), ("v4", 12_000)])
def test_what_is_asked_and_graded_is_what_a_plain_loop_asks_and_grades(
    version: Version, context: int, tmp_path: Path
) -> None:
    exam = benchmark(version=version, categories=MULTI_TURN, limit=20, max_completion_tokens=99)
    policy, writer = Erring(exam, seed=3), encoder(context)
    summary = evaluated(exam, tmp_path, policy, context)
    lines = {line["id"]: line for line in kept(tmp_path)}
    outcomes = Counter(line["reason"] for line in lines.values())

    def has_room(shown: Shown) -> bool:
        prompt = Prompt(id="", messages=tuple(shown[0]), tools=tuple(shown[1]))
        return len(writer.encode(prompt)) <= context - 99

    for prompt in exam.prompts:
        row, id = exam.rows[prompt.id], prompt.id
        assert isinstance(row, MultiTurnRow)

        def said(shown: Shown, id: str = id) -> str:
            return NO_MODEL.split(policy.says(id, shown)[0]).answer

        asked, messages, is_right = played(row, modules(version).anew(), said, has_room)
        assert policy.asked[id] == asked
        assert lines[id]["conversation"] == json.loads(json.dumps(storable(messages)))
        assert lines[id]["valid"] is is_right
    assert outcomes[None]
    assert outcomes["broken_off"]
    assert len(outcomes) > 3
    assert any(row.added for row in exam.rows.values() if isinstance(row, MultiTurnRow))
    assert summary.scores["accuracy"].coverage is None


@dataclass(frozen=True)
class Failing(Bfcl):
    """The services of some conversations fail at the first try."""

    faults: dict[str, Exception] = field(default_factory=dict)

    def open(self) -> BfclWorld:
        return FailingWorld(self)


class FailingWorld(BfclWorld):
    def __init__(self, exam: Failing) -> None:
        super().__init__(exam._conversations, exam.wheel)
        self.faults = exam.faults

    def session(self, prompt: Prompt, seed: int) -> Session:
        session = super().session(prompt, seed)
        if prompt.id not in self.faults:
            return session
        return FailingSession(session, self.faults)


class FailingSession:
    def __init__(self, session: Session, faults: dict[str, Exception]) -> None:
        self.session = session
        self.state = session.state
        self.faults = faults
        self.begin = session.begin
        self.close = session.close

    async def answer(self, message: Mapping[str, Any]) -> WorldReply:
        reply = await self.session.answer(message)
        if reply.messages and self.faults:
            raise self.faults.popitem()[1]
        return reply


def failing_exam(*faults: Exception, limit: int, **settings: Any) -> Failing:
    exam = benchmark(categories=["multi_turn_base"], limit=limit, **settings)
    ids = [prompt.id for prompt in exam.prompts]
    parts = (exam.config, exam.prompts, exam.rows, exam.shown, exam.wheel)
    return Failing(*parts, faults=dict(zip(ids, faults, strict=False)))


def test_services_that_fail_cost_their_conversation_alone_and_it_is_played_again(
    tmp_path: Path,
) -> None:
    settings = {"limit": 3, "repeats": 2, "temperature": 1.0, "at_k": [1, 2]}
    exam = failing_exam(ToolFailed("it hung"), OSError("gone"), **settings)
    first = evaluated(
        exam, tmp_path, Player(whole := benchmark(categories=["multi_turn_base"], **settings))
    )
    lost = [line for line in kept(tmp_path) if line["valid"] is None]
    assert {line["reason"] for line in lost} == {"failed"}
    assert {line["detail"] for line in lost} == {
        "tool_failed: it hung",
        "world_broken: OSError: gone",
    }
    score = first.scores["accuracy"]
    assert (score.count, score.coverage) == (4, pytest.approx(4 / 6))
    assert score.possible == (
        pytest.approx(score.value * 4 / 6),
        pytest.approx((score.value * 4 + 2) / 6),
    )
    assert first.scores["pass@2"].count == 2
    again = Player(whole)
    second = evaluated(exam, tmp_path, again)
    assert {prompt.id for prompt in again.asked} == {line["id"] for line in lost}
    assert second.metrics == evaluated(whole, tmp_path / "unharmed", Player(whole)).metrics


def test_services_that_fail_most_conversations_end_the_evaluation_with_a_sentence(
    tmp_path: Path,
) -> None:
    exam = failing_exam(*[ToolFailed("it hung")] * 3, limit=4)
    with pytest.raises(
        RewardError, match=r"world of its conv.* 75% .*\(mostly tool_failed: it hung\)"
    ):
        evaluated(exam, tmp_path, Player(exam))
