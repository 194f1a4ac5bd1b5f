"""The table of what a card showed, beside what was expected."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path

from rvpo import __version__
from rvpo.report.provenance import git_state, installed_version

FILE = Path(__file__).parents[2] / "performance" / "results" / "gpu.md"
_PACKAGES = ("torch", "vllm", "deepspeed", "transformers", "triton")


class Results:
    """Rows of a table, kept as they come."""

    def __init__(self, card: str) -> None:
        self._card = card
        self._rows: list[tuple[str, str, str]] = []

    def add(self, check: str, found: str, expected: str = "") -> None:
        """Add a row; what stands in it is shown as one line."""
        self._rows.append((check, _cell(found), _cell(expected)))

    def add_all(self, check: str, found: Mapping[str, str]) -> None:
        """Add several of one check."""
        for name, text in found.items():
            self.add(f"{check}: {name}", text)

    def __bool__(self) -> bool:
        return bool(self._rows)

    def text(self) -> str:
        """The whole page; nothing in it names the machine or its owner."""
        state = git_state(Path(__file__)) or {}
        versions = [f"{n} {v}" for n in _PACKAGES if (v := installed_version(n)) is not None]
        revision = str(state.get("revision", "unknown"))[:12]
        about = [
            f"rvpo {__version__} at {revision}{' with changes' if state.get('dirty') else ''}",
            f"Python {platform.python_version()}",
            *versions,
        ]
        rows = [f"| {' | '.join(row)} |" for row in self._rows]
        head = ["| check | found | expected |", "| --- | --- | --- |"]
        return "\n".join([f"{self._card}; {', '.join(about)}", "", *head, *rows]) + "\n"

    def save(self, path: Path = FILE) -> None:
        """Replace the page of an earlier card."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.text(), encoding="utf-8")


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())
