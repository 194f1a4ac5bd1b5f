"""A multi-turn conversation of BFCL: the model answers, its calls are made, and it answers again.

As in the original (`model_handler/base_handler.py` of bfcl-eval), a turn of the user goes on as
long as the model calls something, and is over with the first answer that does not. After more than
20 answers with calls in one turn the conversation is broken off, and wrong; so it is here where its
prompt grows too long for the model. The words for functions that a turn adds are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from rvpo.benchmarks.benchmark import Row
from rvpo.benchmarks.bfcl.decode import DecodedCall, decode_tools, storable
from rvpo.benchmarks.bfcl.multi_turn_rows import MultiTurnRow
from rvpo.benchmarks.bfcl.schema import Tools, tools
from rvpo.benchmarks.bfcl.service_host import TOO_LONG, MadeCall, ServiceHost
from rvpo.benchmarks.bfcl.verdict import VALID, CallCheck, Reason, invalid
from rvpo.environments import WorldReply
from rvpo.episode import Episode
from rvpo.types import Message, Prompt

MOST_STEPS: Final = 20
_ADDED: Final = (
    "There are further functions that you can call from here on. Can you do it with these?"
)


def opening(row: MultiTurnRow) -> Prompt:
    """The first prompt of a conversation."""
    return Prompt(id=row.id, messages=_asked(row, 0), tools=_shown(row, 0).definitions)


def later(row: MultiTurnRow) -> Prompt:
    """A prompt that has all kinds of messages which the conversation can have."""
    first = opening(row)
    name = row.functions[0]["name"]
    called = _calling("", ({name: {}},))
    said = {"role": "tool", "name": name, "content": "{}"}
    told = {"role": "assistant", "content": "It is done."}
    again = {"role": "user", "content": _ADDED}
    return replace(first, messages=(*first.messages, called, said, told, again))


def _asked(row: MultiTurnRow, turn: int) -> tuple[Message, ...]:
    return row.turns[turn] or ({"role": "user", "content": _ADDED},)


class MultiTurnSession:
    """See `rvpo.environments.Session`: the user of a row, and the services that the row speaks of.

    Args:
        host: makes the calls.
    """

    def __init__(self, row: MultiTurnRow, host: ServiceHost) -> None:
        self._row = row
        self._host = host
        self._shown = _shown(row, 0)
        self._messages: list[Message] = []
        self._made: list[list[MadeCall]] = [[]]
        self._steps = 0
        self._is_well_formed = True
        self._verdict: CallCheck | None = None

    @property
    def state(self) -> MultiTurnSession:
        """See `Session.state`: itself, to be graded."""
        return self

    async def begin(self) -> Sequence[Message]:
        """See `Session.begin`: the prompt has the first turn."""
        return ()

    async def close(self) -> None:
        """See `Session.close`: the host keeps nothing of a conversation."""

    async def answer(self, message: Message) -> WorldReply:
        """See `Session.answer`."""
        text = message["content"]
        decoded = decode_tools(text, self._shown.own_name)
        self._is_well_formed &= decoded.is_well_formed
        if not decoded.calls:
            self._messages.append({"role": "assistant", "content": text})
            return await self._next_turn()
        said = _calling(text, decoded.calls)
        self._messages.append(said)
        self._steps += 1
        calls: list[MadeCall] = [
            (name, (), values) for call in decoded.calls for name, values in call.items()
        ]
        self._made[-1] += calls
        answers = await self._host.answers(self._row.scene, self._made)
        if answers is None:
            self._verdict = invalid("broken_off", TOO_LONG)
            return WorldReply(said=said, calls=len(calls))
        told = tuple(
            {"role": "tool", "name": name, "content": answer}
            for (name, _, _), answer in zip(calls, answers[-len(calls) :], strict=True)
        )
        self._messages += told
        if self._steps > MOST_STEPS:
            self._verdict = invalid(
                "broken_off", f"more than {MOST_STEPS} answers with calls in one turn"
            )
        return WorldReply(
            messages=told, said=said, is_over=self._verdict is not None, calls=len(calls)
        )

    def grade(self, episode: Episode) -> Row:
        """The row of the conversation, as it was played."""
        verdict = self._verdict or invalid("broken_off", episode.reason)
        if episode.missing:
            verdict = CallCheck(None, "failed", episode.missing)
        turns = [[{name: storable(values)} for name, _, values in turn] for turn in self._made]
        return {
            "question": self._row.id,
            "category": self._row.category,
            "calls": [call for turn in turns for call in turn],
            "turns": turns,
            "conversation": storable(self._messages),
            "is_well_formed": self._is_well_formed,
            "valid": verdict.valid,
            "reason": verdict.reason,
            "detail": verdict.detail,
        }

    async def _next_turn(self) -> WorldReply:
        turn = len(self._made)
        if turn == len(self._row.turns):
            row = self._row
            found = await self._host.failing(row.scene, self._made, row.ground_truth)
            self._verdict = VALID if found is None else invalid(cast(Reason, found[0]), found[1])
            return WorldReply()
        self._made.append([])
        self._steps = 0
        self._shown = _shown(self._row, turn)
        asked = _asked(self._row, turn)
        self._messages += asked
        return WorldReply(messages=asked, tools=self._shown.definitions)


def _shown(row: MultiTurnRow, turn: int) -> Tools:
    """The functions that there are in a turn."""
    added = [each for earlier in range(turn + 1) for each in row.added.get(earlier, ())]
    return tools((*row.functions, *added), "python")


def _calling(text: str, calls: tuple[DecodedCall, ...]) -> Mapping[str, Any]:
    """The answer as chat templates take one with calls: these apart from the words before them."""
    before, is_marked, _ = text.partition("<tool_call>")
    return {
        "role": "assistant",
        "content": before.strip() if is_marked else "",
        "tool_calls": [
            {"type": "function", "function": {"name": name, "arguments": values}}
            for call in calls
            for name, values in call.items()
        ],
    }
