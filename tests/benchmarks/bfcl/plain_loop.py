"""BFCL's conversations as the original has them, in one loop without an engine, a world or a
process: what the evaluation must come to as well."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rvpo.benchmarks.bfcl.decode import decode_tools
from rvpo.benchmarks.bfcl.multi_turn_rows import MultiTurnRow
from rvpo.benchmarks.bfcl.schema import tools
from rvpo.benchmarks.bfcl.services import Modules, Services, failing, read_call

ADDED = "There are further functions that you can call from here on. Can you do it with these?"
Shown = tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]
"""Messages and tools."""


def played(
    row: MultiTurnRow,
    modules: Modules,
    said: Callable[[Shown], str],
    has_room: Callable[[Shown], bool],
) -> tuple[list[Shown], list[Mapping[str, Any]], bool]:
    """All that the policy is shown, the messages behind the first prompt, and the verdict.

    Args:
        said: the policy.
        has_room: false of what does not fit into the model's context.
    """
    services = Services(modules, row.scene)
    messages: list[Mapping[str, Any]] = []
    asked: list[Shown] = []
    made: list[list[Any]] = []
    functions = list(row.functions)
    for turn, question in enumerate(row.turns):
        functions += row.added.get(turn, ())
        known = tools(functions, "python")
        messages += question or ({"role": "user", "content": ADDED},)
        made.append([])
        steps = 0
        while True:
            shown = (list(messages), known.definitions)
            if asked and not has_room(shown):
                return asked, messages[len(row.turns[0]) :], False
            asked.append(shown)
            text = said(shown)
            calls = [
                (name, (), values)
                for call in decode_tools(text, known.own_name).calls
                for name, values in call.items()
            ]
            if not calls:
                messages.append({"role": "assistant", "content": text})
                break
            listed = [
                {"type": "function", "function": {"name": name, "arguments": values}}
                for name, _, values in calls
            ]
            before = text.partition("<tool_call>")[0].strip() if "<tool_call>" in text else ""
            messages.append({"role": "assistant", "content": before, "tool_calls": listed})
            for call in calls:
                answer = services.call(call)
                messages.append({"role": "tool", "name": call[0], "content": answer})
            made[-1] += calls
            steps += 1
            if steps > 20:
                return asked, messages[len(row.turns[0]) :], False
    wanted = [[read_call(text) for text in turn] for turn in row.ground_truth]
    is_right = failing(modules, row.scene, made, wanted) is None
    return asked, messages[len(row.turns[0]) :], is_right
