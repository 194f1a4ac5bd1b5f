"""The best model of a run, as its folder tells."""

from __future__ import annotations

from pydantic import Field

from rvpo.report.run_folder import RunFolder
from rvpo.report.stored import Number, Stored, Text, checked, read_json


class Best(Stored):
    """Record of the model in `best/`."""

    metric: Text
    value: Number
    step: int = Field(ge=0)


def read_best(folder: RunFolder) -> Best | None:
    """Record of the model in `best/`; None if there is none yet.

    Raises:
        CheckpointError: the file that tells is damaged.
    """
    if not folder.best_of.exists() or not folder.best.exists():
        return None
    best = folder.best.name
    advice = f"; bring it back, or move it and {best}/ elsewhere, and the best one is chosen anew"
    return checked(Best, read_json(folder.best_of, advice), folder.best_of, advice)
