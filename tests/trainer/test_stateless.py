"""What follows from the step alone, so that a resumed run needs no memory of it."""

from __future__ import annotations

import pytest

from rvpo.config.update import UpdateConfig
from rvpo.runtime.seed import derived_seed
from rvpo.trainer.learning_rate import learning_rate


def test_seeds_differ_by_every_part_and_are_the_same_everywhere() -> None:
    seeds = {
        derived_seed(s, step, rank) for s in range(3) for step in range(50) for rank in range(4)
    }
    assert len(seeds) == 600
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert derived_seed(0, "held out", 1) == 1547092488


def test_a_constant_rate_is_constant_from_the_first_step() -> None:
    config = UpdateConfig(lr=2.0)
    assert {learning_rate(config, step, 10) for step in range(10)} == {2.0}


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_falling_rate_starts_at_its_peak_and_ends_near_zero(schedule: str) -> None:
    config = UpdateConfig.model_validate({"lr": 2.0, "schedule": schedule})
    rates = [learning_rate(config, step, 100) for step in range(100)]
    assert rates[0] == 2.0
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 0.05


def test_warm_up_rises_in_equal_steps_to_the_peak() -> None:
    config = UpdateConfig(lr=1.0, warmup_fraction=0.3)
    rates = [learning_rate(config, step, 10) for step in range(10)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, *[1.0] * 7])
