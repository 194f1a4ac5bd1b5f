"""Sentences about the problems of a document, one for each.

pydantic finds the problems; this says them: the dotted path as the user writes it, what was
given, what is allowed, and the nearest valid name.
"""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, Tag, ValidationError
from pydantic_core import ErrorDetails

from rvpo.config.secret_name import is_of_endpoints
from rvpo.docstrings import docstrings
from rvpo.errors import ConfigError, nearest

M = TypeVar("M", bound=BaseModel)

_SHAPES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "path": "a path",
    "dict": "a table of settings",
    "model": "a table of settings",
    "dataclass": "a table of settings",
    "tuple": "a list",
    "list": "a list",
}
_KINDS: dict[type, str] = {str: "text", dict: "a table", list: "a list"}
_BOUNDS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
MOST_SHOWN: Final = 60
"""Problems that are looked into and said; nobody reads more at once."""
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_MISSING = ("missing", "missing_argument", "missing_keyword_only_argument")


@dataclass(frozen=True, slots=True)
class _Spot:
    """Place of a problem in the tree."""

    path: tuple[str | int, ...]
    kind: Any
    """The declared type there, a union as a whole."""
    section: Any = None
    """The type that holds it."""
    others: tuple[Any, ...] = ()
    """Types that could stand in the section's place, where a name chooses among several."""
    is_entry: bool = False
    """The section is an entry that the user named, such as one reward."""


def sentences(error: ValidationError, root: type[BaseModel], document: Any) -> list[str]:
    """Every problem of `error`, which validating `document` as `root` raised.

    A value that fits no member of a union is one problem, not one for each member.
    """
    details = error.errors(include_url=False)
    shown = details[:MOST_SHOWN]
    found = [(_locate(root, detail["loc"]), detail) for detail in shown]
    result: dict[str, None] = {}  # a set that keeps the order
    for spot, detail in found:
        if _is_mismatch(detail) and _deeper(spot, found):
            continue
        if _is_long_enough(detail):  # pydantic counts the right items alone
            continue
        where = _dotted(spot.path)
        if detail["type"].startswith("union_tag"):
            where += f".{_chooser(detail)}"
        for line in _sentence(spot, detail, root, document).split("\n"):
            result[f"{where}: {line}" if where else line] = None
    more = len(details) - len(shown)
    return [*result, *([f"and {more:,} more problems"] if more else [])]


