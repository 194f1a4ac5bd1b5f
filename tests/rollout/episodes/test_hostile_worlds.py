"""Whatever a world does, a rollout ends, its reasons are counted, and the others are untouched."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from rvpo.environments import ToolFailed, WorldReply
from rvpo.episode import Ending, Episode
from rvpo.errors import EngineError
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.episodes import engine as episode_engine
from rvpo.types import Message, Rollout
from tests.fakes import make_prompt
from tests.rollout.episodes.scripted import (
    ScriptedSession,
    ScriptedWorld,
    encoder_of,
    engine_of,
)

MORE = WorldReply(messages=({"role": "user", "content": "More?"},))
SECONDS = 0.2


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("it does not tell")


def raising(error: BaseException) -> Callable[..., Awaitable[Any]]:
    async def work(*told: object) -> Any:
        raise error

    return work


async def hanging(*told: object) -> Any:
    await asyncio.Event().wait()


async def clinging(*told: object) -> Any:
    """Will not be cancelled."""
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if asyncio.get_running_loop().is_closed():
                raise


def giving(value: Any) -> Callable[..., Awaitable[Any]]:
    async def work(*told: object) -> Any:
        return value

    return work


def told(role: Any = "user", content: Any = "More?") -> WorldReply:
    return WorldReply(messages=({"role": role, "content": content},))


FAULTS: dict[str, tuple[Callable[..., Awaitable[Any]], Ending]] = {
    "a tool failed": (raising(ToolFailed("the disk is full")), "tool_failed"),
    "an error": (raising(ValueError("no")), "world_broken"),
    "an error that does not tell": (raising(Mute()), "world_broken"),
    "leaves Python": (raising(SystemExit(3)), "world_broken"),
    "Ctrl-C of its own": (raising(KeyboardInterrupt()), "world_broken"),
    "cancels itself": (raising(asyncio.CancelledError()), "world_broken"),
    "GeneratorExit": (raising(GeneratorExit()), "world_broken"),
    "StopIteration": (raising(StopIteration(1)), "world_broken"),
    "a group of errors": (
        raising(BaseExceptionGroup("two", [SystemExit(), ValueError()])),
        "world_broken",
    ),
    "a timeout of its own": (raising(TimeoutError()), "world_broken"),
    "hangs": (hanging, "world_broken"),
    "clings": (clinging, "world_broken"),
    "no reply": (giving(None), "world_broken"),
    "a text": (giving("More?"), "world_broken"),
    "no text": (giving(told(content=3)), "world_broken"),
    "no role": (giving(told(role=None)), "world_broken"),
    "speaks as the policy": (giving(told(role="assistant")), "world_broken"),
    "half a letter": (giving(told(content="\ud800")), "world_broken"),
    "no messages": (giving(WorldReply(messages=(3,))), "world_broken"),  # type: ignore[arg-type]
}


@pytest.fixture(scope="module")
def encoder(tiny_model: Path) -> Encoder:
    return encoder_of(tiny_model)


def rolled(
    encoder: Encoder,
    faulty: ScriptedSession,
    rows: int = 3,
    said: list[str] | None = None,
    **settings: Any,
) -> tuple[Rollout, ScriptedWorld]:
    """A rollout of whose worlds the second one is faulty; the others ask once for more."""

    def opened(number: int) -> ScriptedSession:
        if number == 1:
            return faulty
        replies = iter([MORE, WorldReply()])

        async def answer(message: Message) -> WorldReply:
            return next(replies)

        return ScriptedSession(answer)

    world = ScriptedWorld(opened)
    say = (said if said is not None else []).append
    engine = engine_of(
        encoder,
        world,
        lambda row, turn: f"{row}.{turn}<|im_end|>",
        say,
        seconds=SECONDS,
        **settings,
    )
    try:
        return engine.generate([make_prompt()], rows, seed=0), world
    finally:
        engine.close()


def episodes(rollout: Rollout) -> list[Episode]:
    return [sample.episode for sample in rollout.samples if sample.episode is not None]


def check_others(rollout: Rollout, world: ScriptedWorld) -> None:
    every = episodes(rollout)
    assert [every[row].ending for row in (0, 2)] == ["answered", "answered"]
    assert [len(every[row].turns) for row in (0, 2)] == [3, 3]
    assert [rollout.samples[row].text for row in (0, 2)] == ["0.1", "2.1"]
    assert [session.closed for session in world.sessions] == [1, 1, 1]
    assert world.is_closed


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_an_answer_costs_its_episode_alone(fault: str, encoder: Encoder) -> None:
    work, ending = FAULTS[fault]
    rollout, world = rolled(encoder, ScriptedSession(work))
    check_others(rollout, world)
    broken = episodes(rollout)[1]
    assert broken.ending == ending
    assert broken.missing.startswith(f"{ending}: ")
    assert broken.reason
    assert rollout.samples[1].text == "1.0"


def test_the_reason_of_a_world_that_hangs_has_the_seconds_of_the_settings(encoder: Encoder) -> None:
    rollout, _ = rolled(encoder, ScriptedSession(hanging))
    assert episodes(rollout)[1].reason == f"did not answer a turn in {SECONDS:g} s"


@pytest.mark.parametrize("kind", [ToolFailed, OSError])
def test_a_reason_is_one_short_line_that_everything_can_write(
    kind: type[Exception], encoder: Encoder
) -> None:
    error = kind("down \udfff\x00\x1b[31m\nagain \N{GRINNING FACE} " + "z" * 10**6)
    rollout, _ = rolled(encoder, ScriptedSession(raising(error)))
    reason = episodes(rollout)[1].reason
    name = "" if kind is ToolFailed else "OSError: "
    assert reason.startswith(f"{name}down [31m again \N{GRINNING FACE} zzz")
    assert reason.endswith("z ...")
    assert len(reason) <= 1010
    assert reason.isprintable()


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in ("a text", "clings")])
def test_a_fault_in_the_beginning_ends_the_episode_behind_its_first_turn(
    fault: str, encoder: Encoder
) -> None:
    work, ending = FAULTS[fault]

    async def begin() -> Sequence[Message]:
        found = await work()
        return found.messages if isinstance(found, WorldReply) else found  # type: ignore[no-any-return]

    rollout, world = rolled(encoder, ScriptedSession(giving(MORE), begins=begin))
    check_others(rollout, world)
    assert episodes(rollout)[1].ending == ending
    assert world.sessions[1].heard == []
    assert rollout.samples[1].text == "1.0"


@pytest.mark.parametrize(
    "fault", [fault for fault in FAULTS if FAULTS[fault][0].__name__ != "work"]
)
def test_a_world_that_will_not_close_holds_up_nobody(fault: str, encoder: Encoder) -> None:
    said: list[str] = []
    faulty = ScriptedSession(giving(WorldReply()), closes=FAULTS[fault][0])
    rollout, world = rolled(encoder, faulty, said=said)
    check_others(rollout, world)
    assert episodes(rollout)[1].ending == "answered"
    (line,) = said
    assert "failed to close" in line


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), KeyboardInterrupt()])
def test_an_error_of_closing_spoils_no_score(error: BaseException, encoder: Encoder) -> None:
    rollout, world = rolled(encoder, ScriptedSession(giving(WorldReply()), closes=raising(error)))
    check_others(rollout, world)
    assert episodes(rollout)[1].missing == ""


def test_a_world_that_cannot_be_opened_breaks_its_episode_alone(encoder: Encoder) -> None:
    def opened(number: int) -> ScriptedSession:
        if number == 1:
            raise SystemExit("no room")
        return ScriptedSession(giving(WorldReply()))

    world = ScriptedWorld(opened)
    engine = engine_of(encoder, world, lambda row, turn: "Hm.<|im_end|>")
    # The number of a world is counted by those that were opened: all behind the first one fail.
    found = episodes(engine.generate([make_prompt()], 3, seed=0))
    engine.close()
    assert [each.ending for each in found] == ["answered", "world_broken", "world_broken"]
    assert found[1].reason == "SystemExit: no room"


def test_a_state_that_cannot_be_told_breaks_the_episode(encoder: Encoder) -> None:
    class Stateless(ScriptedSession):
        @property
        def state(self) -> Any:  # type: ignore[override]
            raise ValueError("lost")

        @state.setter
        def state(self, value: Any) -> None:
            pass

    rollout, world = rolled(encoder, Stateless(giving(WorldReply())))
    check_others(rollout, world)
    assert episodes(rollout)[1].missing == "world_broken: ValueError: lost"


def test_a_beginning_that_leaves_no_room_breaks_the_episode(encoder: Encoder) -> None:
    long = ({"role": "user", "content": "x" * 3000},)
    rollout, world = rolled(encoder, ScriptedSession(giving(WorldReply()), begins=giving(long)))
    check_others(rollout, world)
    assert "2096 fit" in episodes(rollout)[1].reason
    assert rollout.samples[1].prompt.messages == make_prompt().messages


@pytest.mark.parametrize("error", [KeyboardInterrupt(), EngineError("out of memory"), SystemExit()])
@pytest.mark.parametrize("turn", [0, 1])
def test_worlds_are_closed_when_the_engine_fails(
    error: BaseException, turn: int, encoder: Encoder
) -> None:
    def rule(row: int, at: int) -> str:
        if row == 2 and at == turn:
            raise error
        return "Hm.<|im_end|>"

    world = ScriptedWorld(lambda number: ScriptedSession(giving(MORE)))
    engine = engine_of(encoder, world, rule)
    with pytest.raises(type(error)):
        engine.generate([make_prompt()], 4, seed=0)
    assert [session.closed for session in world.sessions] == [1, 1, 1, 1]
    engine.close()


def test_an_error_of_who_listens_ends_the_rollout_and_the_worlds(encoder: Encoder) -> None:
    def listen(row: int, sample: object) -> None:
        raise ZeroDivisionError

    world = ScriptedWorld(lambda number: ScriptedSession(giving(WorldReply())))
    engine = engine_of(encoder, world, lambda row, turn: "Hm.<|im_end|>")
    with pytest.raises(ZeroDivisionError):
        engine.generate([make_prompt()], 4, seed=0, on_sample=listen)
    assert all(session.closed == 1 for session in world.sessions)
    engine.close()


def test_what_leaves_python_beside_a_session_ends_the_run_with_a_reason(encoder: Encoder) -> None:
    tasks = []

    async def answer(message: Message) -> WorldReply:
        tasks.append(asyncio.ensure_future(raising(SystemExit(1))()))
        await asyncio.sleep(3600)
        return MORE

    world = ScriptedWorld(lambda number: ScriptedSession(answer))
    engine = engine_of(encoder, world, lambda row, turn: "Hm.<|im_end|>")
    with pytest.raises(EngineError, match="left Python"):
        engine.generate([make_prompt()], 1, seed=0)
    engine.close()


@pytest.fixture
def impatient() -> Iterator[None]:
    whole = episode_engine._PATIENCE_S
    episode_engine._PATIENCE_S = 0.5  # type: ignore[misc]
    yield
    episode_engine._PATIENCE_S = whole  # type: ignore[misc]


@pytest.mark.usefixtures("impatient")
def test_code_that_holds_up_the_event_loop_ends_the_run_with_a_reason(encoder: Encoder) -> None:
    release = threading.Event()

    async def answer(message: Message) -> WorldReply:
        release.wait(30)
        return MORE

    world = ScriptedWorld(lambda number: ScriptedSession(answer))
    engine = engine_of(encoder, world, lambda row, turn: "Hm.<|im_end|>", seconds=SECONDS)
    begun = time.monotonic()
    with pytest.raises(EngineError, match=r"event loop.*must not block"):
        engine.generate([make_prompt()], 1, seed=0)
    assert time.monotonic() - begun < 10
    release.set()
    engine.close()


def test_waiting_for_a_place_is_no_fault_of_a_world(encoder: Encoder) -> None:
    async def answer(message: Message) -> WorldReply:
        await asyncio.sleep(0.1)
        return WorldReply()

    world = ScriptedWorld(lambda number: ScriptedSession(answer))
    engine = engine_of(
        encoder, world, lambda row, turn: "Hm.<|im_end|>", seconds=SECONDS, at_once=1
    )
    found = episodes(engine.generate([make_prompt()], 20, seed=0))  # 2 s, one behind the other
    engine.close()
    assert [each.ending for each in found] == ["answered"] * 20


def test_a_world_that_begins_late_holds_up_no_other_episode(encoder: Encoder) -> None:
    """It begins when the others are through with all their turns."""
    over: list[int] = []
    released = asyncio.Event()

    async def close() -> None:
        over.append(1)
        if len(over) == 5:
            released.set()

    async def late() -> Sequence[Message]:
        await released.wait()
        return [{"role": "user", "content": "Begin."}]

    def opened(number: int) -> ScriptedSession:
        replies = iter([MORE, WorldReply()])

        async def answer(message: Message) -> WorldReply:
            return next(replies)

        begins = {"begins": late} if number == 1 else {}
        return ScriptedSession(answer, closes=close, **begins)

    world = ScriptedWorld(opened)
    engine = engine_of(encoder, world, lambda row, turn: f"{row}.{turn}<|im_end|>", seconds=20)
    rollout = engine.generate([make_prompt("p/0"), make_prompt("p/1")], 3, seed=0)
    engine.close()
    assert [each.ending for each in episodes(rollout)] == ["answered"] * 6
    assert [sample.text for sample in rollout.samples] == [f"{row}.1" for row in range(6)]
    assert [len(sample.prompt.messages) for sample in rollout.samples] == [1, 2, 1, 1, 1, 1]
    assert [sample.prompt.id for sample in rollout.samples] == ["p/0"] * 3 + ["p/1"] * 3
    assert rollout.group_size == 3
    assert rollout.generation.world_wait is not None
    assert rollout.generation.world_wait >= 1  # before anything is asked


def test_turns_tokens_and_seconds_end_an_episode(encoder: Encoder) -> None:
    def ending(**settings: Any) -> Episode:
        world = ScriptedWorld(lambda number: ScriptedSession(giving(MORE)))
        engine = engine_of(encoder, world, lambda row, turn: "Hm.<|im_end|>", **settings)
        rollout = engine.generate([make_prompt()], 1, seed=0)
        engine.close()
        (sample,) = rollout.samples
        (found,) = episodes(rollout)
        assert found.turns[-1].is_policy
        assert found.turns[-1].stop == len(sample.completion_ids)
        assert (sample.finish_reason == "length") == (found.ending == "out_of_tokens")
        assert found.missing == ""
        return found

    turns = ending(max_turns=3)
    assert (turns.ending, len(turns.turns)) == ("out_of_turns", 5)
    tokens = ending(tokens=60, max_turns=100)
    assert tokens.ending == "out_of_tokens"
    assert tokens.turns[-1].stop <= 60
    seconds = ending(episode_seconds=1e-9)
    assert (seconds.ending, len(seconds.turns)) == ("out_of_time", 1)
