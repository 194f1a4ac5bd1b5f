"""The phases of a step are timed, and told to those who wait for them."""

from __future__ import annotations

from rvpo.report.record import PHASES, STEP_TIME
from rvpo.trainer.clock import Clock


def test_a_step_is_the_sum_of_its_phases_and_each_is_told_when_it_begins() -> None:
    told: list[str] = []
    clock = Clock(3, told.append)
    for phase in (*PHASES, "report"):
        assert f"timing/{phase}" not in clock.metrics()
        clock.begin(phase)
    metrics = clock.metrics()
    step = metrics.pop(STEP_TIME)
    assert list(metrics) == [f"timing/{phase}" for phase in PHASES]
    assert step >= sum(metrics.values()) > 0
    assert told[0] == "sampling, step 3"
    assert len(set(told)) == len(told) == len(PHASES) + 1
