"""Names of versions: each run reads its own."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rvpo.rollout.servers.version_label import RunLabel

VERSIONS = st.integers(0, 10**17)
RUNS = st.builds(RunLabel.drawn)


@given(RUNS, RUNS, VERSIONS)
def test_a_run_reads_the_names_that_it_gave_and_knows_those_of_others(
    run: RunLabel, other: RunLabel, version: int
) -> None:
    assert run != other
    assert run.of(version).endswith(f"-{version}")
    assert run.read(run.of(version)) == version
    assert not run.is_foreign(run.of(version))
    assert other.read(run.of(version)) is None
    assert other.is_foreign(run.of(version))


@given(
    RUNS,
    st.none() | st.integers() | st.floats() | st.lists(st.text()) | st.text()
    | st.sampled_from(["default", "unsent", "6", "x-6", "0a1b2c3d-٦", "0a1b2c3d-6\n"])
    | st.integers(10**18).map(lambda version: f"0a1b2c3d-{version}"),
)  # fmt: skip
def test_all_else_is_of_no_run(run: RunLabel, other: Any) -> None:
    assert run.read(other) is None
    assert not run.is_foreign(other)
