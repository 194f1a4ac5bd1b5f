"""The run in Trackio, whose local database holds the runs of all projects."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from typing import Literal

from rvpo.fields import Section
from rvpo.report.record import Report, StepRecord, finite
from rvpo.report.run_folder import write_text
from rvpo.report.trackers.tracker import TrackedRun, require


class Trackio(Section):
    """Trackio: `trackio show` compares all runs; they stay on this machine unless Trackio's own
    variables, such as TRACKIO_SPACE_ID, say otherwise."""

    name: Literal["trackio"] = "trackio"

    def check(self) -> None:
        """Raises ConfigError where `trackio` is not installed."""
        require(self.name, "trackio")

    def open(self, run: TrackedRun) -> Report:
        """The run of this folder in the project, gone on with where it exists."""
        return TrackioReport(run)


class TrackioReport:
    """A report that logs every metric of every step.

    Steps that Trackio already has stay as they were first logged, as in W&B.
    """

    def __init__(self, run: TrackedRun) -> None:
        import trackio

        config = {"arm": run.arm, **run.config}
        name, is_new = _run_name(run)
        with _silence():
            self._run = trackio.init(
                project=run.project,
                name=name,
                group=run.group,
                config=config,
                resume="never" if is_new else "allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        self._done = _last_step(run.project, self._run.id)
        run.say(f"Trackio has this run: trackio show --project {run.project}")

    def __call__(self, record: StepRecord) -> None:
        if record.step > self._done:
            self._run.log(finite(record.metrics), step=record.step)

    def close(self) -> None:
        """Wait until everything is stored."""
        import trackio

        with _silence():
            trackio.finish()  # type: ignore[no-untyped-call]


def _run_name(run: TrackedRun) -> tuple[str, bool]:
    """The name of the run in Trackio, and True where it has just been drawn.

    Trackio knows a run by its name alone, and folders of many runs have one name, such as those of
    a comparison's seeds. So a part of it is drawn, once, and kept in the folder.
    """
    path = run.folder.path / "trackio" / "run_name"
    is_new = not path.exists()
    if is_new:
        parts = filter(None, (run.arm, run.name, secrets.token_hex(2)))
        write_text(path, "-".join(parts))
    return path.read_text(encoding="utf-8"), is_new


def _last_step(project: str, run_id: str) -> int:
    from trackio.sqlite_storage import SQLiteStorage

    steps = [row["step"] for row in SQLiteStorage.get_logs(project, run_id=run_id)]
    return max(steps, default=0)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Trackio tells its own story on the terminal, in the middle of ours."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        yield
