"""The one object that a judge's reply consists of.

Thoughts and the tokens that end a turn are set aside; what is left is one object, as it is or in a
fence, with at most a line such as "Here is my verdict:" before it and a courtesy after it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from rvpo.judge.control_tokens import without_end_of_turn
from rvpo.thinking import Thinking, closing

_THOUGHTS = Thinking.of(
    f"{opening}{closing(opening)}"
    for opening in (
        *(f"<{word}>" for word in ("reason", "reasoning", "reflection", "scratchpad", "analysis")),
        "<|inner_prefix|>",
        "<|channel>",
    )
)
"""Thoughts of a judge whose chat template is not known: also what only a template makes a marker of
other models, for before an object it can be nothing else."""
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w*)")
_MARKER = re.compile(
    r"[<\[◁][/|]?[\w:]{0,20}(?:think|thought|reason|reflection|scratchpad|analysis|inner|channel)",
    re.IGNORECASE,
)
_MOST_MARKERS = 200  # each thought is searched for its end: more would take their square in time
_WORD = r"(?:[\w-]{1,20}:)?(?:think|thinking|thoughts?)"
_TAG = re.compile(rf"[<\[◁](?:\||/)?(?:\w{{0,20}}_)?(?:{_WORD}|reasoning)\|?[>\]▷]", re.IGNORECASE)
_CLOSING_TAG = rf"(?:</{_WORD}>|\[/{_WORD}\]|◁/{_WORD}▷|<\|(?:end_(?:of_)?|/){_WORD}\|>)"
_CLOSING_LINE = re.compile(rf"^[ \t]*{_CLOSING_TAG}[ \t]*$", re.IGNORECASE | re.MULTILINE)
_CLOSING = re.compile(rf"{_CLOSING_TAG}[ \t]*\n", re.IGNORECASE)
_CLOSED = re.compile(rf"{_CLOSING_TAG}\Z", re.IGNORECASE)

# Lines that announce the object as the judge's own. "Answer" and "response" need a "my": the text
# that is judged is an answer and a response too.
_OPENING = re.compile(
    r"""
    (?: (?: sure | certainly | of\ course | okay | ok ) [!,.:]?+ \s++ )?+
    [*]{0,2}+
    (?: (?: here \ (?:is|are) | here['\u2019]s | this\ is ) \s++ )?+
    (?:
        my \s++ (?: (?:final|short) \s++ )?+
        (?: answer | response | verdict | judge?ment | evaluation | assessment | rating | grade )
      | (?: the \s++ )?+ (?: (?:final|requested) \s++ )?+
        (?: verdict | judge?ment | evaluation | assessment | rating | grade )
      | the \s++ (?:requested \s++)?+ (?: json (?: \s++ object )?+ | object )
        (?: \s++ you \s++ asked \s++ for )?+
    )
    (?: \s++ (?: as | in ) \s++ (?: an? \s++ )?+ json (?: \s++ (?: object | format ) )?+ )?+
    [*]{0,2}+ : [*]{0,2}+ \s*+
    """,
    re.IGNORECASE | re.VERBOSE,
)
_COURTESY = re.compile(
    r"""
    (?:
        (?: i \s++ )?+ hope \s++ (?: this | that | it ) \s++ helps
      | (?: please \s++ )?+ let \s++ me \s++ know \s++ if \s++ you
        \s++ (?: need | have | want | would \s++ like )
        \s++ (?: anything | any ) (?: \s++ (?: other | further | more | else ) )?+
        (?: \s++ (?: questions | help | details | information | assistance ) )?+
      | (?: thank \s++ you | thanks ) (?: \s++ for \s++ your \s++ time )?+
      | (?: have \s++ a \s++ (?: nice | good | great ) \s++ day )
    ) [.!]?+ \s*+
    """,
    re.IGNORECASE | re.VERBOSE,
)
_FENCE = re.compile(r"```(?:json[5lc]?|python|text)?+\s*+", re.IGNORECASE)
_FENCE_END = re.compile(r"\s*+```\s*+")

_STRING = r""" "(?:[^"\\]|\\.)*+" | '(?:[^'\\]|\\.)*+' """
_BRACE = re.compile(r"\{\s*+")
KEY = re.compile(rf"({_STRING}) \s*+ : \s*+", re.VERBOSE | re.DOTALL)
"""A key and its colon."""
VALUE = re.compile(
    rf"({_STRING} | -?[0-9][0-9.eE+-]*+ | (?i:true|false|null|none)(?!\w) ) \s*+",
    re.VERBOSE | re.DOTALL,
)
_NEXT = re.compile(r",\s*+(\})?|(\})")
_ESCAPE = re.compile(r'\\(["\\/bfnrt]|u[0-9a-fA-F]{4})?')
_INNER = re.compile(r"""\\.|["]""", re.DOTALL)
_SPACE = re.compile(r"\s*+")

T = TypeVar("T")


class Unreadable(ValueError):
    """A reply that states no one verdict. Its text is a reason that repeats, to be counted."""


def statement(text: str, key: str, *, cut: bool) -> str:
    """The object in a reply, with at most words around it."""
    text = text.encode("utf-8", "replace").decode("utf-8").strip().strip("\ufeff")
    text = without_end_of_turn(text).strip()
    if not text:
        raise Unreadable("empty reply")
    if cut and not (text.startswith("{") and text.endswith("}")):
        raise Unreadable("truncated")
    if not text.startswith("{") or not text.endswith("}") or _CLOSING_LINE.search(text):
        text = _without_thought(text, key).strip()
    if "{" not in text:
        raise Unreadable("no verdict")
    return text


def the_object(
    text: str, key: str, *, cut: bool, value: Callable[[str, int], tuple[T, int] | None]
) -> list[tuple[str, T]]:
    """The keys and values of the one object that a reply consists of, a wrapper on the white list
    aside.

    Args:
        key: key of a verdict.
        cut: see `read`.
        value: see `pairs`.

    Raises:
        Unreadable: the reply is no such object.
    """
    text = statement(text, key, cut=cut)
    opening = _OPENING.match(text)
    position = opening.end() if opening else 0
    fence = _FENCE.match(text, position)
    position = fence.end() if fence else position
    if not text.startswith("{", position):
        raise Unreadable("words beside the verdict")
    found, position = pairs(text, position, value)
    if fence:
        fence_end = _FENCE_END.match(text, position)
        if fence_end is None:
            raise Unreadable("words beside the verdict")
        position = fence_end.end()
    rest = text[position:].strip()
    if rest and not _COURTESY.fullmatch(rest):
        raise Unreadable("words beside the verdict")
    return found


def pairs(
    text: str, position: int, value: Callable[[str, int], tuple[T, int] | None]
) -> tuple[list[tuple[str, T]], int]:
    """The keys and values of an object, in order, and where it ends.

    Args:
        position: place of its brace.
        value: reads the value at a position: what it is, and where the next thing stands; None
            where there is none.

    Raises:
        Unreadable: it is no object of such values, or breaks off.
    """
    found: list[tuple[str, T]] = []
    brace = _BRACE.match(text, position)
    position = brace.end() if brace else position
    if text.startswith("}", position):
        return found, position + 1
    while True:
        key = KEY.match(text, position)
        read = key and value(text, key.end())
        end = read and _NEXT.match(text, read[1])
        if not key or not read or not end:
            raise Unreadable("malformed object" if text.find("}", position) >= 0 else "truncated")
        found.append((unquoted(key[1]), read[0]))
        position = end.end()
        if end[1] or end[2]:
            return found, position


def flat(text: str, position: int) -> tuple[list[tuple[str, str]], int] | None:
    """The keys of an object without objects in it, and how their values are spelt; as `pairs`
    reads a value."""
    if not text.startswith("{", position):
        return None
    found, position = pairs(text, position, spelling)
    space = _SPACE.match(text, position)
    return found, space.end() if space else position


def spelling(text: str, position: int) -> tuple[str, int] | None:
    """A value as it is spelt, and where the next thing stands."""
    found = VALUE.match(text, position)
    return found and (found[1], found.end())


def once(members: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Members whose keys differ.

    Raises:
        Unreadable: they do not.
    """
    found = dict(members)
    if len(found) < len(members):
        raise Unreadable("repeated key")
    return found


def unquoted(word: str) -> str:
    """The text of a string of JSON or of Python; any other word as it is.

    Backslashes that begin no escape of JSON, as LaTeX and paths have them, stand for themselves.
    """
    if word[0] not in "\"'":
        return word
    inner = word[1:-1]
    if word[0] == "'":
        inner = _INNER.sub(lambda m: {"\\'": "'", '"': '\\"'}.get(m[0], m[0]), inner)
    inner = _ESCAPE.sub(lambda escape: escape[0] if escape[1] else r"\\", inner)
    decoded: str = json.loads(f'"{inner}"', strict=False)
    return decoded.encode("utf-8", "replace").decode("utf-8")


def _without_thought(text: str, key: str) -> str:
    """The text behind the thoughts at its beginning. Markers anywhere else are left to be
    refused."""
    if sum(1 for _ in _MARKER.finditer(text)) > _MOST_MARKERS:
        raise Unreadable("unclear thought")
    channels = _CHANNEL.findall(text)
    if set(channels) - {"analysis", "final"} or channels.count("final") > 1:
        return text
    parts = _THOUGHTS.split(text)
    if parts.thought and not parts.answer.strip():
        raise Unreadable("no verdict" if _CLOSED.search(text) else "unfinished thought")
    if parts.answer != text:
        return parts.answer
    # Servers whose chat template opens the thought send only its end, at the end of a line.
    end = (_CLOSING_LINE if text.startswith("{") else _CLOSING).search(text)
    if end is None or _TAG.search(text, 0, end.start()):
        return text
    # With a verdict in front of it, the marker may as well be one that the judge quotes.
    if re.search(rf"{key}[\s\"']*:", text[: end.start()], re.IGNORECASE):
        raise Unreadable("unclear thought")
    return text[end.end() :]
