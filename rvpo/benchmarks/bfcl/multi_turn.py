"""A multi-turn conversation of BFCL: the model answers, its calls are made, and it answers again.

As in the original (`model_handler/base_handler.py` of bfcl-eval), a turn of the user goes on as
long as the model calls something, and is over with the first answer that does not. After more than
20 answers with calls in one turn the conversation is broken off, and wrong; so it is here where its
prompt grows too long for the model. The words for functions that a turn adds are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, cast

from rvpo.benchmarks.benchmark import Row
from rvpo.benchmarks.bfcl.decode import DecodedCall, decode_tools, storable
from rvpo.benchmarks.bfcl.multi_turn_rows import MultiTurnRow
from rvpo.benchmarks.bfcl.schema import Tools, tools
from rvpo.benchmarks.bfcl.service_host import TOO_LONG, MadeCall, ServiceHost
from rvpo.benchmarks.bfcl.verdict import VALID, CallCheck, Reason, invalid
from rvpo.types import Message, Prompt

MOST_STEPS: Final = 20
_ADDED: Final = (
    "There are further functions that you can call from here on. Can you do it with these?"
)


def opening(row: MultiTurnRow) -> Prompt:
    """The first prompt of a conversation."""
    shown = tools((*row.functions, *row.added.get(0, ())), "python")
    return Prompt(id=row.id, messages=_asked(row, 0), tools=shown.definitions)


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


class MultiTurnDialogue:
    """See `rvpo.benchmarks.benchmark.Dialogue`.

    Args:
        prompt: the first.
        host: makes the calls.
    """

    def __init__(self, row: MultiTurnRow, prompt: Prompt, host: ServiceHost) -> None:
        self._row = row
        self._prompt = prompt
        self._host = host
        self._messages = list(prompt.messages)
        self._made: list[list[MadeCall]] = [[]]
        self._steps = 0
        self._is_well_formed = True
        self._broken_off = ""

    def answer(self, text: str) -> Prompt | None:
        """See `Dialogue.answer`."""
        decoded = decode_tools(text, self._shown.own_name)
        self._is_well_formed &= decoded.is_well_formed
        if not decoded.calls:
            self._messages.append({"role": "assistant", "content": text})
            return self._next_turn()
        self._messages.append(_calling(text, decoded.calls))
        self._steps += 1
        calls: list[MadeCall] = [
            (name, (), values) for call in decoded.calls for name, values in call.items()
        ]
        self._made[-1] += calls
        answers = self._host.answers(self._row.scene, self._made)
        if answers is None:
            self.break_off(TOO_LONG)
            return None
        for (name, _, _), said in zip(calls, answers[-len(calls) :], strict=True):
            self._messages.append({"role": "tool", "name": name, "content": said})
        if self._steps > MOST_STEPS:
            self.break_off(f"more than {MOST_STEPS} answers with calls in one turn")
            return None
        return self._asking()

    def break_off(self, reason: str) -> None:
        """See `Dialogue.break_off`."""
        self._broken_off = reason

    def grade(self) -> Row:
        """See `Dialogue.grade`."""
        verdict = self._verdict()
        turns = [[{name: storable(values)} for name, _, values in turn] for turn in self._made]
        return {
            "question": self._row.id,
            "category": self._row.category,
            "calls": [call for turn in turns for call in turn],
            "turns": turns,
            "conversation": storable(self._messages[len(self._prompt.messages) :]),
            "is_well_formed": self._is_well_formed,
            "valid": verdict.valid,
            "reason": verdict.reason,
            "detail": verdict.detail,
        }

    def _verdict(self) -> CallCheck:
        if self._broken_off:
            return invalid("broken_off", self._broken_off)
        found = self._host.failing(self._row.scene, self._made, self._row.ground_truth)
        return VALID if found is None else invalid(cast(Reason, found[0]), found[1])

    def _next_turn(self) -> Prompt | None:
        turn = len(self._made)
        if turn == len(self._row.turns):
            return None
        self._made.append([])
        self._steps = 0
        self._messages += _asked(self._row, turn)
        return self._asking()

    def _asking(self) -> Prompt:
        return Prompt(
            id=self._prompt.id, messages=tuple(self._messages), tools=self._shown.definitions
        )

    @property
    def _shown(self) -> Tools:
        """The functions that there are in the present turn."""
        added = [each for turn in range(len(self._made)) for each in self._row.added.get(turn, ())]
        return tools((*self._row.functions, *added), "python")


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
