"""Every setting of a run with its type, default and help, read from the code."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

from rvpo.advantage import Estimator, Ramp
from rvpo.config.rewards import Condition
from rvpo.config.run import RunConfig
from rvpo.docstrings import docstrings
from rvpo.errors import ConfigError, nearest
from rvpo.satisfied import Satisfied


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One leaf of the settings."""

    path: str
    """Dotted, as in a YAML file. Parts in capitals are names that the user gives."""
    variants: tuple[str, ...]
    """The kinds of its section that have it, such as `rvpo` of `advantage`; none where there is but
    one kind."""
    kind: str
    """Type, or the values to choose from."""
    default: str
    """Default in YAML; `required` where there is none."""
    help: str


def settings() -> list[Setting]:
    """Every setting of a run, in the order of the sections."""
    schema = RunConfig.model_json_schema()
    merged: dict[Setting, list[str]] = {}
    for setting in _Walk(schema["$defs"]).section(schema, "", ""):
        merged.setdefault(replace(setting, variants=()), []).extend(setting.variants)
    return [replace(setting, variants=tuple(kinds)) for setting, kinds in merged.items()]


def of_section(section: str) -> list[Setting]:
    """The settings at a dotted path and below it.

    Raises:
        ConfigError: there is none.
    """
    found = [s for s in settings() if f"{s.path}.".startswith(f"{section}.")]
    if not found:
        parts = [s.path.split(".") for s in settings()]
        paths = {".".join(part[:n]) for part in parts for n in range(1, len(part) + 1)}
        close = nearest(section, sorted(paths))
        meant = f"; did you mean {close}?" if close else "; leave it out to see all"
        raise ConfigError(f"{section}: no such section of the settings{meant}")
    return found


def render(found: list[Setting]) -> str:
    """A paragraph for each setting, for a terminal or a page."""
    return "\n".join(map(_paragraph, found))


def _paragraph(setting: Setting) -> str:
    only = f"  [{', '.join(setting.variants)}]" if setting.variants else ""
    head = f"{setting.path}{only}: {setting.kind} = {setting.default}"
    return f"{head}\n{textwrap.indent(textwrap.fill(setting.help, 96), '    ')}"


class _Walk:
    """The leaves of a JSON schema whose sections are `definitions`."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        plain = (*get_args(Estimator), Ramp, Condition, Satisfied)
        self._documented = {each.__name__: docstrings(each) for each in plain}

    def section(self, schema: Mapping[str, Any], path: str, variant: str) -> Iterator[Setting]:
        helps = self._documented.get(str(schema.get("title")), {})
        for name, each in schema.get("properties", {}).items():
            if "const" not in each or name != "name":  # the word that chooses the variant
                here = f"{path}.{name}".lstrip(".")
                required = name in schema.get("required", ())
                text = each.get("description") or helps.get(name, "")
                yield from self._setting(each, here, variant, required, text)

    def _setting(
        self, schema: Mapping[str, Any], path: str, variant: str, required: bool, text: str
    ) -> Iterator[Setting]:
        sections = list(
            {s["title"]: s for s in self._sections(schema)}.values()
        )  # alone, in a list
        named = schema.get("additionalProperties")
        if isinstance(named, dict) and any(self._sections(named)):
            yield from self._setting(named, f"{path}.NAME", variant, required, text)
            return
        words = self._words(sections)
        if not sections or words or self._kind(schema):
            default = "required" if required else json.dumps(_named(schema.get("default", {})))
            yield Setting(
                path=path,
                variants=(variant,) if variant else (),
                kind=self._kinds(schema, words or "table" * bool(sections)),
                default=default,
                help=" ".join(text.split()),
            )
        for section in sections:
            yield from self.section(section, path, self._variant(section, sections) or variant)

    def _sections(self, schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """The tables that a value may be."""
        if "$ref" in schema:
            found = self._definitions[schema["$ref"].rpartition("/")[2]]
            if "properties" in found:
                yield found
        for way in ("anyOf", "oneOf", "allOf"):
            for each in schema.get(way, ()):
                yield from self._sections(each)
        if isinstance(schema.get("items"), dict):
            yield from self._sections(schema["items"])

    @staticmethod
    def _words(sections: list[Mapping[str, Any]]) -> str:
        """The names that choose among sections; empty where none do."""
        names = [s["properties"].get("name", {}).get("const") for s in sections]
        return " | ".join(map(str, names)) if len(names) > 1 and all(names) else ""

    @staticmethod
    def _variant(section: Mapping[str, Any], others: list[Mapping[str, Any]]) -> str:
        if len(others) < 2:
            return ""
        words = (each["const"] for each in section["properties"].values() if "const" in each)
        with_required = "with " + str((section.get("required") or [section["title"]])[0])
        return str(next(words, with_required))

    def _kinds(self, schema: Mapping[str, Any], sections: str) -> str:
        """Types of a value, sections among them or in a list."""
        kind = self._kind(schema)
        if _LIST in kind:
            return kind.replace(_LIST, f"list of {'tables' if sections == 'table' else sections}")
        return " or ".join(filter(None, (sections, kind)))

    def _kind(self, schema: Mapping[str, Any]) -> str:
        """Type of a value beside a table; empty for a table alone."""
        if "$ref" in schema:
            found = self._definitions[schema["$ref"].rpartition("/")[2]]
            return "" if "properties" in found else self._kind(found)
        choices = [self._kind(each) for way in ("anyOf", "oneOf") for each in schema.get(way, ())]
        if choices:
            return " or ".join(dict.fromkeys(filter(None, choices)))
        if "enum" in schema or "const" in schema:
            return " | ".join(map(str, schema.get("enum", [schema.get("const")])))
        match schema.get("type"):
            case "array":
                kind = self._kind(schema.get("items", {}))
                return f"list of {kind}" if kind else _LIST
            case "object":
                return "table"
            case "null":
                return "nothing"
            case kind:
                names = {"integer": "whole number", "boolean": "true | false", "string": "text"}
                return names.get(str(kind), str(kind or "anything"))


_LIST = "list of sections"


def _named(default: Any) -> Any:
    """A default as a user would write it: a section of several kinds by its name alone."""
    if isinstance(default, list):
        return [_named(each) for each in default]
    return default.get("name", default) if isinstance(default, dict) else default
