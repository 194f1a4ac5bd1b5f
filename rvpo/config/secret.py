"""Secrets, known by their names and forms, which are neither stored nor shown."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import pairwise
from typing import Any, Final
from urllib.parse import unquote

from rvpo.config.key_form import KEY, PART_OF_KEY
from rvpo.config.secret_name import (
    is_maybe_name,
    is_of_endpoints,
    is_often_name,
    is_secret_name,
    readable,
    snake,
)
from rvpo.runtime.variable import is_variable

Path = tuple[str | int, ...]

_SCHEME: Final = re.compile(r"(?:Bearer|Basic|Token|ApiKey)\s+\S+", re.IGNORECASE)
_ASSIGNED: Final = re.compile(
    r"(?<![\w.-])(?P<dashes>--?)?(?P<name>[^\W\d][\w.-]*)(?P<sign>=|:\s+|\s+)(?=(?P<value>[^\s&;,'\"]+))"
)
_WHOLE_LINE: Final = re.compile(
    r"^[ \t]*(?:export[ \t]+)?(?P<name>[^\W\d][\w.-]*(?:[ ][\w.-]+){0,2})[ \t]*[:=][ \t]*"
    r"(?P<value>\S+)[ \t]*$",
    re.MULTILINE,
)
_QUOTED: Final = re.compile(
    # "name": "value" of JSON and of Python, 'Name: value' of a header, <name>value</name>.
    r"""
    (?P<q>["'`])(?P<name>[^\W\d][\w.\ -]{0,60}?)(?P=q)
      \s*(?::|=>|=)\s*(?P<quote>["'`]?)(?P<value>[^\s"'`,}\]]+)
    | (?P<q2>["'`])\s*(?P<name2>[^\W\d][\w.-]*)
      \s*:\s*(?P<value2>(?:[A-Za-z]+\s+)?[^\s"'`]+)\s*(?P=q2)
    | <(?P<name3>[^\W\d][\w.:-]*+)[^<>]*+>\s*(?P<value3>[^<\s]+)\s*</
    """,
    re.VERBOSE,
)
_CODE: Final = re.compile(r"[A-Za-z0-9_+/-]{12,}={0,2}")
_LOGIN: Final = re.compile(r"[A-Za-z][\w.@+-]*:[^\s:]{4,}")
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_RUN: Final = re.compile(r"[A-Za-z0-9+]{16,}")
_PATH: Final = re.compile(r"(?:~|\.{0,2})/[\w ./-]*|[A-Za-z]:\\[\w .\\-]*")
_DRAWN: Final = re.compile(r"(?=\S*\d)(?=\S*[A-Za-z])[^\s/]{6,}")
_SPECIAL: Final = re.compile(r"<[A-Za-z/|_ -]{1,40}>|</?s>")
_PLACEHOLDERS: Final = ("<", "{", "[", "$", "*", "(", ")", "%", "\\", "...", "…")
_STAND_INS: Final = frozenset(
    [
        *(
            "string",
            "str",
            "text",
            "integer",
            "int",
            "number",
            "float",
            "boolean",
            "bool",
            "object",
        ),
        *("array", "null", "none", "true", "false", "yes", "no", "required", "optional", "value"),
        *("xxx", "redacted", "hidden"),
    ]
)


def without_secrets(document: Any) -> Any:
    """Settings as they are, if none of them is a secret by its name or by the form of its text.

    Raises:
        ValueError: some are; a sentence for each place, without what stands there.
    """
    problems = [f"{_dotted(path)}: {_refusal(path)}" for path in _places(document, ())]
    if problems:
        raise ValueError("\n".join(problems))
    return document


def masked(text: str) -> str:
    """The text with everything replaced that has the form of a key."""
    shown = PART_OF_KEY.sub("[key]", text)
    plain = readable(shown)
    # What was put between the characters of a key must not show it.
    return PART_OF_KEY.sub("[key]", plain) if PART_OF_KEY.search(plain) else shown


def holds_secret(value: Any) -> bool:
    """True where text, or a table or list at any depth, holds what looks like a key or is named so.

    Stricter than `without_secrets`: for what is sent to others, `{variable: NAME}` included.
    """
    match value:
        case str():
            return PART_OF_KEY.search(readable(value)) is not None or _is_secret(value)
        case dict():
            return any(
                is_secret_name(name) or holds_secret(name) or holds_secret(entry)
                for name, entry in value.items()
            )
        case list() | tuple():
            return any(map(holds_secret, value))
        case _:
            return False


def _refusal(path: Path) -> str:
    instead = (
        "write {variable: NAME} in its place"
        if _takes_variables(path)
        else "name that in the endpoint's key_variable"
        if is_of_endpoints(path)
        else "leave it out here"
    )
    return (
        "holds what looks like a password or key, which would be stored with the run; put it into "
        f"an environment variable, and {instead}"
    )


def _places(value: Any, path: Path) -> Iterator[Path]:
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, str):
        if _is_secret(value) or (path and _may_be_secret(_last_name(path), value)):
            yield path
    elif isinstance(value, Mapping):
        yield from _places_in_table(value, path)
    elif isinstance(value, list | tuple | set | frozenset):
        items = list(value)
        if len(items) == 2 and is_secret_name(items[0]) and not _is_word(items[1]):
            yield path
            return
        for number, entry in enumerate(items):
            option = items[number - 1] if number else None
            if isinstance(option, str) and option.startswith("-") and is_secret_name(option[1:]):
                yield (*path, number)
            else:
                yield from _places(entry, (*path, number))


def _places_in_table(table: Mapping[Any, Any], path: Path) -> Iterator[Path]:
    named = [table[n] for n in ("name", "key", "header") if n in table]  # {name: …, value: …}
    if "value" in table and any(map(is_secret_name, named)) and _is_stored(table["value"], path):
        yield (*path, "value")
    for name, entry in table.items():
        inner = (*path, str(name))
        if _is_secret(str(name)):
            yield (*path, "[key]")
        elif is_secret_name(name) and not _names_by_user(path):
            if _is_stored(entry, inner):
                yield inner
        else:
            yield from _places(entry, inner)


def _names_by_user(path: Path) -> bool:
    """True where entries of the table have names that users give to rewards, criteria, columns
    and judges."""
    match path:
        case (
            ("rewards",)
            | ("judges",)
            | ("rewards", _, "criteria" | "labels")
            | ("data", _, "types")
        ):
            return True
    return False


def _takes_variables(path: Path) -> bool:
    """True where `{variable: NAME}` stands for what the environment holds."""
    return "arguments" in path or path[:2] == ("environment", "headers")


def _is_stored(value: Any, path: Path) -> bool:
    """True where what stands under a secret's name can be one: no blank, yes, no or variable."""
    if is_variable(value):
        return not _takes_variables(path)
    if isinstance(value, Mapping):
        return any(_is_stored(entry, path) for entry in value.values())
    if isinstance(value, list | tuple | set):
        return any(_is_stored(entry, path) for entry in value)
    name = snake(_last_name(path))
    if isinstance(value, int | float) and name.endswith(("pass", "pw")):
        return False  # a count of those that pass, or a power
    if isinstance(value, str) and _is_innocent(name, value):
        return False
    return value is not None and not isinstance(value, bool) and value != ""


def _is_innocent(name: str, value: str) -> bool:
    """True where a text is a model's special token, or below `pwd` the folder that it may be."""
    is_path = name == "pwd" and _PATH.fullmatch(value) and not _looks_random(value)
    return _SPECIAL.fullmatch(value) is not None or bool(is_path)


def _may_be_secret(name: str, value: str) -> bool:
    """True where a text is a secret below a name that need not mean one."""
    if is_often_name(name) and _DRAWN.fullmatch(value) and not _SPECIAL.fullmatch(value):
        return True
    return is_maybe_name(name) and _looks_random(value)


def _is_secret(text: str) -> bool:
    """True where a text is or holds a key by its form, or sets a secret by its name."""
    text = readable(text).replace('\\"', '"')
    if KEY.search(text) or _SCHEME.fullmatch(text.strip()):
        return True
    if any(map(_assigns_secret, _ASSIGNED.finditer(text))) or any(
        map(_is_secret_pair, _pairs(text))
    ):
        return True
    return any(
        KEY.search(d) or any(map(_is_secret_pair, _pairs(d))) for d in _decoded(text)
    ) or any(_LOGIN.fullmatch(decoded.strip()) for decoded in _from_base64(text))


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """Names and values that stand together in JSON, in code, in markup or as lines."""
    for match in _QUOTED.finditer(text):
        if match["quote"] == "" and match["value"].isalpha() and match["value"].islower():
            continue  # a word of prose
        yield next((match[f"name{n}"], match[f"value{n}"]) for n in ("", 2, 3) if match[f"name{n}"])
    for match in _WHOLE_LINE.finditer(text):
        if match["value"].islower() and match["value"].isalpha():
            continue  # a line of prose
        if "\n" in text or " " in match["name"]:
            yield match["name"], match["value"]


def _is_secret_pair(pair: tuple[str, str]) -> bool:
    name, value = pair
    if value.startswith(_PLACEHOLDERS) or value.lower().strip(".,;") in _STAND_INS:
        return False
    if is_secret_name(name) and not _is_innocent(snake(name), value):
        return len(value) > 3 and not ("_" in value and value.isupper())  # the name of a variable
    return _may_be_secret(name, value)


def _assigns_secret(match: re.Match[str]) -> bool:
    # As in a query, a list of options, or a header; prose such as "a token is" assigns nothing.
    name, sign, value = match["name"], match["sign"], match["value"]
    if value.startswith(_PLACEHOLDERS) or _is_innocent(snake(name), value):
        return False
    if sign == "=" or (sign.isspace() and match["dashes"]):
        known = is_secret_name(name) or (name.lower() in ("key", "sig", "code") and sign == "=")
        return (known and len(value) > 3) or _may_be_secret(name, value)
    if match.start() or not sign.startswith(":"):
        return False
    is_whole = match.end("value") == len(match.string.rstrip())
    return is_whole and (is_secret_name(name) or _may_be_secret(name, value))


def _last_name(path: Path) -> str:
    return next((part for part in reversed(path) if isinstance(part, str)), "")


def _is_word(value: Any) -> bool:
    return not isinstance(value, str) or re.fullmatch(r"[a-z ]*", value) is not None


def _looks_random(text: str) -> bool:
    """True where letters and digits alternate as in no word: hexadecimal, base64, UUIDs."""
    if _UUID.search(text):
        return True
    for run in _RUN.findall(text):
        kinds = ["digit" if c.isdigit() else "upper" if c.isupper() else "lower" for c in run]
        changes = sum(a != b for a, b in pairwise(kinds))
        if "digit" in kinds and len(set(kinds)) > 1 and changes >= 5:
            return True
    return False


def _decoded(text: str) -> Iterator[str]:
    """Texts that a text holds in base64, in hexadecimal or behind per cent signs."""
    if "%" in text:
        yield unquote(text)
    yield from _from_base64(text)
    for part in _CODE.findall(text):
        with suppress(ValueError):
            yield bytes.fromhex(part).decode("ascii")


def _from_base64(text: str) -> Iterator[str]:
    for part in _CODE.findall(text):
        bare = part.rstrip("=").replace("+", "-").replace("/", "_")
        with suppress(binascii.Error, UnicodeDecodeError):
            yield base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4)).decode("ascii")


def _dotted(path: Path) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return masked(text.removeprefix("."))
