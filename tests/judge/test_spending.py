"""What a judge has cost is the sum of what all have paid, whoever was killed meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvpo.errors import CheckpointError
from rvpo.judge.spending import Spending

PAYMENTS = st.lists(
    st.tuples(st.integers(0, 5), st.floats(0, 1000, allow_subnormal=False), st.booleans()),
    max_size=20,
)


@given(payments=PAYMENTS)
def test_it_is_the_sum_of_all_payments_over_all_starts(
    payments: Sequence[tuple[int, float, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("spent") / "judge"
    books = [Spending(path, line) for line in range(6)]
    reader = Spending(path, 0)
    paid = 0.0
    for line, dollars, starts_again in payments:
        if starts_again:
            books[line].close()
            books[line] = Spending(path, line)
        books[line].add(dollars)
        paid += dollars
        assert reader.total() == pytest.approx(paid, abs=1e-6)
    for each in books:
        each.close()
    assert Spending(path, 9).total() == pytest.approx(paid, abs=1e-6)
    assert path.exists() == (paid > 0)


def test_the_file_is_for_people_too(tmp_path: Path) -> None:
    path = tmp_path / "spent" / "judge"
    for line, dollars in ((0, 0.0001), (2, 12.5)):
        books = Spending(path, line)
        books.add(dollars)
        books.close()
    lines = path.read_text().replace("\0", " ").split()
    assert [float(line) for line in lines] == [0.0001, 12.5]
    path.write_text("7.25\n")  # as a hand would write it
    assert Spending(path, 0).total() == 7.25


@pytest.mark.parametrize("content", [b"much", b"-3.0\n", b"nan", b"inf", b"\xff" * 30])
def test_damage_is_said_and_is_no_sum(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "judge"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"is damaged: .* is no number of dollars; bring"):
        Spending(path, 0).total()
