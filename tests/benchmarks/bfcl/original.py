"""The original code of BFCL, straight from a wheel, in a process of its own.

    python original.py WHEEL v3|v4 < requests > answers

Both are JSON, one a line. Only this process imports `bfcl_eval`, so that two versions never mix and
its modules never meet ours. The checker is imported from the wheel; it imports a table of models
and with it the clients of all vendors, in place of which stands an empty table. Functions of
modules that need more than the standard library are compiled alone, out of the module's source.
"""

from __future__ import annotations

import ast
import collections
import contextlib
import copy
import json
import re
import sys
import types
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


class Model:
    """The entry of every model."""

    underscore_to_dot = False
    display_name = url = org = license = ""


def import_checker(wheel: str) -> Any:
    sys.path.insert(0, wheel)
    stub = types.ModuleType("bfcl_eval.constants.model_config")
    stub.MODEL_CONFIG_MAPPING = collections.defaultdict(Model)  # type: ignore[attr-defined]
    sys.modules[stub.__name__] = stub
    from bfcl_eval.eval_checker.ast_eval import ast_checker

    return ast_checker


def functions_of(wheel: str, module: str, names: tuple[str, ...], **known: Any) -> dict[str, Any]:
    """Some functions of a module, which know nothing but each other and what is given."""
    with zipfile.ZipFile(wheel) as archive:
        tree = ast.parse(archive.read(f"bfcl_eval/{module}.py"))
    tree.body = [
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in names
    ]
    for node in tree.body:  # their annotations name types of other modules
        for part in ast.walk(node):
            if isinstance(part, ast.FunctionDef):
                part.returns = None
            elif isinstance(part, ast.arg):
                part.annotation = None
    exec(compile(tree, module, "exec"), known)
    return known


class Original:
    def __init__(self, wheel: str, version: str) -> None:
        self.wheel, self.version = wheel, version
        self.checker = import_checker(wheel)
        utilities = functions_of(
            wheel, "utils", ("is_function_calling_format_output", "is_empty_output")
        )
        self.is_in_format = utilities["is_function_calling_format_output"]
        self.is_empty = utilities["is_empty_output"]
        self.tools = self._tools()

    def check(self, request: dict[str, Any]) -> list[bool | str]:
        """Of each answer whether it is valid, or the name of the exception."""
        return [self._check(calls, request) for calls in request["answers"]]

    def _check(self, calls: Any, request: dict[str, Any]) -> bool | str:
        if not self.is_in_format(calls):
            return False
        language = request["language"]
        if self.version == "v4":
            from bfcl_eval.constants.enums import Language

            spoken: Any = Language(language)
        else:
            spoken = {"python": "Python", "java": "Java", "javascript": "JavaScript"}[language]
        try:
            verdict = self.checker.ast_checker(
                request["functions"],
                calls,
                request["ground_truth"],
                spoken,
                request["category"],
                "model",
            )
        except Exception as error:  # what it raises is what we want to know
            return type(error).__name__
        return bool(verdict["valid"])

    def relevance(self, request: dict[str, Any]) -> list[bool]:
        """Of each answer whether it has called a function."""
        return [not self.is_empty(calls) for calls in request["answers"]]

    def convert(self, request: dict[str, Any]) -> list[list[Any]]:
        """Each text as a value: its repr, or the name of the exception."""
        converter: Callable[..., Any] = getattr(
            self.checker,
            {"java": "java", "javascript": "js"}[request["language"]] + "_type_converter",
        )
        results: list[list[Any]] = []
        for text, declared, inner in request["values"]:
            try:
                results.append(["value", repr(converter(text, declared, inner))])
            except Exception as error:  # what it raises is what we want to know
                results.append(["raised", type(error).__name__])
        return results

    def _tools(self) -> Callable[[list[Any], str], list[Any]]:
        """What a model is given that reads a prompt, and one behind the API of OpenAI, by
        functions and category."""
        from bfcl_eval.constants.type_mappings import GORILLA_TO_OPENAPI

        known = {"copy": copy, "json": json, "re": re, "GORILLA_TO_OPENAPI": GORILLA_TO_OPENAPI}
        names = ("_cast_to_openai_type", "convert_to_tool", "_get_language_specific_hint")
        if self.version == "v4":
            from bfcl_eval.constants.enums import ModelStyle

            style = ModelStyle.OPENAI_COMPLETIONS
            hint = "_func_doc_language_specific_pre_processing"
            module = "utils"
        else:
            from bfcl_eval.model_handler.model_style import ModelStyle

            style = ModelStyle.OpenAI_Completions
            hint = "func_doc_language_specific_pre_processing"
            module = "model_handler/utils"
        converting = functions_of(
            self.wheel, "model_handler/utils", names, ModelStyle=ModelStyle, **known
        )
        hinting = functions_of(
            self.wheel, module, (hint, "_get_language_specific_hint", "is_java", "is_js"), json=json
        )

        def tools(functions: list[Any], category: str) -> list[Any]:
            hinted = hinting[hint](copy.deepcopy(functions), category)
            described = copy.deepcopy(hinted)
            return [described, converting["convert_to_tool"](hinted, GORILLA_TO_OPENAPI, style)]

        return tools

    def schema(self, request: dict[str, Any]) -> list[Any] | str:
        try:
            return self.tools(request["functions"], request["category"])
        except Exception as error:  # what it raises is what we want to know
            return type(error).__name__

    def score(self, request: dict[str, Any]) -> dict[str, list[list[Any]]]:
        """The tables of the leaderboard, each a header and a row, by file name."""
        written: dict[str, list[list[Any]]] = {}

        def keep(data: list[Any], file_path: Path, header: list[Any], **rest: Any) -> None:
            written[file_path.name] = [header, *data]

        from bfcl_eval.constants import column_headers

        names = (
            "calculate_weighted_accuracy",
            "calculate_unweighted_accuracy",
            "calculate_percentage_weighted_accuracy",
            "get_category_score",
            "generate_leaderboard_csv",
        )
        known = functions_of(
            self.wheel,
            "eval_checker/eval_runner_helper",
            names,
            **{name: value for name, value in vars(column_headers).items() if name.isupper()},
            MODEL_CONFIG_MAPPING=collections.defaultdict(Model),
            get_cost_latency_info=lambda *arguments: ("", "", "", ""),
            get_all_format_sensitivity_configs=list,
            write_score_csv_file=keep,
            os=types.SimpleNamespace(getenv=lambda name: None),
            print=lambda *arguments: None,
        )
        known["generate_leaderboard_csv"]({"model": request["categories"]}, Path("unwritten"))
        return written


def answers(wheel: str, version: str) -> Iterator[str]:
    original = Original(wheel, version)
    for line in sys.stdin:
        request = json.loads(line)
        with contextlib.redirect_stdout(sys.stderr):  # it prints what it cannot read
            answer = getattr(original, request.pop("ask"))(request)
        yield json.dumps(answer)


if __name__ == "__main__":
    for answer in answers(sys.argv[1], sys.argv[2]):
        print(answer)
