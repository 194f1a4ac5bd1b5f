"""Cohen's kappa is that of its table of counts, and its interval draws whole prompts anew."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvpo.benchmarks.statistics import clustered_draws
from rvpo.trial.kappa import Kappa

MET = st.sampled_from([0.0, 1.0])
GRADES = st.sampled_from([0.0, 0.5, 1.0])


def by_table(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Cohen's kappa from the table of counts, category by category."""
    count = len(pairs)
    rows, columns = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    equal = sum(a == b for a, b in pairs) / count
    chance = sum(rows[c] * columns[c] for c in rows) / count**2
    return None if chance == 1 else (equal - chance) / (1 - chance)


def weighted_by_table(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Cohen's weighted kappa: 1 less the disagreement seen by that of independent judges."""
    count = len(pairs)
    rows, columns = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    seen = sum((a - b) ** 2 for a, b in pairs) / count
    chance = sum((a - b) ** 2 * rows[a] * columns[b] for a in rows for b in columns) / count**2
    return None if chance == 0 else 1 - seen / chance


def kappa(pairs: Sequence[tuple[float, float]], prompts: Sequence[str] | None = None) -> Kappa:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    return Kappa.of(first, second, prompts or [str(n) for n in range(len(pairs))])


@given(st.lists(st.tuples(MET, MET), min_size=1, max_size=40))
def test_of_met_and_not_met_it_is_cohens(pairs: list[tuple[float, float]]) -> None:
    assert kappa(pairs).value == pytest.approx(by_table(pairs), abs=1e-12)


@given(st.lists(st.tuples(GRADES, GRADES), min_size=1, max_size=40))
def test_of_grades_it_is_weighed_by_squares(pairs: list[tuple[float, float]]) -> None:
    assert kappa(pairs).value == pytest.approx(weighted_by_table(pairs), abs=1e-12)


def test_the_example_of_a_textbook() -> None:
    # 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: p = .7, c = .5
    pairs = [(1.0, 1.0)] * 20 + [(1.0, 0.0)] * 5 + [(0.0, 1.0)] * 10 + [(0.0, 0.0)] * 15
    assert kappa(pairs).value == pytest.approx(0.4)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.3])
def test_equal_constants_have_none(value: float) -> None:
    found = kappa([(value, value)] * 7)
    assert (found.value, found.interval) == (None, None)


def test_no_pair_has_none() -> None:
    assert kappa([]).value is None


@given(st.lists(MET, min_size=2, max_size=20))
def test_one_constant_judge_has_no_agreement_beyond_chance(values: list[float]) -> None:
    found = kappa([(1.0, value) for value in values]).value
    assert found is None if all(values) else found == pytest.approx(0.0, abs=1e-12)


def test_the_interval_is_that_of_resampled_prompts() -> None:
    chance = np.random.default_rng(3)
    pairs = [
        (float(a), float(a if c < 0.7 else 1 - a))
        for a, c in zip(chance.integers(2, size=60), chance.random(60), strict=True)
    ]
    prompts = [f"p/{n // 5}" for n in range(60)]
    names = sorted(set(prompts))
    found = []
    for counts in clustered_draws(names):
        drawn = [
            pair
            for name, count in zip(names, counts, strict=True)
            for pair, prompt in zip(pairs, prompts, strict=True)
            if prompt == name
            for _ in range(int(count))
        ]
        found.append(by_table(drawn))
    known = [value for value in found if value is not None]
    low, high = np.percentile(known, [2.5, 97.5])
    assert kappa(pairs, prompts).interval == pytest.approx((low, high))


def test_verdicts_on_one_prompt_say_nothing_of_others() -> None:
    pairs = [(1.0, 0.0), (0.0, 0.0), (1.0, 1.0)] * 20
    assert kappa(pairs, ["p"] * 60).interval is None
    apart, together = kappa(pairs), kappa(pairs, [str(n // 20) for n in range(60)])
    assert apart.value == together.value
    assert apart.interval is not None
    assert not any(map(math.isnan, apart.interval))
