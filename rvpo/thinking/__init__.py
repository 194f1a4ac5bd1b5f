"""Thoughts and answers: the border between them in a completion.

In doubt a text is a thought: a criterion that an answer is wrongly said to meet trains thoughts to
meet it, while an answer that is missed only costs a sample. So

* a marker that stands on its own begins a thought, at the very start or anywhere behind: at the
  beginning of a line (behind blank space, emphasis, tags or the mark of a list) or of a sentence,
  or in the middle of one where its closing marker is on a later line. One that begins a line or a
  sentence and never ends leaves no answer behind it;
* a marker between the words of a sentence, in quotes, in a closed code fence or in a block quote is
  a word of the answer;
* what is opened again inside a thought has to be closed again: no answer begins between;
* a closing marker in quotes, or between the words of a sentence, is a word of the thought, as long
  as another one can end it;
* of the closing markers that are left the first one ends the thought, and a later one only where it
  is alone on its line, which no sentence quotes;
* of the channels of harmony, in any spelling of their letters, final and commentary are the answer.
  Every other one is a thought, and so is a text without a channel beside those that have one.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from rvpo.thinking.places import BLANK, QUOTES, UNSEEN, Places, quoted

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


def _shapes(word: str, space: str = "", more: str = "") -> str:
    """A pattern of what opens a thought, given one of the word inside.

    Args:
        space: a pattern of what may stand before the word.
        more: a pattern of what may stand behind it.
    """
    tags = [f"{re.escape(left)}{space}{word}{more}{re.escape(right)}" for left, right in _BRACKETS]
    return "|".join([*tags, rf"<\|(?:begin|start)_(?:of_)?{word}\|>", rf"<\|{word}\|>"])


_SPACE: Final = r"\s{0,9}"
_ATTRIBUTES: Final = r"(?:[\s/][^<>\[\]\n]{0,200})?"
_OPENS: Final = re.compile(
    rf"{_shapes(_PLAIN, _SPACE, _ATTRIBUTES)}|<{_SPACE}{_WIDE}{_ATTRIBUTES}>", re.IGNORECASE
)
# What some models put around the answer behind a thought.
_BEGINS_ANSWER: Final = re.compile(
    r"<\|(?:begin|start)_(?P<what>(?:of_)?(?:answer|response|solution|text))\|>", re.IGNORECASE
)
_MAY_OPEN: Final = re.compile(rf"{_shapes(_WIDE)}|<\|inner_prefix\|>|<\|channel>", re.IGNORECASE)
_TAG: Final = r"(?P<open><|\[)(?P<end>/?)(?P<name>[A-Za-z][\w:-]*)(?P<close>>|\])"
# Harmony, gpt-oss: messages of an assistant, each with a channel.
_HEADER: Final = re.compile(
    r"(?:<\|start\|>[^<]{0,200})?<\|channel\|>\s{0,9}(?P<channel>\w*)"
    r"(?P<message>(?:(?!<\|(?:channel|start|end|message)\|>).){0,400}<\|message\|>)?",
    re.DOTALL,
)
_ENDED: Final = re.compile(r"\s*<\|(?:end|call|return)\|>\s*\Z")
_ANSWERS: Final = ("final", "commentary")
_OPENED_CHANNEL: Final = re.compile(r"<\|channel\|>\w*(?:<\|message\|>)?\s*\Z")
HARMONY: Final = ("<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|constrain|>", "<|call|>")
"""Tokens that such messages are made of."""
ANALYSIS: Final = ("<|channel|>analysis<|message|>", "<|end|>")
"""Beginning and end of a thought there."""
_PARTNERS: Final = {mark: mark for mark in QUOTES} | {"“": "”", "«": "»", "„": "“"}


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

    Whatever has the shape of a marker and stands on its own begins a thought, for any model:
    <think>, <reasoning>, [THINK], ◁think▷, <|begin_of_thought|>, and the channels of harmony.

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

    def begun_in(self, prefill: str) -> str:
        """The text from the marker on that begins a thought in a prefill, which does not end it;
        empty where none does."""
        channel = prefill.rfind(HARMONY[0])
        if channel >= 0:
            return "" if HARMONY[3] in prefill[channel:] else prefill[channel:]
        begins = [(found.start(), found[0]) for found in self._opening.finditer(prefill)]
        if not begins:
            return ""
        start, marker = begins[-1]
        ends = re.compile(_closes(self._closing(marker)), re.IGNORECASE)
        return "" if ends.search(prefill, start + len(marker)) else prefill[start:]

    def split(self, text: str, opened: str = "") -> Parts:
        """Split a completion.

        Args:
            text: the sampled one, its markers included.
            opened: result of `opened_by` for its prompt.
        """
        whole = opened + text
        header = next(_headers(whole), None)
        if header is not None and not whole[: header.start()].strip(BLANK):
            thoughts, answers = _harmony(whole)
            for place, answer in enumerate(answers):
                more, answers[place] = self._apart(answer)
                thoughts += more
            return Parts("\n\n".join(thoughts), "".join(answers), opened)
        thoughts, answer = self._apart(whole)
        if next(_headers(answer), None) is not None:
            more, answers = _harmony(answer)
            thoughts, answer = thoughts + more, "".join(answers)
        return Parts("\n\n".join(thoughts), _unwrapped(answer), opened)

    def _apart(self, text: str) -> tuple[list[str], str]:
        """The thoughts of a text without channels, and its answer."""
        thoughts: list[str] = []
        kept = ""
        while (begins := self._block(text)) is not None:
            start, marker, behind = begins
            if len(thoughts) == _MOST_THOUGHTS:
                return [*thoughts, text[start:].strip()], kept
            kept += text[:start]
            begun = text[behind:]
            if begun.lstrip().startswith(marker):  # what the template wrote, written again
                begun = begun.lstrip()[len(marker) :]
            thought, ended, text = _until(begun, marker, self._closing(marker))
            thoughts.append(thought.strip())
            if not ended:
                return thoughts, kept if kept.strip(BLANK) else ""
            if not kept.strip(BLANK):
                kept, text = "", text.lstrip()
        return thoughts, kept + text

    def _block(self, text: str) -> tuple[int, str, int] | None:
        """Beginning of the first thought in a text, its marker, and the place behind that."""
        places, ends = Places(text), dict[str, re.Match[str] | None]()
        for found in self._opening.finditer(text):
            if not places.is_free(found.span()):
                continue
            start, marker = found.start(), found[0]
            if (prefix := places.beginning(found.span())) is not None:
                trim = text[prefix:start].rstrip(UNSEEN + "*_~# \t")
                marks = text[prefix + len(trim) : start].strip(UNSEEN + " \t#")
                behind = found.end() + len(marks) * text.startswith(marks, found.end())
                return (prefix + len(trim) if trim or prefix else 0), marker, behind
            end = _next_end(text, found.end(), self._closing(marker), ends)
            if len(ends) > _MOST_THOUGHTS:
                return start, marker, found.end()
            if end is not None and "\n" in text[found.end() : end.start()]:
                quote = _PARTNERS.get(text[max(0, start - 1) : start])
                if quote is None or text[end.end() : end.end() + 1] != quote:
                    return start, marker, found.end()
        return None

    def split_alone(self, text: str) -> Parts:
        """Split a completion whose prompt is not known: what stands before a closing marker that
        nothing opened is a thought, unless the marker is a word of a sentence or quoted."""
        begins = self._block(text)
        known = [re.escape(marker) for pair in self.pairs for marker in pair]
        own = {end: opening for opening, end in self.pairs}
        for tag in re.finditer("|".join([*known, _TAG]), text):
            if begins is not None and begins[0] <= tag.start():
                break
            opening = own.get(tag[0]) or (closing(tag[0]) if tag["end"] else "")
            if opening and self._opens(opening) and not _said(text, tag.span()):
                return self.split(text, opened=opening)
            if self._opens(tag[0]):
                break
        return self.split(text)

    @property
    def _opening(self) -> re.Pattern[str]:
        own = sorted((opening for opening, _ in self.pairs), key=len, reverse=True)
        return re.compile("|".join([*map(re.escape, own), f"(?i:{_OPENS.pattern})"]))

    def _closing(self, marker: str) -> str:
        return dict(self.pairs).get(marker) or closing(_bare(marker))

    def _opens(self, marker: str) -> bool:
        return self._opening.fullmatch(marker) is not None


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
    closes = _closes(marker)
    places = _outermost(text, opening, closes) or _outermost(text, opening, closes, said=False)
    if not places:
        return text, False, ""
    free = [place for place in places if not _said(text, place)]
    fences = [fence.start() for fence in re.finditer("```", text)]
    outside = (place for place in reversed(free) if bisect(fences, place[0]) % 2 == 0)
    alone = next((place for place in outside if _is_alone(text, place)), None)
    start, end = alone or (free[0] if free else places[-1])
    again = re.compile(rf"(?:\s*{closes})*", re.IGNORECASE)
    behind = again.match(text, end)
    marks = text[len(text[:start].rstrip("*_~")) : start]  # emphasis around the marker
    end += len(marks) * text.startswith(marks, end)
    return text[:start], True, text[max(end, behind.end() if behind else end) :]


def _bare(marker: str) -> str:
    """A tag without blank space and attributes; another marker as it is."""
    tag = re.match(r"([<\[◁])\s*([\w:-]+)[^<>\[\]]*([>\]▷])\Z", marker)
    return marker if tag is None else f"{tag[1]}{tag[2]}{tag[3]}"


def _closes(marker: str) -> str:
    """A pattern of a closing marker, which may be spaced."""
    slashed = re.match(r"([<\[])/([\w:-]+)([>\]])\Z", marker)
    parts = (
        [marker[:-1], marker[-1]] if slashed is None else [slashed[1], "/", *slashed.groups()[1:]]
    )
    return _SPACE.join(map(re.escape, parts))


def _next_end(
    text: str, place: int, marker: str, ends: dict[str, re.Match[str] | None]
) -> re.Match[str] | None:
    """The next closing marker behind a place that is no word of a sentence.

    Args:
        ends: those found so far, so that a text is searched once for each marker.
    """
    known = ends.get(marker)
    if marker not in ends or (known is not None and known.start() < place):
        every = re.compile(_closes(marker), re.IGNORECASE).finditer(text, place)
        ends[marker] = next((end for end in every if not _said(text, end.span())), None)
    return ends[marker]


def _outermost(text: str, opening: str, closes: str, *, said: bool = True) -> list[tuple[int, int]]:
    """Places of closing markers that close the thought itself, and nothing opened inside it.

    Args:
        text: all behind the opening marker.
        opening: the opening marker.
        closes: a pattern of the closing one.
        said: opening markers that are words of a sentence count too.
    """
    depth, places = 0, []
    tag = _bare(opening)
    again = re.escape(tag)
    if re.match(r"[<\[]\w", tag):
        again = (
            rf"{re.escape(tag[0])}{_SPACE}{re.escape(tag[1:-1])}{_ATTRIBUTES}{re.escape(tag[-1])}"
        )
    for found in re.finditer(rf"(?P<again>{again})|{closes}", text, re.IGNORECASE):
        place = found.span()
        if found["again"]:
            depth += not quoted(text, place) and (said or not _said(text, place))
        elif depth and not quoted(text, place):
            depth -= 1
        elif not depth:
            places.append(place)
    return places


def _said(text: str, place: tuple[int, int]) -> bool:
    """Quoted, or between the words of a sentence."""
    line, rest = text[max(0, place[0] - 3) : place[0]], text[place[1] : place[1] + 3]
    is_word = re.search(r"[\w,] $", line) and re.match(r" [a-z]|[,;:]? [a-z]|[.?!](?:\s|$)", rest)
    return quoted(text, place) or is_word is not None


def _is_alone(text: str, place: tuple[int, int]) -> bool:
    """True where a place is on a line of its own."""
    _, line, indent = text[max(0, place[0] - 40) : place[0]].rpartition("\n")
    behind, end, _ = text[place[1] : place[1] + 40].partition("\n")
    begins = bool(line) or place[0] <= 40
    return begins and end != "" and not (indent + behind).strip()


def _unwrapped(answer: str) -> str:
    """The answer without the markers that some models put around it."""
    if (begins := _BEGINS_ANSWER.match(answer)) is None:
        return answer
    ends = rf"\s*<\|end_{re.escape(begins['what'])}\|>\s*\Z"
    return re.sub(ends, "", answer[begins.end() :], flags=re.IGNORECASE).lstrip()


def _headers(text: str) -> Iterator[re.Match[str]]:
    """Headers of messages with a channel that no answer quotes."""
    places = Places(text)
    for header in _HEADER.finditer(text):
        if not places.is_free(header.span()):
            continue
        begins = header[0].startswith("<|start|>") or places.beginning(header.span()) is not None
        if begins or _ENDED.search(text[max(0, header.start() - 40) : header.start()]):
            yield header


def _harmony(text: str) -> tuple[list[str], list[str]]:
    """Thoughts and answers: the final message, a preamble and a call are answers."""
    headers = list(_headers(text))
    before = _ENDED.sub("", text[: headers[0].start()]).strip(BLANK)
    thoughts, answers = [before] if before else [], []
    stops = [header.start() for header in headers[1:]] + [len(text)]
    for header, stop in zip(headers, stops, strict=True):
        content = _ENDED.sub("", text[header.end() : stop])
        if header["message"] is None or header["channel"].lower() not in _ANSWERS:
            thoughts += [content.strip()] if header["message"] else []
        elif "to=" in header[0]:
            answers.append(text[header.start() : stop].strip())
        else:
            answers.append(content)
    return thoughts, answers
