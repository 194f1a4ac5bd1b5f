"""An evaluation that goes on another day asks the same prompts."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from rvpo.errors import CheckpointError
from rvpo.evaluate.date import date_of, keep_date

DAY = datetime(2024, 2, 29, 23, 59, 30)


def test_the_date_of_a_folder_is_that_of_its_first_evaluation(tmp_path: Path) -> None:
    output = tmp_path / "runs" / "evaluate"
    assert date_of(output, DAY) == DAY
    keep_date(output, DAY)
    assert date_of(output, DAY + timedelta(days=400)) == DAY


@pytest.mark.parametrize("text", ["", "[]", '{"date": 3}', '{"date": "tomorrow"}', "{}"])
def test_a_damaged_date_is_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "date.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"date\.json is damaged"):
        date_of(tmp_path, DAY)
