"""Today's date in the prompts of an evaluation, the same however often it goes on."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from rvpo.report.run_folder import write_json
from rvpo.report.stored import Stored, checked, damaged, read_json

_FILE = "date.json"
_ADVICE = "; bring it back, or write elsewhere with --output"


class _DateFile(Stored):
    date: str


def date_of(output: Path, now: datetime) -> datetime:
    """The date that chat templates take for today in all evaluations of a folder.

    Args:
        output: the folder, which has the date of its first evaluation.
        now: the date if this is the first.

    Raises:
        CheckpointError: what the folder says is damaged.
    """
    path = output / _FILE
    if not path.exists():
        return now
    found = checked(_DateFile, read_json(path, _ADVICE), path, _ADVICE)
    try:
        return datetime.fromisoformat(found.date)
    except ValueError as error:
        raise damaged(path, error, _ADVICE) from error


def keep_date(output: Path, date: datetime) -> None:
    """Keep the date for the next evaluations of the folder."""
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / _FILE, {"date": date.isoformat()})
