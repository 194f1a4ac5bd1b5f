"""Every prompt has an id of its own, which is that of its row wherever it can be."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rvpo.data.identities import Identities

GIVEN = st.one_of(
    *(st.none(), st.integers(-3, 3), st.booleans(), st.sampled_from(["", " ", "1", "a", "a#2"])),
    *(st.sampled_from([1.0, 2.5, float("nan"), float("inf")]), st.just([1])),
)


@given(st.lists(GIVEN, max_size=30), st.sampled_from(["", "3/"]))
def test_ids_are_different_and_depend_on_the_rows_before_alone(
    values: list[Any], prefix: str
) -> None:
    ids = Identities(prefix)
    found = [ids.of(value, number) for number, value in enumerate(values)]
    assert len(set(found)) == len(found)
    assert all(name.startswith(prefix) for name in found)
    again = Identities(prefix)
    assert [again.of(value, n) for n, value in enumerate(values[:10])] == found[:10]


def test_ids_of_rows_are_kept() -> None:
    ids = Identities()
    assert [ids.of(v, n) for n, v in enumerate(["sum/4", 7, 3.0, 2.5])] == [
        "sum/4",
        "7",
        "3",
        "2.5",
    ]
    assert ids.report() == ""


def test_rows_without_ids_are_numbered_and_nothing_is_said() -> None:
    ids = Identities()
    assert [ids.of(None, number) for number in range(3)] == ["0", "1", "2"]
    assert ids.report() == ""


def test_rows_whose_id_is_none_or_taken_are_numbered_and_counted() -> None:
    ids = Identities()
    values = ["a", "a", None, float("nan"), True, "a"]
    found = [ids.of(value, number) for number, value in enumerate(values)]
    assert found == ["a", "a#1", "2", "3", "4", "a#5"]
    assert ids.report() == (
        "some rows have an id made from their number, such as 'a#1': 2 with an id that another row "
        "has, 2 without an id, 1 whose id is of type bool"
    )
