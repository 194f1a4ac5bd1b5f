"""A grammar of judges' replies that knows what each of them means.

A reply is built from parts, each with its meaning, so the right reading is known without a parser:
one object in a dress of the white list means its verdict, and anything else means none.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass

OPENINGS = (
    "", "", "", "Here is my answer:\n", "Here's my verdict: ", "My final answer:\n\n",
    "Sure! Here is the JSON:\n", "**Verdict:** ", "The verdict:\n", "Here is the JSON object:\n",
)  # fmt: skip
CLOSINGS = (
    "", "", "", "\nI hope this helps!", "\n\nLet me know if you have any questions.",
    "\nThank you.", "\nHope this helps.",
)  # fmt: skip
THOUGHTS = (
    "", "", "<think>{lie}? Rather not.</think>\n", "<thinking>Say {lie}.</thinking>",
    "<think></think>\n\n", "It may not hold.\n</think>\n",
    "[THINK]{lie}? No.[/THINK]", "<think>a</think>\n<think>{lie}</think>", "◁think▷{lie}◁/think▷\n",
    "<|channel|>analysis<|message|>{lie}?<|end|><|start|>assistant<|channel|>final<|message|>",
    "It may not hold. </think>\n",
)  # fmt: skip
REASONS = (
    "It says so.", 'It quotes "met": false.', "", "It isn't there.", "Sets {1, 2} and } {",
    "uses \\alpha", "one\ntwo", "It holds <think> and </think>.", "判断", "It says {lie}.",
)  # fmt: skip
# Words that say something, none of which may stand beside a verdict, on either side.
SPEECH = (
    "The response says: ", "Injection attempt detected: ", " On reflection, the reverse.",
    "It lacks any thanks. ", " Not so.", "Its text: ", " (quoted)", "Ignore this: ", "No. ",
    "An example: ", " is what a lazy judge would say.", " I was wrong.", " 3/10", "analysis ",
    "Nope ", "I disagree with ", " Opposite!", "<|channel|>commentary<|message|>", "Response: ",
    "The assistant's answer: ", "Hmm ", "\u4e0d ", " Strike that.",
)  # fmt: skip
SECOND_KEYS = (
    '"verdict": "no"', '"final": false', '"Met": false', '"note": "the reverse holds"',
    '"confidence": 0', '"example": {lie}', '"unmet": true', '"score": 1', '"": ""',
)  # fmt: skip
WRONG_VALUES = (
    "null", "1", "0", "[]", "[{right}]", "{}", '{"value": {right}}', '"yes"', "maybe", '""',
    "{right} or not", "NaN", "-", "{right}{wrong}", '"{right}, {wrong}"', "11", "7.5", "-3",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sample:
    """A reply and what it means."""

    kind: str
    text: str
    value: float | None
    """None where it means no verdict."""


def samples(seed: int) -> Iterator[Sample]:
    """Replies without end; half of them mean a verdict."""
    draw = random.Random(seed)
    while True:
        yield _meant(draw) if draw.random() < 0.5 else _unmeant(draw)


@dataclass(frozen=True, slots=True)
class _Verdict:
    kind: str
    key: str
    right: str
    wrong: str
    value: float

    @property
    def lie(self) -> str:
        return f'{{"{self.key}": {self.wrong}}}'

    def filled(self, text: str) -> str:
        return (
            text.replace("{lie}", self.lie)
            .replace("{right}", self.right)
            .replace("{wrong}", self.wrong)
        )


def _verdict(draw: random.Random) -> _Verdict:
    if draw.random() < 0.5:
        met = draw.random() < 0.5
        words = ("true", "false") if met else ("false", "true")
        return _Verdict("criterion", "met", *words, float(met))
    rating = draw.randint(1, 10)
    return _Verdict("rating", "rating", str(rating), str(11 - rating), (rating - 1) / 9)


def _object(draw: random.Random, verdict: _Verdict, *, value: str = "", also: str = "") -> str:
    """One object with the verdict, in a spelling that can mean one thing only."""
    reason = json.dumps(verdict.filled(draw.choice(REASONS)), ensure_ascii=draw.random() < 0.5)
    if draw.random() < 0.1:
        reason = reason.replace("\\\\", "\\").replace("\\n", "\n")  # as careless judges write it
    word = value or draw.choice((verdict.right, verdict.right, f'"{verdict.right}"'))
    if not value and verdict.kind == "criterion":
        word = draw.choice((word, word.title()))
    members = [f'"{verdict.key}": {word}']
    if draw.random() < 0.7:
        members.insert(draw.randint(0, 1), f'"reason": {reason}')
    elif draw.random() < 0.5:
        members = [member.replace('"', "'") for member in members]
    if also:
        members.insert(draw.randint(0, len(members)), also)
    comma = "," if draw.random() < 0.1 else ""
    gap = draw.choice(("", " ", "\n  "))
    return f"{{{gap}{f',{gap}'.join(members)}{comma}{gap.strip(' ')}}}"


def _dressed(draw: random.Random, verdict: _Verdict, text: str) -> str:
    thought = draw.choice(THOUGHTS)
    opening = draw.choice(OPENINGS)
    if thought.startswith("It may") and draw.random() < 0.5:
        opening = ""
    if draw.random() < 0.4:
        fence = draw.choice(("```json\n", "```\n", "```JSON "))
        text = f"{fence}{text}\n```"
    return f"{verdict.filled(thought)}{opening}{text}{draw.choice(CLOSINGS)}"


def _meant(draw: random.Random) -> Sample:
    verdict = _verdict(draw)
    text = _dressed(draw, verdict, _object(draw, verdict))
    return Sample(verdict.kind, text, verdict.value)


def _unmeant(draw: random.Random) -> Sample:
    """A reply that is meant, with one thing in it that speaks otherwise or breaks it."""
    verdict = _verdict(draw)
    good = _object(draw, verdict)
    speech = draw.choice(SPEECH)
    wrong_value = verdict.filled(draw.choice(WRONG_VALUES))
    if verdict.kind == "rating" and wrong_value in ("1",):
        wrong_value = "true"
    text = draw.choice(
        (
            lambda: _dressed(draw, verdict, f"{speech}{good}"),
            lambda: _dressed(draw, verdict, f"{good}{speech}"),
            lambda: _dressed(draw, verdict, f"{good}{draw.choice((' ', ', ', chr(10)))}{good}"),
            lambda: _dressed(draw, verdict, f"{good}\n{verdict.lie}"),
            lambda: _dressed(draw, verdict, f"{verdict.lie} {good}"),
            lambda: _dressed(draw, verdict, f"[{good}]"),
            lambda: _dressed(draw, verdict, f'{{"result": {good}}}'),
            lambda: _dressed(draw, verdict, json.dumps(good)),
            lambda: _dressed(draw, verdict, good[: draw.randint(1, len(good) - 1)]),
            lambda: _dressed(draw, verdict, _object(draw, verdict, value=wrong_value)),
            lambda: _dressed(
                draw,
                verdict,
                _object(draw, verdict, also=verdict.filled(draw.choice(SECOND_KEYS))),
            ),
            lambda: _dressed(
                draw, verdict, _object(draw, verdict, also=f'"{verdict.key}": {verdict.wrong}')
            ),
            lambda: f'{{"reason": "one or two short sentences", "{verdict.key}": {verdict.right}}}',
            lambda: f'{{"reason": "it says {verdict.lie}", "{verdict.key}": {verdict.right}}}',
            lambda: f"<think>{good}",
            lambda: f"<think>{good}</think>{draw.choice(('', speech))}",
            lambda: f"{good}\n</think>\n{draw.choice(('', speech))}",
            lambda: speech,
        )
    )()
    return Sample(verdict.kind, text, None)
