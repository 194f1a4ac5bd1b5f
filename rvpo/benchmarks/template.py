"""Texts with places to fill, ours or brought along."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from rvpo.errors import ConfigError


def read_template(setting: str, given: Path | None, own: str, places: Sequence[str]) -> str:
    """The text of a file, its line ends as they are, or our own.

    Args:
        setting: the one that names the file, for messages.
        own: ours, below `rvpo/benchmarks`.
        places: texts that it must hold.

    Raises:
        ConfigError: the file cannot be read, or lacks a place.
    """
    if given is None:
        ours = files("rvpo.benchmarks").joinpath(own)
        return ours.read_text(encoding="utf-8").removesuffix("\n")
    where = f"{setting}: '{given}'"
    try:
        text = given.expanduser().read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where} cannot be read ({error}); give a text file") from error
    for place in places:
        if place not in text:
            raise ConfigError(f"{where} has no {place}; put it where that is to stand")
    return text
