"""Thoughts and answers: the border between them in a completion.

In doubt a text is a thought: a criterion that an answer is wrongly said to meet trains thoughts to
meet it, while an answer that is missed only costs a sample. So

* a marker at the very start begins a thought, and one that never ends leaves no answer;
* what is opened again inside a thought has to be closed again: no answer begins between;
* a marker in quotes, or between the words of a sentence, is a word of the thought, as long as
  another one can end it;
* of the closing markers that are left the first one ends the thought, and a later one only where it
  is alone on its line, which no sentence quotes.

Behind the thought markers are words of the answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Sees = Literal["answer", "everything"]
"""Part of a completion that a reward is shown: the answer, or thoughts and their markers too."""

_BRACKETS: Final = (("<", ">"), ("[", "]"), ("◁", "▷"))
_PLAIN: Final = r"(?:[\w-]+:)?(?:think|thinking|thoughts?)"
_WIDE: Final = (
    r"(?:[\w-]+:)?(?:think|thinking|thoughts?|reason|reasoning|reflection|scratchpad|analysis|"
    r"inner[_-]?(?:monologue|thoughts?)|chain[_-]of[_-]thoughts?)"
)
_MOST_THOUGHTS: Final = 64
"""Most thoughts in a row: a completion that goes on beginning them has lost itself, and has no
answer."""
_PREFIXES: Final = {"begin": "end", "start": "end"}


def _shapes(word: str) -> str:
    """A pattern of what opens a thought, given one of the word inside."""
    tags = [f"{re.escape(left)}{word}{re.escape(right)}" for left, right in _BRACKETS]
    return "|".join([*tags, rf"<\|(?:begin|start)_(?:of_)?{word}\|>", rf"<\|{word}\|>"])


_OPENS: Final = re.compile(rf"{_shapes(_PLAIN)}|<{_WIDE}>", re.IGNORECASE)
# What some models put around the answer behind a thought.
_BEGINS_ANSWER: Final = re.compile(
    r"<\|(?:begin|start)_(?P<what>(?:of_)?(?:answer|response|solution|text))\|>", re.IGNORECASE
)
_MAY_OPEN: Final = re.compile(rf"{_shapes(_WIDE)}|<\|inner_prefix\|>|<\|channel>", re.IGNORECASE)
_TAG: Final = r"(?P<open><|\[)(?P<end>/?)(?P<name>[A-Za-z][\w:-]*)(?P<close>>|\])"
# Harmony, gpt-oss: messages of an assistant, each with a channel.
_HEADER: Final = re.compile(
    r"\s*(?:<\|start\|>[^<]*)?<\|channel\|>(?P<channel>\w*)(?P<rest>.*?)<\|message\|>", re.DOTALL
)
_BEGINS_HEADER: Final = re.compile(r"\s*(?:<\|start\|>[^<]*)?<\|channel\|>")
_ENDS: Final = re.compile(r"<\|(?:end|call|return)\|>")
_OPENED_CHANNEL: Final = re.compile(r"<\|channel\|>\w*(?:<\|message\|>)?\s*\Z")
HARMONY: Final = ("<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|constrain|>", "<|call|>")
"""Tokens that such messages are made of."""
ANALYSIS: Final = ("<|channel|>analysis<|message|>", "<|end|>")
"""Beginning and end of a thought there."""
_QUOTES: Final = "\"'`"


@dataclass(frozen=True, slots=True)
class Parts:
    """A completion, split."""

    thought: str
    """Text of the thoughts without markers; empty where there is none."""
    answer: str
    """All that is no thought; empty where the thought never ended."""
    opened: str = ""
    """The end of the prompt, where the chat template began the thought there."""
    answer_tokens: int | None = None
    """Tokens of an answer behind a thought, as the model's tokenizer writes it; None where nobody
    has counted them, or there is nothing to count."""


@dataclass(frozen=True, slots=True)
class Thinking:
    """The markers of a model's thoughts.

    Whatever a completion begins with that has the shape of a marker begins a thought, for any
    model: <think>, <reasoning>, [THINK], ◁think▷, <|begin_of_thought|>, and the channels of
    harmony. Later ones are words of the answer, which may quote them.

    Args:
        pairs: further markers that the model uses, (opening, closing).
    """

    pairs: tuple[tuple[str, str], ...] = ()

    @staticmethod
    def of(texts: Iterable[str], told: tuple[str, str] | None = None) -> Thinking:
        """Splitter by the markers, of words such as "reasoning" too, that stand in a model's
        template or among its tokens, each with what closes it.

        Args:
            told: the pair that the settings name, which comes first.
        """
        every = "\n".join(texts)
        opening = dict.fromkeys(match[0] for match in _MAY_OPEN.finditer(every))
        pairs = {marker: closing(marker) for marker in opening}
        found = {marker: end for marker, end in pairs.items() if end in every}
        first = {} if told is None else dict([told])
        return Thinking(tuple((first | found | first).items()))

    def opened_by(self, prompt_end: str) -> str:
        """The marker that a rendered prompt ends with, and the blank space after it."""
        if (channel := _OPENED_CHANNEL.search(prompt_end)) is not None:
            return channel[0]
        bare = prompt_end.rstrip()
        found = [m[0] for m in _OPENS.finditer(bare) if m.end() == len(bare)]
        found += [opening for opening, _ in self.pairs if bare.endswith(opening)]
        return prompt_end[len(bare) - len(max(found, key=len)) :] if found else ""

    def split(self, text: str, opened: str = "") -> Parts:
        """Split a completion.

        Args:
            text: the sampled one, its markers included.
            opened: result of `opened_by` for its prompt.
        """
        whole = opened + text
        if _BEGINS_HEADER.match(whole):
            return _harmony(whole, opened)
        thoughts: list[str] = []
        while (marker := self._beginning(whole)) is not None:
            if len(thoughts) == _MOST_THOUGHTS:
                return Parts("\n\n".join([*thoughts, whole.strip()]), "", opened)
            begun = whole.lstrip()[len(marker) :]
            if begun.lstrip().startswith(marker):  # what the template wrote, written again
                begun = begun.lstrip()[len(marker) :]
            thought, ended, after = _until(begun, marker, self._closing(marker))
            thoughts.append(thought.strip())
            if not ended:
                return Parts("\n\n".join(thoughts), "", opened)
            whole = after.lstrip()
        return Parts("\n\n".join(thoughts), _unwrapped(whole), opened)

    def split_alone(self, text: str) -> Parts:
        """Split a completion whose prompt is not known: what stands before a closing marker that
        nothing opened is a thought, unless the marker is a word of a sentence or quoted."""
        parts = self.split(text)
        if parts.thought or parts.answer != text:
            return parts
        own = {end: opening for opening, end in self.pairs}
        known = [re.escape(marker) for pair in self.pairs for marker in pair]
        for tag in re.finditer("|".join([*known, _TAG]), text):
            opening = own.get(tag[0]) or (closing(tag[0]) if tag["end"] else "")
            if opening and self._opens(opening) and not _said(text, tag.span()):
                return self.split(text, opened=opening)
            if self._opens(tag[0]):
                break
        return parts

    def _beginning(self, text: str) -> str | None:
        text = text.lstrip()
        own = [opening for opening, _ in self.pairs if text.startswith(opening)]
        match = _OPENS.match(text)
        return max(own, key=len) if own else None if match is None else match[0]

    def _closing(self, marker: str) -> str:
        return dict(self.pairs).get(marker) or closing(marker)

    def _opens(self, marker: str) -> bool:
        return self._beginning(marker) == marker


NO_MODEL: Final = Thinking()
"""Splitter for completions of any model."""


def closing(marker: str) -> str:
    """Marker that closes a thought, by the form of the one that opens it; of a closing tag, the
    opening one."""
    if marker.startswith("<|") and not marker.endswith("|>"):
        return f"<{marker[2:-1]}|>"
    if marker.startswith("<|"):
        for prefix, other in (*_PREFIXES.items(), ("inner_prefix", "inner_suffix")):
            for before, after in ((prefix, other), (prefix.upper(), other.upper())):
                if before in marker:
                    return marker.replace(before, after, 1)
        return f"<|/{marker[2:]}"
    return marker[0] + marker[2:] if marker[1] == "/" else f"{marker[0]}/{marker[1:]}"


def _until(text: str, opening: str, marker: str) -> tuple[str, bool, str]:
    """A thought that the opening marker began, whether it ended, and what is behind it."""
    closes = rf"{re.escape(marker[:-1])}\s*{re.escape(marker[-1])}"
    places = _outermost(text, opening, closes) or _outermost(text, opening, closes, said=False)
    if not places:
        return text, False, ""
    free = [place for place in places if not _said(text, place)]
    alone = next((place for place in reversed(free) if _is_alone(text, place)), None)
    start, end = alone or (free[0] if free else places[-1])
    again = re.compile(rf"(?:\s*{closes})*", re.IGNORECASE)
    behind = again.match(text, end)
    return text[:start], True, text[behind.end() if behind else end :]


def _outermost(text: str, opening: str, closes: str, *, said: bool = True) -> list[tuple[int, int]]:
    """Places of closing markers that close the thought itself, and nothing opened inside it.

    Args:
        text: all behind the opening marker.
        opening: the opening marker.
        closes: a pattern of the closing one.
        said: opening markers that are words of a sentence count too.
    """
    depth, places = 0, []
    for found in re.finditer(rf"(?P<again>{re.escape(opening)})|{closes}", text, re.IGNORECASE):
        place = found.span()
        if found["again"]:
            depth += not _quoted(text, place) and (said or not _said(text, place))
        elif depth and not _quoted(text, place):
            depth -= 1
        elif not depth:
            places.append(place)
    return places


def _quoted(text: str, place: tuple[int, int]) -> bool:
    before, after = text[max(0, place[0] - 1) : place[0]], text[place[1] : place[1] + 1]
    return before != "" and before == after and before in _QUOTES


def _said(text: str, place: tuple[int, int]) -> bool:
    """Quoted, or between the words of a sentence."""
    line, rest = text[max(0, place[0] - 3) : place[0]], text[place[1] : place[1] + 3]
    is_word = re.search(r"[\w,] $", line) and re.match(r" [a-z]|[,;:]? [a-z]|[.?!](?:\s|$)", rest)
    return _quoted(text, place) or is_word is not None


def _is_alone(text: str, place: tuple[int, int]) -> bool:
    """True where a place is on a line of its own, outside a block of code."""
    start, end = text.rfind("\n", 0, place[0]) + 1, text.find("\n", place[1])
    is_alone = end >= 0 and not (text[start : place[0]] + text[place[1] : end]).strip()
    return is_alone and text.count("```", 0, place[0]) % 2 == 0


def _unwrapped(answer: str) -> str:
    """The answer without the markers that some models put around it."""
    if (begins := _BEGINS_ANSWER.match(answer)) is None:
        return answer
    ends = rf"\s*<\|end_{re.escape(begins['what'])}\|>\s*\Z"
    return re.sub(ends, "", answer[begins.end() :], flags=re.IGNORECASE).lstrip()


def _harmony(text: str, opened: str) -> Parts:
    """The analysis is the thought; the final message, a preamble and a call are the answer."""
    thoughts, answers, place = [], [], 0
    while (header := _HEADER.match(text, place)) is not None:
        is_final = header["channel"] == "final"
        ends = list(_ENDS.finditer(text, header.end()))
        # A final message is the last one, and may quote what ends others.
        end = None if not ends else ends[0] if not is_final else ends[-1]
        if is_final and end is not None and text[end.end() :].strip():
            end = None
        stop = len(text) if end is None else end.start()
        content = text[header.end() : stop]
        place = len(text) if end is None else end.end()
        if header["channel"] == "analysis":
            thoughts.append(content.strip())
        else:
            is_call = "to=" in header[0]
            answers.append(text[header.start() : place].strip() if is_call else content)
    left = text[place:]
    if _BEGINS_HEADER.match(left):  # cut off before its message began
        left = ""
    return Parts("\n\n".join(thoughts), "".join([*answers, left]), opened)
