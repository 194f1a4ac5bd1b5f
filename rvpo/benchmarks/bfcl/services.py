"""BFCL's simulated services, and what calls of several turns make of them.

The classes are those of the published wheel, so that results and states are the original's. Calls
are made by name, with values that are read and never evaluated: what a model writes is no code
here. What calls answer goes by `eval_checker/multi_turn_eval` of bfcl-eval, in both versions:

    a text as it is, a table as JSON, anything else as `str` has it
    an exception as "Error during execution: " and its message

A conversation is right where, after every turn in which calls are wanted, some were made, every
service has the same public state as after the wanted calls, and each answer to a wanted call is
among the answers so far. A turn in which none are wanted is not looked at.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from types import CodeType, SimpleNamespace
from typing import Any, Final

_PACKAGE: Final = "bfcl_eval.eval_checker.multi_turn_eval.func_source_code."
MODULES: Final[Mapping[str, str]] = {
    "GorillaFileSystem": "gorilla_file_system",
    "MathAPI": "math_api",
    "MessageAPI": "message_api",
    "TwitterAPI": "posting_api",
    "TicketAPI": "ticket_api",
    "TradingBot": "trading_bot",
    "TravelAPI": "travel_booking",
    "VehicleControlAPI": "vehicle_control",
}
"""The module of each service, which is also the name of the file that describes its functions."""
_STATELESS: Final = ("MathAPI",)
_REFUSED: Final = frozenset(
    {"kill", "exit", "quit", "remove", "unlink", "popen", "Popen", "run"}  # by the original too
)

_ABSENT: Final = object()

ServiceCall = tuple[str, Sequence[Any], Mapping[str, Any]]
"""A function's name, its values by place and its values by name."""


class Modules:
    """Modules of the wheel's services, which import each other and Python's own.

    Args:
        source: gives the text of a module by its name.
    """

    def __init__(self, source: Callable[[str], str]) -> None:
        self._source = source
        self._code: dict[str, CodeType] = {}
        self._known: dict[str, dict[str, Any]] = {}

    def anew(self) -> Modules:
        """The same as if nothing had been called: services write into tables of their modules."""
        other = Modules(self._source)
        other._code = self._code
        return other

    def service(self, name: str) -> Any:
        """The class of a service."""
        return self._names(MODULES[name])[name]

    def _names(self, module: str) -> dict[str, Any]:
        if module not in self._known:
            own = {**vars(builtins), "__import__": self._import}
            names: dict[str, Any] = {"__name__": _PACKAGE + module, "__builtins__": own}
            if module not in self._code:
                self._code[module] = compile(self._source(module), f"{module}.py", "exec")
            exec(self._code[module], names)
            self._known[module] = names
        return self._known[module]

    def _import(self, name: str, *arguments: Any) -> Any:
        if not name.startswith(_PACKAGE):
            return __import__(name, *arguments)
        return SimpleNamespace(**self._names(name.removeprefix(_PACKAGE)))


class Services:
    """The services of one conversation, in the state that its calls have brought them to.

    Args:
        scene: `classes`, the names of the services, `config`, the state that each begins in, and
            `long`, true where files and lists are filled up.
    """

    def __init__(self, modules: Modules, scene: Mapping[str, Any]) -> None:
        self._every = {name: modules.service(name)() for name in scene["classes"]}
        for name, service in self._every.items():
            if name not in _STATELESS:
                config = deepcopy(scene["config"].get(name, {}))
                service._load_scenario(config, long_context=scene["long"])
        self._methods = {
            method: bound
            for service in self._every.values()
            for method, bound in inspect.getmembers(service, predicate=inspect.ismethod)
            if not method.startswith("_")
        }

    def call(self, call: ServiceCall) -> str:
        """The answer to a call, in the original's words."""
        name, places, named = call
        if name in _REFUSED:
            return f"Error during execution: Function call {name} is not allowed."
        if name not in self._methods:
            return f"Error during execution: name '{name}' is not defined"
        try:
            # A service may keep a list that it is given, and add to it.
            return _said(self._methods[name](*deepcopy(places), **deepcopy(named)))
        except Exception as error:  # the services raise anything for what a model may write
            return f"Error during execution: {error}"

    def differs_from(self, other: Services) -> list[str]:
        """Names of public state, such as `TradingBot.orders`, that is not the same."""
        return [
            f"{name}.{key}"
            for name, service in other._every.items()
            for key, value in vars(service).items()
            if not key.startswith("_") and getattr(self._every[name], key, _ABSENT) != value
        ]


def _said(found: Any) -> str:
    if isinstance(found, str):
        return found
    if isinstance(found, dict):
        try:
            return json.dumps(found)
        except (TypeError, ValueError):  # it holds what JSON has no words for
            return str(found)
    return str(found)


def answers(
    modules: Modules, scene: Mapping[str, Any], turns: Sequence[Sequence[ServiceCall]]
) -> list[str]:
    """The answer to each call of some turns, one after the other."""
    services = Services(modules, scene)
    return [services.call(call) for turn in turns for call in turn]


def failing(
    modules: Modules,
    scene: Mapping[str, Any],
    turns: Sequence[Sequence[ServiceCall]],
    wanted: Sequence[Sequence[ServiceCall]],
) -> tuple[str, str] | None:
    """Reason that a conversation is wrong, and a sentence; None where it is right.

    Args:
        turns: the calls that were made, by turn.
        wanted: those of the ground truth.
    """
    if len(turns) != len(wanted):
        return "wrong_count", f"there are {len(turns)} turns, and {len(wanted)} in the ground truth"
    own, right = Services(modules, scene), Services(modules, scene)
    said: list[str] = []
    for number, (made, truth) in enumerate(zip(turns, wanted, strict=True)):
        said += [own.call(call) for call in made]
        expected = [right.call(call) for call in truth]
        if not truth:
            continue
        if not made:
            return "not_called", f"turn {number} calls nothing"
        if differing := own.differs_from(right):
            return "wrong_state", f"after turn {number} {', '.join(differing)} is another"
        if missing := Counter(expected) - Counter(said):
            answer = next(iter(missing))
            return "missing_result", f"no call up to turn {number} answers {answer!r:.200}"
    return None


def read_call(text: str) -> ServiceCall:
    """A call of the ground truth, such as `cd(folder='temp')`.

    Raises:
        ValueError: it is no call with values that are written out.
    """
    try:
        call = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"{text!r} is no call") from error
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise ValueError(f"{text!r} is no call")
    places = [ast.literal_eval(value) for value in call.args]
    named = {each.arg: ast.literal_eval(each.value) for each in call.keywords if each.arg}
    return call.func.id, places, named
