"""A settings file as plain data, laid over its base, with settings over it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from rvpo.config.secret_name import is_of_endpoints, is_secret_name
from rvpo.config.yaml_file import LONGEST, add_rules, load, reason
from rvpo.errors import ConfigError

Document = dict[str, Any]


class _Dumper(yaml.SafeDumper):
    pass


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # Unicode's other line breaks survive in double quotes only, where they are escaped.
    style = '"' if re.search("[\x85\u2028\u2029]", text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)

add_rules(_Dumper)


def read_document(path: Path) -> Document:
    """The mapping that a YAML file holds, with what it takes from its base.

    `base: other.yaml` names a file relative to the file's own folder, which may have a base
    itself. A section that both have is the file's own as a whole: nothing below it is merged.

    Raises:
        ConfigError: no such file, a folder, unreadable, empty, not YAML (with line and column),
            a repeated key, something other than a mapping, or bases that go round in a circle.
    """
    files = [path]
    document = _read(path, "--config")
    while "base" in document:
        base = _base(document.pop("base"), files)
        files.append(base)
        document = _read(base, f"'base' in {files[-2]}") | document
    return document


def override(document: Document, settings: Sequence[str]) -> Document:
    """A copy of the document with every `section.key=value` applied, in order.

    Values are YAML, so lists, booleans, null and whole tables (`advantage={name: grpo}`) work.
    Sections on the way are made where they are missing; a table replaces what stood there.

    Raises:
        ConfigError: every setting that is malformed or points into something that is no section.
    """
    result = dict(document)
    problems = []
    for setting in settings:
        try:
            result = _set(result, setting)
        except ConfigError as problem:
            problems.append(str(problem))
    if problems:
        raise ConfigError("\n  ".join(problems))
    return result


def dump(document: Document, encoding: str = "utf-8") -> str:
    """YAML that `read_document` reads back equal, in the order given.

    Args:
        encoding: characters that it does not have are escaped.
    """
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = yaml.dump(document, Dumper=_Dumper, sort_keys=False)
    return text


def dump_value(value: Any) -> str:
    """One YAML value on one line, that `yaml_file.load` reads back equal."""
    text: str = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, width=10**9)
    return text.partition("\n")[0]  # a scalar brings an end of document


def _base(name: Any, files: Sequence[Path]) -> Path:
    """The file that the last of `files` names as its base."""
    if not isinstance(name, str) or not name:
        raise ConfigError(
            f"{files[-1]}: base: must be the path of a YAML file, relative to this one, got "
            f"{name!r}"
        )
    base = files[-1].parent / name
    try:
        seen = [file.resolve() for file in files]
        place = base.resolve()
    except (ValueError, OSError, RuntimeError):  # NUL, a lone surrogate, a link to itself
        raise ConfigError(f"{files[-1]}: base: {name!r} leads to no file; name another") from None
    if place in seen:
        circle = [*files[seen.index(place) :], base]
        raise ConfigError(
            f"{files[-1]}: base: '{name}' leads round in a circle "
            f"({' -> '.join(file.name for file in circle)}); take one `base:` out"
        )
    return base


def _read(path: Path, named_by: str) -> Document:
    try:
        oddity = _oddity(path)
        text = "" if oddity else path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give {named_by} an existing YAML file") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder; give {named_by} a YAML file in it") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not a text file; a YAML file in UTF-8 is expected") from None
    except OSError as error:
        raise ConfigError(
            f"{str(path)[:200]} cannot be read: {error.strerror}; give {named_by} a YAML file"
        ) from None
    except ValueError:
        raise ConfigError(f"{str(path)!r} is no path; give {named_by} a YAML file") from None
    if oddity:
        raise ConfigError(f"{path} is {oddity}; give {named_by} a YAML file")
    try:
        data = load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {reason(error)}") from None
    if data is None:
        needed = "steps, model, data, rewards and advantage"
        raise ConfigError(f"{path} is empty; a run needs at least {needed}")
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path} holds a {type(data).__name__} at its top level; write `key: value` lines"
        )
    return data


def _oddity(path: Path) -> str | None:
    """Reason not to open a path, where reading would wait for ever or take the memory; None
    without."""
    if path.exists() and not path.is_file() and not path.is_dir():
        return "a pipe or a device"
    if path.is_file() and path.stat().st_size > 4 * LONGEST:
        return "larger than settings are"
    return None


def _set(document: Document, setting: str) -> Document:
    path, equals, text = setting.partition("=")
    names = path.split(".")
    if not equals or not all(names):
        raise ConfigError(
            f"'{setting}' sets nothing; write section.key=value, as in update.lr=1e-6"
        )
    try:
        value = load(text)
    except yaml.YAMLError as error:
        given = "the value" if _may_hold_keys(names) else f"'{text}'"
        raise ConfigError(f"{path}: {given} is not valid YAML: {reason(error)}") from None
    result = dict(document)
    section = result
    for depth, name in enumerate(names[:-1], start=1):
        inner = section.get(name)
        if inner is not None and not isinstance(inner, dict):
            where = ".".join(names[:depth])
            given = "" if _may_hold_keys(names) else f" ({inner!r})"
            is_name = isinstance(inner, str) and inner.isidentifier()
            whole = f"{{name: {inner}, {names[depth]}: ...}}" if is_name and given else "..."
            raise ConfigError(
                f"{path}: '{where}' is a value{given}, not a section; "
                f"set it as a whole, {where}={whole}"
            )
        section[name] = dict(inner or {})
        section = section[name]
    section[names[-1]] = value
    return result


def _may_hold_keys(names: Sequence[str]) -> bool:
    """True where people might put an API key, which no message shall repeat."""
    return is_of_endpoints(names) or "arguments" in names or any(map(is_secret_name, names))
