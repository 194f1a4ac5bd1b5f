"""A profiler that follows one value through a package, from function to function.

It is known by a text, or by token ids, that no other value has. What is made of it is known again:
every tensor that PyTorch computes from it, and every number and tensor that a function returns
which was given it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, fields, is_dataclass
from functools import partial
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_VARARGS, CO_VARKEYWORDS
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

DEPTH: Final = 9
"""Containers and objects that are looked into, one in the other."""
WIDTH: Final = 64
"""Items of a container that are looked at."""


@dataclass
class Call:
    """A call that held what is followed."""

    frame: FrameType | None
    file: str
    parent: Call | None
    before: set[int]
    """Identities of what is followed in its arguments."""
    own: Collection[int]
    """Identities of what `self` held."""
    order: int
    gives: bool = True
    """Whether what it got is in its result or newly in its arguments, or it got nothing."""


@dataclass
class Follower:
    """Follows values by `sys.setprofile`.

    Args:
        texts: that occur in no other value; `numbers` likewise, joined ids of tokens.
        goal: true of the code and result with which the way ends.
    """

    package: str
    texts: Sequence[str]
    numbers: Sequence[str]
    goal: Callable[[CodeType, Any], bool]
    out: Path
    calls: list[Call] = field(default_factory=list)
    forms: dict[str, None] = field(default_factory=dict)
    made: dict[int, Any] = field(default_factory=dict)
    """Numbers and tensors made of what is followed, by identity."""
    done: bool = False
    _open: dict[int, list[Call]] = field(default_factory=dict)  # by thread
    _order: Iterator[int] = field(default_factory=itertools.count)

    def __call__(self, frame: FrameType, event: str, result: Any) -> None:
        """Python's profiler calls this."""
        if self.done or event not in ("call", "return"):
            return
        code, file = frame.f_code, self._file(frame)
        if file is not None:
            self._began(frame, file) if event == "call" else self._ended(frame, file, result)
        if self.goal(code, result if event == "return" else None):
            self.write()

    def learn(self, value: Any, known: Collection[int] = (), depth: int = DEPTH) -> None:
        """Know the numbers and tensors in a result again, but for what was given as it is."""
        if isinstance(value, float) or _is_tensor(value):
            if id(value) not in known:
                self.made[id(value)] = value
        elif depth and isinstance(value, Mapping | list | tuple):
            items = value.values() if isinstance(value, Mapping) else value
            for item in itertools.islice(items, WIDTH):
                self.learn(item, known, depth - 1)
        elif depth and is_dataclass(value) and not isinstance(value, type):
            own = [getattr(value, each.name, None) for each in fields(value)]
            if self.found(value) or any(map(_is_tensor, own)):
                self.learn(own, known, depth - 1)

    def found(self, value: Any, seen: set[int] | None = None, depth: int = DEPTH) -> set[int]:
        """Identities of what is followed in a value."""
        seen = set() if seen is None else seen
        if isinstance(value, str | bytes | bytearray):
            text = value if isinstance(value, str) else value.decode(errors="replace")
            return {id(value)} if any(each in text for each in self.texts) else set()
        if isinstance(value, float) or _is_tensor(value):
            return {id(value)} if id(value) in self.made else set()
        if isinstance(value, list | tuple) and value and all(type(item) is int for item in value):
            joined = f" {' '.join(map(str, value))} "
            return {id(value)} if any(f" {each} " in joined for each in self.numbers) else set()
        if not depth or id(value) in seen:
            return set()
        if parts := _parts(value):
            seen.add(id(value))
        inside = set().union(*(self.found(each, seen, depth - 1) for each in parts))
        if inside and is_dataclass(value):
            self.forms.setdefault(type(value).__name__)
        return inside

    def write(self) -> None:
        """The files in the order in which they were first crossed, and those only looked in."""
        self.done = True
        self.calls += [call for stack in self._open.values() for call in stack if call.before]
        crossed: dict[str, None] = {}
        looked: dict[str, None] = {}
        for call in sorted(self.calls, key=lambda call: call.order):
            (crossed if _is_on_the_way(call) else looked).setdefault(call.file)
        text = json.dumps([[*crossed], [f for f in looked if f not in crossed], [*self.forms]])
        process = "train" if "train" in sys.orig_argv else "judge"
        (self.out / f"followed-{process}-{os.getpid()}.json").write_text(text)

    def _file(self, frame: FrameType) -> str | None:
        """The file of the package that a frame runs in; a dataclass's own for its constructor."""
        name = frame.f_code.co_filename
        if name == "<string>" and frame.f_code.co_name == "__init__":
            module = type(frame.f_locals.get("self")).__module__
            name = getattr(sys.modules.get(module), "__file__", None) or ""
        if not name.startswith(self.package) or frame.f_code.co_name == "<module>":
            return None
        return name.removeprefix(self.package)

    def _began(self, frame: FrameType, file: str) -> None:
        stack = self._open.setdefault(threading.get_ident(), [])
        parent = stack[-1] if stack else None
        before = self.found(_arguments(frame))
        own = _own(frame).keys()
        stack.append(Call(frame, file, parent, before, own, next(self._order)))

    def _ended(self, frame: FrameType, file: str, result: Any) -> None:
        stack = self._open.setdefault(threading.get_ident(), [])
        if not stack or stack[-1].frame is not frame:  # it began before the profiler
            return
        call = stack.pop()
        call.frame = None
        if call.before:
            is_value = is_dataclass(result)  # whose numbers are of what it is of
            self.learn(result, () if is_value else _numbers(_arguments(frame)))
            new = [value for key, value in _own(frame).items() if key not in call.own]
            self.learn(new, depth=1)
        after, given = self.found(_arguments(frame)), self.found(result)
        if call.before or after or given:
            call.gives = bool(given or after - call.before) or _is_apart(frame.f_code)
            self.calls.append(call)


