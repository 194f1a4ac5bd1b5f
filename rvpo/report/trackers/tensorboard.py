"""The run as TensorBoard's event files, in the run folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

from rvpo.fields import Section
from rvpo.report.record import Report, StepRecord, finite
from rvpo.report.trackers.tracker import TrackedRun, require

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoard(Section):
    """TensorBoard: `tensorboard --logdir runs` shows all runs; nothing leaves the machine."""

    name: Literal["tensorboard"] = "tensorboard"

    def check(self) -> None:
        """Raises ConfigError where `tensorboard` is not installed."""
        require(self.name, "tensorboard")

    def open(self, run: TrackedRun) -> Report:
        """Event files in `tensorboard/` of the run folder."""
        return TensorBoardReport(run)


class TensorBoardReport:
    """A report that writes every metric of every step, and the settings as a text.

    The first step purges what an earlier part of the run wrote from there on, so that steps which
    a resumed run repeats are shown once.
    """

    def __init__(self, run: TrackedRun) -> None:
        self._run = run
        self._writer: SummaryWriter | None = None

    def __call__(self, record: StepRecord) -> None:
        writer = self._writer = self._writer or self._open(record.step)
        for name, value in finite(record.metrics).items():
            writer.add_scalar(name, value, record.step)
        writer.flush()

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()

    def _open(self, step: int) -> SummaryWriter:
        from torch.utils.tensorboard import SummaryWriter

        folder = self._run.folder.path / "tensorboard"
        writer = SummaryWriter(str(folder), purge_step=step)
        text = json.dumps(self._run.config, indent=2, ensure_ascii=False)
        indented = "".join(f"    {line}\n" for line in text.splitlines())  # Markdown for code
        writer.add_text("settings", indented, step)
        return writer
