"""BFCL's function descriptions as models are shown them.

As in the original, the language is added to every description, and parameters of Java and
JavaScript become texts whose description tells the type. Of models that are called through an
interface for tools, types become those of JSON Schema too, and dots in names underscores. What is
added to descriptions says the same in our own words. The original does so down to the entries of
a list in a list; here all levels are treated alike, and an entry of an unknown type is a string,
where the original raises.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rvpo.benchmarks.bfcl.rows import Language
from rvpo.errors import ConfigError

_LANGUAGES: Mapping[Language, str] = {
    "python": "Python 3",
    "java": "Java 8 SDK",
    "javascript": "JavaScript",
}
_NAMES: Mapping[Language, str] = {"java": "Java", "javascript": "JavaScript"}
_TYPES: Mapping[str, str] = {
    **dict.fromkeys(("integer", "byte", "short", "long", "Bigint"), "integer"),
    **dict.fromkeys(("number", "float", "double"), "number"),
    **dict.fromkeys(("boolean", "bool"), "boolean"),
    **dict.fromkeys(("array", "list", "tuple", "ArrayList", "Array", "Queue", "Stack"), "array"),
    **dict.fromkeys(("dict", "object", "HashMap", "Hashtable"), "object"),
}
"""Every other type is a string: string, any, char, and those nobody knows."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Functions in the form that a chat template takes as `tools`, with their names."""

    definitions: tuple[Mapping[str, Any], ...]
    """Each {"type": "function", "function": {"name", "description", "parameters"}}."""
    names: Mapping[str, str]
    """BFCL's name of each function, by the name that is shown."""

    def own_name(self, shown: str) -> str:
        """BFCL's name for one that an answer calls.

        One with dots is never shown, so it is returned without them: it is wrong, as in the
        original.
        """
        return self.names.get(shown, shown.replace(".", "_"))


def tools(functions: Sequence[Mapping[str, Any]], language: Language) -> Tools:
    """The descriptions of a row as tools, in their order.

    Raises:
        ConfigError: two of them would be shown under one name.
    """
    names: dict[str, str] = {}
    for function in functions:
        shown = function["name"].replace(".", "_")
        if names.setdefault(shown, function["name"]) != function["name"]:
            raise ConfigError(
                f"functions {names[shown]!r} and {function['name']!r} are both shown as {shown!r}; "
                "rename one of them"
            )
    return Tools(tuple(_tool(function, language) for function in functions), names)


def described(function: Mapping[str, Any], language: Language) -> Mapping[str, Any]:
    """A function as its calls are checked, types and names still those of BFCL."""
    parameters = function["parameters"]
    properties = {
        name: _as_text(schema, _NAMES[language]) if language in _NAMES else schema
        for name, schema in parameters["properties"].items()
    }
    return {
        **function,
        "description": f"{function['description']} (A function of {_LANGUAGES[language]}.)",
        "parameters": {**parameters, "properties": properties},
    }


def _tool(function: Mapping[str, Any], language: Language) -> Mapping[str, Any]:
    shown = described(function, language)
    parameters = shown["parameters"]
    properties = {name: _property(schema) for name, schema in parameters["properties"].items()}
    return {
        "type": "function",
        "function": {
            **shown,
            "name": function["name"].replace(".", "_"),
            "parameters": {**parameters, "type": "object", "properties": properties},
        },
    }


def _as_text(schema: Mapping[str, Any], language: str) -> dict[str, Any]:
    """A parameter of Java or JavaScript, which is given as a string in its syntax."""
    declared = schema["type"]
    text = {**schema, "type": "string"}
    described = schema["description"]
    if declared == "any":
        described += f" Give it as text: a {language} value of any type."
    else:
        described += f" Give it as text: a {language} value of type {declared}."
    if declared in ("ArrayList", "Array", "array"):
        inner = text.pop("items")["type"]
        described += f" Its elements are of type {inner}, and no texts of their own."
    if declared == "dict" and "properties" in schema:
        entries = json.dumps(text.pop("properties"))
        described += f" Its entries, which are no texts of their own, have this schema: {entries}"
    return {**text, "description": described}


def _property(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a parameter, or of an entry of a mapping."""
    converted = _typed(schema)
    if schema.get("type") == "float":
        converted["format"] = "float"
        described = f"{schema.get('description', '')} A float."
        converted["description"] = described.lstrip()
    return converted


def _typed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with the types of JSON Schema, all the way down."""
    kind = _TYPES.get(schema.get("type", "string"), "string")
    converted = {**schema, "type": kind}
    if kind not in ("array", "object"):
        return converted
    if isinstance(schema.get("properties"), dict):
        converted["properties"] = {
            name: _property(entry) for name, entry in schema["properties"].items()
        }
    if isinstance(schema.get("items"), dict):
        converted["items"] = _typed(schema["items"])
    return converted
