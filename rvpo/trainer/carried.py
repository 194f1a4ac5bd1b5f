"""State that a run carries on beside its policy, in a file of its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from rvpo.report.run_folder import write_json
from rvpo.report.stored import read_json

CARRIED: Final = "carried.json"
"""The file of a checkpoint that holds it; there is none where nothing is carried."""


class Carried(Protocol):
    """Something that steps have found out, and that later steps go by. Every rank has the same."""

    @property
    def name(self) -> str:
        """The name of its state in the file."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything, as JSON holds it; empty where nothing was found out."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        ...


def save(folder: Path, carried: Sequence[Carried]) -> None:
    """Write the state of each that has any.

    Raises:
        CheckpointError: the file cannot be written.
    """
    states = {each.name: state for each in carried if (state := each.state())}
    if states:
        write_json(folder / CARRIED, states)


def load(folder: Path, carried: Sequence[Carried]) -> None:
    """Restore each that the checkpoint has a state of; the others begin anew.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = folder / CARRIED
    found = read_json(path) if path.exists() else {}
    for each in carried:
        if each.name in found:
            each.restore(found[each.name])
