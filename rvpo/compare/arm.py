"""The arms of a comparison: settings that vary, with their values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import yaml

from rvpo.config import document
from rvpo.config.yaml_file import load
from rvpo.errors import ConfigError

OWN = ("output", "seed", "report")
"""Settings that differ between runs of one comparison beside those that vary."""


@dataclass(frozen=True)
class Arm:
    """One way to train, the same in every seed."""

    name: str
    settings: tuple[str, ...]
    """`section.key=value` each, on top of the file's."""

    @property
    def folder(self) -> str:
        """The name as a folder."""
        return re.sub(r"[^\w.=+-]+", "_", self.name).strip("_.")


def parse_arms(vary: Sequence[str]) -> tuple[Arm, ...]:
    """Every combination of the values given.

    Args:
        vary: `section.key=value,value,...` each; values are YAML, and of a section with a `name`
            that name alone will do: `advantage=grpo,{name: rvpo, k: 2}`.

    Raises:
        ConfigError: one cannot be read or replaces another, or there are not two different arms.
    """
    settings = [_parse(text) for text in vary]
    paths = [path for path, _ in settings]
    if len(set(paths)) < len(paths):
        raise ConfigError(f"--vary {max(paths, key=paths.count)}: given twice; name it once")
    _check_paths(paths)
    arms = []
    for values in product(*(values for _, values in settings)):
        pairs = list(zip(paths, values, strict=True))
        arms.append(Arm(" ".join(_label(*pair) for pair in pairs), tuple(_set(*p) for p in pairs)))
    folders = [arm.folder for arm in arms]
    if len(arms) < 2 or len(set(folders)) < len(folders):
        raise ConfigError(
            f"--vary: {', '.join(vary) or 'nothing given'} does not make two different arms; write "
            "for example --vary advantage=grpo,gdpo,rvpo"
        )
    return tuple(arms)


def _check_paths(paths: Sequence[str]) -> None:
    for path in paths:
        if path.partition(".")[0] in OWN:
            raise ConfigError(
                f"--vary {path}: a comparison sets that itself; seeds are counted by --seeds"
            )
        inner = next((other for other in paths if other.startswith(f"{path}.")), None)
        if inner is not None:
            raise ConfigError(
                f"--vary {inner}: {path} varies as well and would replace it; vary the whole "
                f"section in one, as in --vary {path}=grpo,{{name: rvpo, k: 2}}"
            )


def _parse(text: str) -> tuple[str, list[Any]]:
    path, separator, values = text.partition("=")
    try:
        parsed = load(f"[{values}]")
    except yaml.YAMLError:
        parsed = None
    if not separator or not path or not parsed:
        raise ConfigError(
            f"--vary {text}: cannot be read; write section.key=value,value such as "
            "advantage.k=0.5,1,2"
        )
    return path, parsed


def _label(path: str, value: Any) -> str:
    key = path.rpartition(".")[2]
    if isinstance(value, dict):
        rest = {k: v for k, v in value.items() if k != "name"}
        parts = [str(value["name"])] if "name" in value else []
        # Two settings of a section may have the same words as values.
        others = [f"{k}={v}" if isinstance(v, str) else _label(k, v) for k, v in rest.items()]
        return " ".join(parts + others)
    return value if isinstance(value, str) else f"{key}={value}"


def _set(path: str, value: Any) -> str:
    return f"{path}={document.dump_value(value)}"
