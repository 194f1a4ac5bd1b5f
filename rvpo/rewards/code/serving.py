"""The process of a program: it runs `solution.py` and answers what the tests ask of it.

    python -m rvpo.rewards.code.serving SECONDS

Nothing here is trusted: the program can do as it likes with this process, and the tests are in
another. Only the standard library is imported: this is copied into the sandbox and run there.
"""

from __future__ import annotations

import json
import operator
import os
import resource
import sys
import types
from collections.abc import Callable
from typing import IO, Any

from rvpo.rewards.code.wire import SOLUTION, SOLUTION_FILE, decoded, encoded, say


def serve(seconds: int) -> None:
    """Run `solution.py` and answer calls until nobody asks.

    Args:
        seconds: time of computing for each answer.
    """
    with open(SOLUTION_FILE, encoding="utf-8", errors="surrogatepass") as file:
        source = file.read()
    asked, answered = _own_pipes()
    module = types.ModuleType(SOLUTION)
    sys.modules[SOLUTION] = module
    objects: list[Any] = [module, bool, setattr, _plain, isinstance, operator]  # as `wire` says
    known = {id(value): number for number, value in enumerate(objects)}

    def handle(value: Any) -> int:
        number = known.setdefault(id(value), len(objects))  # what is kept here keeps its id
        if number == len(objects):
            objects.append(value)
        return number

    with asked, answered:
        _allow(seconds)
        try:
            exec(compile(source, SOLUTION_FILE, "exec"), module.__dict__)
        except BaseException as error:  # whatever the program raises is an answer
            say(answered, {"names": [], "raised": _raised(error, handle)})
        else:
            names = [name for name in vars(module) if name[:2] != "__"]
            say(answered, {"names": names, "defined": _defined(module)})
        for line in asked:
            _allow(seconds)
            say(answered, _answer(json.loads(line), objects, handle))


def _answer(request: Any, objects: list[Any], handle: Callable[[Any], int]) -> Any:
    def object_of(number: int, _: Any = None) -> Any:
        return objects[number]

    try:
        target = objects[request["on"]]
        if "attribute" in request:
            return {"value": encoded(getattr(target, request["attribute"]), handle)}
        given = decoded(request["given"], object_of)
        named = decoded(request["named"], object_of)
        value = encoded(target(*given, **named), handle)
        return {"value": value, "given": encoded([*given, *named.values()], handle)}
    except BaseException as error:  # the same
        return {"raised": _raised(error, handle)}


def _raised(error: BaseException, handle: Callable[[Any], int]) -> list[Any]:
    """Its class, its arguments, its text and a handle on it."""
    try:
        said = [encoded(type(error), handle), encoded(list(error.args), handle), str(error)]
        return [*said, handle(error)]
    except BaseException:  # the same
        return [encoded(RuntimeError, handle), ["list", []], "", 0]


def _plain(value: Any) -> Any:
    kinds: tuple[type[Any], ...] = (list, dict, set, bytearray)
    for kind in kinds:
        if isinstance(value, kind):
            return kind(value)
    raise TypeError(f"{type(value).__name__} is no collection")


def _defined(module: types.ModuleType) -> list[str]:
    """Names of the public functions and classes that a program defines at its top; of the methods
    of its class `Solution` where it has one."""
    holder = vars(module).get("Solution")
    inside = vars(holder if isinstance(holder, type) else module)
    return [
        name
        for name, value in inside.items()
        if name[0] != "_"
        and (callable(value) or isinstance(value, staticmethod | classmethod))
        and getattr(value, "__module__", None) == SOLUTION
    ]


def _allow(seconds: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(used.ru_utime + used.ru_stime) + 1 + seconds
    if hard == resource.RLIM_INFINITY or soft < hard:
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _own_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Standard input and output for the dialogue alone; whoever else uses them reads nothing and
    writes nowhere."""
    pipes = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    for number, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY)):
        nothing = os.open(os.devnull, mode)
        os.dup2(nothing, number)
        os.close(nothing)
    return pipes


if __name__ == "__main__":
    sys.set_int_max_str_digits(0)
    serve(int(sys.argv[1]))
