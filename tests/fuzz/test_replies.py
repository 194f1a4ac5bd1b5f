"""No generated reply is misread, and each that means one thing is read.

`RVPO_FUZZ_REPLIES` sets how many are generated.
"""

from __future__ import annotations

import os
from itertools import islice
from typing import cast

import pytest

from rvpo.judge.reply_object import Unreadable
from rvpo.judge.types import Question, QuestionKind
from rvpo.judge.verdict import read
from tests.fuzz.replies import Sample, samples

COUNT = int(os.environ.get("RVPO_FUZZ_REPLIES", "20000"))


def reading(sample: Sample) -> float | None:
    try:
        return read(Question(cast(QuestionKind, sample.kind), ""), sample.text)[0]
    except Unreadable:
        return None


def test_replies_are_read_as_what_they_mean_and_otherwise_not_at_all() -> None:
    misread = [
        (sample, found)
        for sample in islice(samples(seed=1), COUNT)
        if (found := reading(sample)) != (sample.value and pytest.approx(sample.value))
        and (found, sample.value) != (0.0, 0.0)
    ]
    assert misread == []
