"""The page of runs while they go on, made again when something of them has changed."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rvpo.errors import CheckpointError
from rvpo.page.build import page_of, read_verdicts, thresholds_of
from rvpo.page.drawn import Drawn
from rvpo.page.figures import plots
from rvpo.page.history import RunHistory, progress, read_arms, runs_in
from rvpo.report.run_folder import RunFolder

_SHARE: Final = 0.25
"""Largest share of a core that making the page may take: the run needs the others."""


@dataclass(frozen=True, slots=True)
class Look:
    """The page as it was at one moment."""

    html: str
    version: str
    """Digest of the page: another one for another page."""


@dataclass
class LivePage:
    """The page of runs that may still go on.

    Args:
        paths: folders of runs and of comparisons; a run need not have done a step.

    Raises:
        ConfigError: a folder holds no run.
    """

    paths: Sequence[Path]
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _look: Look | None = None
    _seen: tuple[object, ...] = ()
    _not_before: float = 0.0

    def __post_init__(self) -> None:
        for path in self.paths:
            runs_in(path)

    def look(self) -> Look:
        """The page as it is; a moment old where making it takes long. Any thread may ask.

        Raises:
            ConfigError: a folder holds no run any more.
        """
        with self._lock:
            found = tuple(self._found())
            now = time.monotonic()
            if self._look is None or (found != self._seen and now >= self._not_before):
                began = time.thread_time()  # by the clock it takes longer where a run is at work
                html = self._made()
                self._look, self._seen = Look(html, _digest(html)), found
                taken = time.thread_time() - began
                self._not_before = time.monotonic() + taken * (1 / _SHARE - 1)
            return self._look

    def _made(self) -> str:
        try:
            runs = [RunHistory(RunFolder(run)) for path in self.paths for run in runs_in(path)]
            remarks = [progress(runs)]
            arms = read_arms(self.paths, begun=False)
            if not arms:
                return page_of(self.paths, (), (), (), live=True, remarks=remarks)
            verdicts = read_verdicts(self.paths)
            drawn = [Drawn.of(plot) for plot in plots(arms, thresholds_of(verdicts))]
            return page_of(self.paths, arms, verdicts, drawn, live=True, remarks=remarks)
        except CheckpointError as error:  # a page that shows what is wrong, and mends itself
            return page_of(self.paths, (), (), (), live=True, remarks=[str(error)])

    def _found(self) -> Iterator[object]:
        """All that the page depends on, as far as files show it without being read."""
        for path in self.paths:
            yield from _stamps([path / "verdict.json"])
            for run in runs_in(path):
                folder = RunFolder(run)
                yield RunHistory(folder).goes_on
                yield from _stamps([folder.config, folder.metrics])
                yield from _stamps(sorted(folder.samples.glob("*"))[-1:])
                yield from _stamps(sorted(folder.evaluations.glob("*.json")))
                yield from _stamps(sorted(folder.gold.glob("*.json")))
                yield from _stamps(sorted(folder.benchmarks.glob("*/*/summary.json")))


def _stamps(files: Sequence[Path]) -> Iterator[object]:
    for file in files:
        try:
            known = file.stat()
        except FileNotFoundError:  # replaced or removed while we look
            continue
        yield file, known.st_mtime_ns, known.st_size


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:32]
