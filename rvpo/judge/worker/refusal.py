"""The refusals of a server, read from status and body."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

LONGEST_DETAIL: Final = 200
"""Characters of a server's words that are shown."""
BAD_MINUTES: Final = frozenset((408, 409, 425, 429, *range(500, 600)))
"""Statuses that say nothing against the question: the same call may be answered later."""

_OF_SIZE: Final = frozenset((413, 414, 431))  # their words speak of rates too, and waiting is vain
_MOST_LEAVES: Final = 1_000
_MOST_WORDS: Final = 4_096  # characters of one text in which words are looked for

_SCHEMA: Final = re.compile(r"response_format|json_schema|guided_json|structured[ _]output", re.I)
_MESSAGE: Final = ("message", "msg", "detail", "error_msg", "error_message", "status_msg", "title")
_CODE: Final = re.compile(r"code|status|type|reason|err|name|title", re.I)
# The question, the answer, and names: their words are not the server's own.
_NOT_SAID: Final = frozenset(
    """
    content reasoning_content reasoning text messages input prompt request arguments usage model id
    object provider
    """.split()  # noqa: SIM905
)

_BUSY: Final = (
    (
        re.compile(
            r"""rate.?limit | too.?many.{0,20}(request|call|concurren) | throttl
            | resource.{0,10}exhausted | slow.?down | requests?.{0,20}\btoo.{0,6}(fast|frequent)
            | concurren.{0,20}(limit|too|exceed)""",
            re.I | re.X,
        ),
        429,
    ),
    (
        re.compile(
            r"""overload | (service|server|temporarily|currently).{0,10}unavailable
            | (at|over|of|no|insufficient).?capacity | (server|system|engine|too|is).?busy
            | (try|retry).?(again|later)?.?(later|in\b|soon|shortly)
            | bad.?gateway | gateway.?time.?out""",
            re.I | re.X,
        ),
        503,
    ),
)
"""Words of a server that has a bad minute, beside any status, and the status that they mean."""
_VAGUE: Final = (
    (re.compile(r"quota|\bTPM\b|\bRPM\b", re.I), 429),
    (re.compile(r"unavailable|capacity|busy|\bwait\b", re.I), 503),
    (
        re.compile(r"server.?error|internal|api_error|timed?.?out|deadline|upstream|gateway", re.I),
        500,
    ),
)
"""Words that mean a status where nothing else names one."""
_MISTAKEN: Final = re.compile(
    r"invalid|incorrect|unauthori[sz]ed|missing|not.?found|does not exist|expired", re.I
)
"""Words of a denial, beside which a rate limit is only mentioned."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Reason that a call has no usable reply."""

    reason: str
    """Reason in a few words that repeat: they are counted."""
    detail: str = ""
    """The server's words, as `Answer.detail`."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The body of a reply that is an error, in whatever shape."""

    message: str
    """OpenAI's `error.message`, its likes of other servers, or else the whole text."""
    codes: frozenset[str] = frozenset()
    """Texts in the place of OpenAI's `error.code` and `error.type`."""
    numbers: tuple[int, ...] = ()
    """HTTP statuses in such places."""
    busy: int | None = None
    """The status of a bad minute that its codes or words mean."""
    vague: int | None = None
    """The status of a bad minute that they only hint at."""

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Read a body of any kind, also one that is not whole."""
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            value = body.decode("utf-8", "replace")
        message, leaves = _message(value), list(_leaves(value))
        words = [said for _, said in leaves if isinstance(said, str)]
        codes = [
            said
            for name, said in leaves
            if isinstance(said, str) and _CODE.search(name) and not re.search(r"\s", said)
        ]
        busy = _meant(codes, _BUSY)
        if busy is None and not _MISTAKEN.search(message[:_MOST_WORDS]):
            busy = _meant(words, _BUSY)
        numbers = tuple(n for name, said in leaves if _CODE.search(name) and (n := _number(said)))
        return cls(message, frozenset(codes), numbers, busy, _meant(words, _VAGUE))

    @property
    def names_schema(self) -> bool:
        """True where it speaks of the form that the reply was asked to have."""
        return _SCHEMA.search(self.message) is not None

    @property
    def status(self) -> int | None:
        """Status that it means by itself, in a reply of success; None where it says nothing of
        one."""
        stated = sorted(self.numbers, key=lambda number: number not in BAD_MINUTES)
        return next((code for code in (self.busy, *stated, self.vague) if code is not None), None)

    def status_beside(self, status: int) -> int:
        """Status that it means in a reply of another: a bad minute is one whatever that says."""
        stated = self.numbers if self.busy is None else (self.busy, *self.numbers)
        meant = [code for code in stated if code in BAD_MINUTES]
        if status < 400 or status in _OF_SIZE or not meant:
            return status
        if 429 in meant:
            return 429
        return status if status in BAD_MINUTES else meant[0]


def excerpt(text: str) -> str:
    """The beginning of a text as one printable line."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    line = " ".join(printable.split())
    return line if len(line) <= LONGEST_DETAIL else line[: LONGEST_DETAIL - 1] + "…"


def _message(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        value = value[0]
    error = value.get("error") or value if isinstance(value, dict) else value
    if not isinstance(error, dict):
        return _text(error)
    return _text(next((error[name] for name in _MESSAGE if error.get(name)), value))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _leaves(value: Any) -> Iterator[tuple[str, str | int]]:
    """Texts and numbers that a server said of a call, each with the name of its place."""
    left = [("error", value)]
    for _ in range(_MOST_LEAVES):
        if not left:
            return
        name, value = left.pop()
        if isinstance(value, Mapping):
            left += [(key, item) for key, item in value.items() if key not in _NOT_SAID]
        elif isinstance(value, list):
            left += [(name, item) for item in value]
        elif isinstance(value, str | int) and not isinstance(value, bool):
            yield name, value


def _meant(texts: list[str], words: tuple[tuple[re.Pattern[str], int], ...]) -> int | None:
    return next(
        (code for form, code in words if any(form.search(text[:_MOST_WORDS]) for text in texts)),
        None,
    )


def _number(said: str | int) -> int | None:
    """The HTTP status of an error that a code is, also in front of its name."""
    if isinstance(said, int):
        return said if 400 <= said < 600 else None
    found = re.fullmatch(r"([45][0-9]{2})( [A-Z].*)?", said)
    return int(found[1]) if found else None