def _numbers(value: Any, depth: int = 4) -> set[int]:
    """Identities of the numbers in a value."""
    if isinstance(value, float):
        return {id(value)}
    parts = _parts(value) if depth else []
    return set().union(*(_numbers(each, depth - 1) for each in parts))


def _is_apart(code: CodeType) -> bool:
    """A constructor gives on its object, tasks and threads by writing and by futures."""
    is_task = bool(code.co_flags & (CO_COROUTINE | CO_ASYNC_GENERATOR))
    is_main = threading.current_thread() is threading.main_thread()
    return is_task or not is_main or code.co_name == "__init__"


def _is_tensor(value: Any) -> bool:
    return "torch" in sys.modules and isinstance(value, sys.modules["torch"].Tensor)


def _arguments(frame: FrameType) -> list[Any]:
    code = frame.f_code
    stars = bool(code.co_flags & CO_VARARGS) + bool(code.co_flags & CO_VARKEYWORDS)
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + stars]
    return [frame.f_locals[name] for name in names if name in frame.f_locals]


def _own(frame: FrameType) -> dict[int, Any]:
    """The attributes of `self`, by identity."""
    values = getattr(frame.f_locals.get("self"), "__dict__", {}).values()
    return {id(value): value for value in values}


def _parts(value: Any) -> list[Any]:
    """What a container or an object of the package consists of; not of settings and models."""
    if isinstance(value, Mapping):
        return [*itertools.islice(value, WIDTH), *itertools.islice(value.values(), WIDTH)]
    if isinstance(value, list | tuple | set | frozenset | deque):
        return list(itertools.islice(value, WIDTH))
    if isinstance(value, partial):
        return [*value.args, *value.keywords.values()]
    if isinstance(value, Future | asyncio.Future):
        is_there = value.done() and not value.cancelled() and value.exception() is None
        return [value.result()] if is_there else []
    kind = type(value)
    if not kind.__module__.startswith("rvpo.") or hasattr(kind, "__pydantic_config__"):
        return []
    if hasattr(kind, "model_fields") or hasattr(kind, "named_parameters"):
        return []
    slots = [name for each in kind.__mro__ for name in getattr(each, "__slots__", ())]
    return [*getattr(value, "__dict__", {}).values(), *(getattr(value, n, None) for n in slots)]


def _is_on_the_way(call: Call | None) -> bool:
    return call is None or (call.gives and _is_on_the_way(call.parent))