def validated(model: type[M], document: Any, refusal: str) -> M:
    """The settings that a document holds.

    Args:
        refusal: begins the message, such as "run.yaml is not a valid run".

    Raises:
        ConfigError: it does not hold them. The message lists every problem, one a line.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        lines = "".join(f"\n  {each}" for each in sentences(error, model, document))
        raise ConfigError(f"{refusal}:{lines}") from None


def _sentence(spot: _Spot, detail: ErrorDetails, root: type[BaseModel], document: Any) -> str:
    kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    got = _given(given, repeated=not is_of_endpoints(spot.path))
    match kind:
        case _ if kind in _UNKNOWN:
            return _unknown(spot, root)
        case _ if kind in _MISSING:
            return _missing(spot, document)
        case "value_error":
            return str(context["error"])
        case "union_tag_invalid" if _lookup(given, [_chooser(detail)]) is not None:
            return _choose(_lookup(given, [_chooser(detail)]), context["expected_tags"])
        case "union_tag_not_found" | "union_tag_invalid":
            return "required and not given; choose from " + ", ".join(_tags(spot.kind))
        case "literal_error" | "enum":
            return _choose(given, context["expected"])
        case "too_long" | "too_short":
            return f"must have {_count(spot.kind, context)}, got {got}"
        case "finite_number":
            return f"must be a finite number, got {got}"
        case _ if kind in _BOUNDS:
            words, bound = _BOUNDS[kind]
            return f"must be {words} {context[bound]}, got {got}"
        case _ if kind.partition("_")[0] in _SHAPES:
            allowed, hint = _allowed(spot.kind, kind), _hint(spot, kind, given)
            return f"must be {allowed}, got {got}{hint}"
        case _:
            return f"{detail['msg'].rstrip('.')}, got {got}"


def _unknown(spot: _Spot, root: type[BaseModel]) -> str:
    name, allowed = str(spot.path[-1]), list(_fields(spot.section))
    owners = [_tag(other) for other in spot.others if name in _fields(other)]
    if owners:
        mine, table = _tag(spot.section), _dotted(spot.path[:-1])
        have = "has" if len(owners) == 1 else "have"
        text = (
            f"'{mine}' has no such setting ({', '.join(owners)} {have}); allowed here: "
            f"{', '.join(allowed)}"
        )
        if "name" not in _fields(spot.section):  # its word alone is no table
            return text
        if "[" in table:  # a place in a list cannot be written alone
            return text
        return f"{text}. To replace the whole table write {table}={{name: {mine}}}"
    guess = nearest(name, allowed) or next(_homes(root, name), None)
    if guess is None:
        return f"no such setting; allowed here: {', '.join(allowed)}"
    return f"no such setting; did you mean '{guess}'?"


def _missing(spot: _Spot, document: Any) -> str:
    text = "required and not given"
    if spot.is_entry:
        *holder, entry, field = spot.path
        siblings = _lookup(document, holder)
        names = [n for n, s in siblings.items() if isinstance(s, Mapping) and field in s]
        guess = nearest(str(entry), names)
        if guess is not None:
            return f"{text}; did you mean '{_dotted((*holder, guess))}', which has one?"
    helps = docstrings(spot.section) if isinstance(spot.section, type) else {}
    about = " ".join(helps.get(str(spot.path[-1]), "").split()).rstrip(".")
    return f"{text}: {about[0].lower()}{about[1:]}" if about else text


def _choose(given: Any, expected: str) -> str:
    """`expected` is pydantic's listing: quoted names, and numbers, with commas or "or" between."""
    spelled = {each.strip("'"): each for each in re.findall(r"'[^']*'|[\d.]+", expected)}
    got = _given(given)
    if same := spelled.get(got.strip("'")):  # of another type: text that is no text, or otherwise
        quotes = "in quotes" if same.startswith("'") else "without quotes"
        return f"{got} is not available; write {same}, {quotes}"
    names = sorted(spelled, key=lambda n: -difflib.SequenceMatcher(None, n, str(given)).ratio())
    guess = nearest(str(given), names)
    meant = f"did you mean {spelled[guess]}? Choose" if guess else "choose"
    return f"{got} is not available; {meant} from {', '.join(names)}"


def _allowed(kind: Any, error: str) -> str:
    """Values that a place takes, in words; a union names each of its members."""
    members = _members(kind)
    if len(members) < 2:
        return _SHAPES[error.partition("_")[0]]
    if all("name" in _fields(m) for m in members):
        return f"a name or a table with one ({', '.join(_tags(kind))})"
    words = [
        f"a table of {' and '.join(_fields(m))}" if _fields(m) else _SHAPES.get(m.__name__, "")
        for m in members
    ]
    return " or ".join(filter(None, words))


def _count(kind: Any, context: Mapping[str, Any]) -> str:
    """Number of items that a list takes, in words."""
    most = context.get("max_length")
    count = context["min_length"] if most is None else most
    pairs = (get_args(m) for m in _members(kind) if get_origin(m) is tuple)
    is_exact = any(Ellipsis not in items for items in pairs)
    words = "" if is_exact else "at least " if most is None else "at most "
    return f"{words}{count} item{'' if count == 1 else 's'}"


def _hint(spot: _Spot, error: str, given: Any) -> str:
    if given in _tags(spot.kind):
        return f"; write {{name: {given}}}"
    if error == "string_type" and isinstance(given, bool | int | float):
        return "; put it in quotes"
    return ""


def _given(value: Any, repeated: bool = True) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if not repeated and not isinstance(value, int | float):
        kind = _KINDS.get(type(value), "a value of another kind")
        return f"{kind} (not repeated: it might be a key)"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _is_mismatch(detail: ErrorDetails) -> bool:
    return detail["type"].endswith("_type")


