"""Cohen's kappa is that of its table of counts, and its interval is one over prompts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_prompts_without_a_dispute_do_not_prove_that_there_is_none() -> None:
    few, more, many = (kappa([(1.0, 1.0), (0.0, 0.0)] * n).interval for n in (2, 10, 50))
    assert few is not None
    assert more is not None
    assert many is not None
    assert few[0] < more[0] < many[0] < 1
    assert few[0] < 0.3
    assert few[1] == more[1] == many[1] == 1


@pytest.mark.parametrize(
    ("base", "prompts", "least"), [(0.5, 5, 0.95), (0.9, 5, 0.95), (0.9, 20, 0.92), (0.5, 50, 0.9)]
)
def test_the_interval_holds_the_true_kappa_about_as_often_as_it_says(
    base: float, prompts: int, least: float
) -> None:
    chance, err, held = np.random.default_rng(1), 0.05, []
    other = base * (1 - err) + (1 - base) * err
    true = 1 - err / (base * (1 - other) + (1 - base) * other)
    for _ in range(200):
        x = (chance.random(3 * prompts) < base).astype(float)
        y = np.where(chance.random(len(x)) < err, 1 - x, x)
        found = Kappa.of(x.tolist(), y.tolist(), [str(n // 3) for n in range(len(x))])
        if found.interval is not None:
            held.append(found.interval[0] <= true <= found.interval[1])
    assert np.mean(held) >= least


def test_of_several_criteria_chance_is_that_of_each() -> None:
    x, y = [1.0] * 4 + [0.0] * 4, [0.0] * 4 + [1.0] * 4
    prompts, criteria = list("abcd") * 2, ["kind"] * 4 + ["rude"] * 4
    assert Kappa.of(x, y, prompts).value == -1
    assert Kappa.of(x, y, prompts, criteria).value == 0
    # That one is always met and the other never, as both say, is no agreement on responses.
    assert Kappa.of(x, x, prompts).value == 1
    assert Kappa.of(x, x, prompts, criteria).value is None


@given(st.lists(st.tuples(MET, MET, st.sampled_from("abc")), min_size=2, max_size=40))
def test_a_whole_lies_between_its_parts(verdicts: list[tuple[float, float, str]]) -> None:
    first, second, criteria = map(list, zip(*verdicts, strict=True))
    whole = Kappa.of(first, second, [str(n) for n in range(len(first))], criteria).value
    parts = [
        value
        for name in "abc"
        if (value := kappa([(a, b) for a, b, c in verdicts if c == name]).value) is not None
    ]
    assert (whole is None) == (not parts)
    if whole is not None:
        assert min(parts) - 1e-9 <= whole <= max(parts) + 1e-9


def test_verdicts_on_one_prompt_say_nothing_of_others() -> None:
    pairs = [(1.0, 0.0), (0.0, 0.0), (1.0, 1.0)] * 20
    assert kappa(pairs, ["p"] * 60).interval is None
    apart, together = kappa(pairs), kappa(pairs, [str(n // 20) for n in range(60)])
    assert apart.value == together.value
    assert apart.interval is not None
    assert not any(map(math.isnan, apart.interval))
