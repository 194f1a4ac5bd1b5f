"""Dollars that a judge has cost, in a file that all who ask it share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from rvpo.errors import CheckpointError

SPENT: Final = "budget of dollars spent"
"""Reason of a verdict that was not asked for because there is no money left for it."""
UNNOTED: Final = "cost not noted"
"""Reason of one whose cost could not be written down."""

_LINE: Final = 25  # bytes: a number and the end of its line


class Spending:
    """Sums up what everyone who asks the judge has paid, over all starts of a run.

    Each has a line of fixed width, and writes it over with all that it has paid so far: nobody
    waits for another, and whoever is killed and started again goes on from its own line. The sum of
    the lines is what the judge has cost.

    Args:
        path: the file, made with the first dollar.
        line: number of the one that this process writes, from 0.
    """

    def __init__(self, path: Path, line: int) -> None:
        self._path = path
        self._offset = line * _LINE
        self._file: int | None = None
        self._mine = 0.0

    def add(self, dollars: float) -> None:
        """Note what a call has cost.

        Raises:
            CheckpointError: the file is damaged, or cannot be written.
        """
        if not dollars:
            return
        try:
            file = self._open() if self._file is None else self._file
            self._mine += dollars
            os.pwrite(file, f"{self._mine:{_LINE - 1}.9f}\n".encode(), self._offset)
        except OSError as error:
            raise CheckpointError(
                f"{self._path}: what the judge costs cannot be noted ({error.strerror}); see that "
                "the folder can be written and its disk has room"
            ) from error

    def total(self) -> float:
        """Dollars that all have paid.

        Raises:
            CheckpointError: the file is damaged, or cannot be read.
        """
        try:
            content = self._path.read_bytes()
            while (again := self._path.read_bytes()) != content:  # somebody was writing
                content = again
        except FileNotFoundError:
            return 0.0
        except OSError as error:
            raise CheckpointError(f"{self._path} cannot be read ({error.strerror})") from error
        lines = range(0, len(content), _LINE)
        return sum(self._read(content[start : start + _LINE]) for start in lines)

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> int:
        """The file, from now on open for this process's line."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        self._mine = self._read(os.pread(self._file, _LINE, self._offset))
        return self._file

    def _read(self, line: bytes) -> float:
        """Dollars on a line, 0 where nothing was ever written."""
        text = line.strip(b"\0 \n")
        try:
            dollars = float(text or 0)
        except ValueError:
            dollars = -1.0
        if not 0 <= dollars < float("inf"):
            raise CheckpointError(
                f"{self._path} is damaged: {text[:_LINE]!r} is no number of dollars; bring the "
                "file back, or write what the judge has cost so far into it, a number alone"
            )
        return dollars
