"""`rvpo show`: every setting of a run, defaults included."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rvpo.config.run import dump_config, load_config


def shown(file: Path, settings: Sequence[str], encoding: str) -> str:
    """The settings of a run as YAML that is a configuration of its own.

    Args:
        settings: those that replace what the file says, as `section.key=value`.
        encoding: the output's, such as utf-8.

    Raises:
        ConfigError: the file or a setting is wrong.
    """
    return dump_config(load_config(file, settings), encoding)
