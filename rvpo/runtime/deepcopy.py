"""Values of our own to hand to code of others, which may change what it is given."""

from __future__ import annotations

from copy import Error, deepcopy
from typing import Any

_FIXED = frozenset({type(None), bool, int, float, complex, str, bytes})
"""Types whose values nobody can change."""


def own(value: Any) -> Any:
    """A copy, however deep, that shares nothing that can be changed.

    Lists and dicts, which is what data are made of, are copied many times faster than by
    `copy.deepcopy`, and at any depth. What cannot be copied, such as an open client, is shared.
    """
    top = [value]
    unread: list[list[Any] | dict[Any, Any]] = [top]
    while unread:
        holder = unread.pop()
        items = holder.values() if isinstance(holder, dict) else holder
        if set(map(type, items)) <= _FIXED:
            continue
        for key, item in holder.items() if isinstance(holder, dict) else enumerate(holder):
            kind = type(item)
            if kind in _FIXED:
                continue
            if kind is list or kind is dict:
                holder[key] = item.copy()
                unread.append(holder[key])
            else:
                holder[key] = _deep(item)
    return top[0]


def _deep(value: Any) -> Any:
    try:
        return deepcopy(value)
    except (Error, TypeError):  # what `copy` says of locks, sockets, modules and what holds them
        return value
