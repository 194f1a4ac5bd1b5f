"""Thoughts and answers: the border between them in a completion."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Sees = Literal["answer", "everything"]
"""What a reward is shown of a completion: the answer, or thoughts and their markers too."""

_BRACKETS: Final = (("<", ">"), ("[", "]"), ("◁", "▷"))
_PLAIN: Final = r"(?:[\w-]+:)?(?:think|thinking|thoughts?)"
_WIDE: Final = r"(?:[\w-]+:)?(?:think|thinking|thoughts?|reason|reasoning|reflection|scratchpad)"
_PREFIXES: Final = {"begin": "end", "start": "end"}


def _shapes(word: str) -> str:
    """A pattern of what opens a thought, given one of the word inside."""
    tags = [f"{re.escape(left)}{word}{re.escape(right)}" for left, right in _BRACKETS]
    return "|".join([*tags, rf"<\|(?:begin|start)_(?:of_)?{word}\|>", rf"<\|{word}\|>"])


_OPENS: Final = re.compile(_shapes(_PLAIN), re.IGNORECASE)
_MAY_OPEN: Final = re.compile(rf"{_shapes(_WIDE)}|<\|inner_prefix\|>|<\|channel>", re.IGNORECASE)
_TAG: Final = re.compile(r"(?P<open><|\[)(?P<end>/?)(?P<name>[A-Za-z][\w:-]*)(?P<close>>|\])")
# Harmony, gpt-oss: messages of an assistant, each with a channel.
_HEADER: Final = re.compile(
    r"\s*(?:<\|start\|>[^<]*)?<\|channel\|>(?P<channel>\w*)(?P<rest>.*?)<\|message\|>", re.DOTALL
)
_BEGINS_HEADER: Final = re.compile(r"\s*(?:<\|start\|>[^<]*)?<\|channel\|>")
_ENDS: Final = re.compile(r"<\|(?:end|call|return)\|>")
_OPENED_CHANNEL: Final = re.compile(r"<\|channel\|>\w*(?:<\|message\|>)?\s*\Z")
HARMONY: Final = ("<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|constrain|>", "<|call|>")
"""What such messages are made of."""
_QUOTES: Final = "\"'`"


@dataclass(frozen=True, slots=True)
class Parts:
    """A completion, split."""

    thought: str
    """Without its markers; empty where there is none."""
    answer: str
    """All that is no thought; empty where the thought never ended."""
    opened: str = ""
    """The end of the prompt, where the chat template began the thought there."""


@dataclass(frozen=True, slots=True)
class Thinking:
    """The markers of a model's thoughts.

    Whatever a completion begins with that has the shape of a marker begins a thought, for any
    model: <think>, [THINK], ◁think▷, <|begin_of_thought|>, and the channels of harmony. Later ones
    are words of the answer, which may quote them.

    Args:
        pairs: further markers that the model uses, (opening, closing).
    """

    pairs: tuple[tuple[str, str], ...] = ()

    @staticmethod
    def of(texts: Iterable[str]) -> Thinking:
        """With the markers, of words such as "reasoning" too, that stand in a model's template or
        among its tokens, each with what closes it."""
        every = "\n".join(texts)
        opening = dict.fromkeys(match[0] for match in _MAY_OPEN.finditer(every))
        pairs = ((marker, closing(marker)) for marker in opening)
        return Thinking(tuple(pair for pair in pairs if pair[1] in every))

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
            text: as sampled, its markers included.
            opened: what `opened_by` says of its prompt.
        """
        whole = opened + text
        if _BEGINS_HEADER.match(whole):
            return _harmony(whole, opened)
        thoughts = []
        while (marker := self._beginning(whole)) is not None:
            begun = whole.lstrip()[len(marker) :]
            if begun.lstrip().startswith(marker):  # what the template wrote, written again
                begun = begun.lstrip()[len(marker) :]
            thought, ended, after = _until(begun, self._closing(marker))
            thoughts.append(thought.strip())
            if not ended:
                return Parts("\n\n".join(thoughts), "", opened)
            whole = after.lstrip()
        return Parts("\n\n".join(thoughts), whole, opened)

    def split_alone(self, text: str) -> Parts:
        """Split a completion whose prompt is not known: what stands before a closing marker that
        nothing opened is a thought, unless the marker is quoted."""
        parts = self.split(text)
        if parts.thought or parts.answer != text:
            return parts
        for tag in _TAG.finditer(text):
            if tag["end"] and self._opens(closing(tag[0])) and not _quoted(text, tag.span()):
                return self.split(text, opened=closing(tag[0]))
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
"""For completions of any model."""


def closing(marker: str) -> str:
    """What closes a thought, by the form of what opens it; of a closing tag, what opens it."""
    if marker.startswith("<|") and not marker.endswith("|>"):
        return f"<{marker[2:-1]}|>"
    if marker.startswith("<|"):
        for prefix, other in (*_PREFIXES.items(), ("inner_prefix", "inner_suffix")):
            for before, after in ((prefix, other), (prefix.upper(), other.upper())):
                if before in marker:
                    return marker.replace(before, after, 1)
        return f"<|/{marker[2:]}"
    return marker[0] + marker[2:] if marker[1] == "/" else f"{marker[0]}/{marker[1:]}"


def _until(text: str, marker: str) -> tuple[str, bool, str]:
    """Before and after the marker, the first one that the thought does not quote."""
    places = [match.span() for match in re.finditer(re.escape(marker), text, re.IGNORECASE)]
    if not places:
        return text, False, ""
    start, end = next((place for place in places if not _quoted(text, place)), places[0])
    return text[:start], True, text[end:]


def _quoted(text: str, place: tuple[int, int]) -> bool:
    before, after = text[: place[0]][-1:], text[place[1] :][:1]
    return before != "" and before == after and before in _QUOTES


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