def _is_long_enough(detail: ErrorDetails) -> bool:
    """True of a list that is called too short for its wrong items, which are told by themselves."""
    given, least = detail["input"], detail.get("ctx", {}).get("min_length", 0)
    return detail["type"] == "too_short" and isinstance(given, list) and len(given) >= least


def _deeper(spot: _Spot, found: Sequence[tuple[_Spot, ErrorDetails]]) -> bool:
    """Another problem says more about the same value: it got further into a union's member."""
    return any(
        other.path[: len(spot.path)] == spot.path and not _is_mismatch(detail)
        for other, detail in found
    )


def _locate(root: type[BaseModel], loc: Sequence[str | int]) -> _Spot:
    """Follow pydantic's location, leaving out the union tags that it mixes into the names."""
    path: list[str | int] = []
    kind: Any = root
    declared: Any = root
    section: Any = None
    others: tuple[Any, ...] = ()
    rivals: tuple[Any, ...] = ()
    held_by_dict = is_entry = False
    for part in loc:
        members = _members(kind)
        if len(members) > 1:  # the part is a tag, and names nothing the user wrote
            kind = _chosen(kind, part)
            chosen = _members(kind)
            rivals = tuple(m for m in members if m not in chosen)
            declared = kind if len(chosen) > 1 else declared
            continue
        if part == "[key]":
            continue
        section, is_entry = members[0], held_by_dict
        others, rivals = rivals, ()
        held_by_dict = get_origin(section) is dict
        path.append(part if get_origin(section) in (tuple, list) else str(part))
        kind = _inner(section, part)
        declared = kind
    return _Spot(tuple(path), declared, section, others, is_entry)


def _inner(section: Any, part: str | int) -> Any:
    """The declared type of an entry, an item or a setting."""
    arguments = get_args(section)
    if get_origin(section) is dict:
        return arguments[1]
    if get_origin(section) in (tuple, list) and isinstance(part, int):
        is_uniform = get_origin(section) is list or arguments[-1] is Ellipsis
        return arguments[0] if is_uniform else arguments[part]
    return _fields(section).get(str(part), Any)


def _members(kind: Any) -> list[Any]:
    """The types a union may be, None left out; a list of one for any other type."""
    if get_origin(kind) is Annotated:
        return _members(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return [m for arm in get_args(kind) for m in _members(arm) if m is not types.NoneType]
    return [kind]


def _chosen(kind: Any, tag: str | int) -> Any:
    """The member of a union that a tag names: a type, or a union within it."""
    if get_origin(kind) is Annotated:
        inner, *notes = get_args(kind)
        return kind if Tag(str(tag)) in notes else _chosen(inner, tag)
    if get_origin(kind) in (Union, types.UnionType):
        found = (_chosen(arm, tag) for arm in get_args(kind))
        return next((arm for arm in found if arm is not Any), Any)
    return kind if _tag(kind) == tag else Any


def _chooser(detail: ErrorDetails) -> str:
    """The setting that chooses among the members of a union."""
    return str(detail["ctx"]["discriminator"]).strip("'")


def _tags(kind: Any) -> list[str]:
    return [_tag(member) for member in _members(kind)]


def _tag(member: Any) -> str:
    """pydantic's tag of a union member: the one word that its `name` or its `format` may be, else
    the type's own name."""
    words = (get_args(_fields(member).get(chooser)) for chooser in ("name", "format"))
    own = getattr(member, "__name__", member)
    return next((str(found[0]) for found in words if len(found) == 1), str(own))


def _fields(kind: Any) -> dict[str, Any]:
    """Settings of a section with their types; none for a type that is no section."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: info.annotation for name, info in kind.model_fields.items()}
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        return {field.name: hints[field.name] for field in fields(kind)}
    return {}


def _homes(root: type[BaseModel], name: str) -> Iterator[str]:
    """Sections in which a setting of this name does exist."""
    for section, kind in _fields(root).items():
        if any(name in _fields(member) for member in _members(kind)):
            yield f"{section}.{name}"


def _lookup(document: Any, path: Sequence[str | int]) -> Any:
    for part in path:
        document = document[part]
    return document


def _dotted(path: Sequence[str | int]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")
