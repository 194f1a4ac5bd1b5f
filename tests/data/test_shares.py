"""Several sources are drawn from by their shares, and each in epochs of its own."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.data.mixture import Mixture
from rvpo.data.order import PromptStream
from rvpo.data.packed import Joined
from rvpo.data.shares import Shares
from tests.fakes import make_prompt

SHARES = st.lists(st.integers(1, 1000).map(lambda n: n / 1000), min_size=1, max_size=5)


@settings(deadline=None, max_examples=60)
@given(SHARES, st.integers(0, 500))
def test_every_draw_is_of_one_source_and_each_has_its_share(
    shares: list[float], first: int
) -> None:
    found = Shares(tuple(shares))
    counts = list(found.drawn(first))
    for number, (source, before) in enumerate(islice(found.endless(first), 60), start=first + 1):
        assert before == counts[source]
        counts[source] += 1
        assert tuple(counts) == found.drawn(number)
        for drawn, share in zip(counts, shares, strict=True):
            assert abs(drawn - number * share / sum(shares)) <= len(shares) / 2


@pytest.mark.parametrize("shares", [(), (0.0,), (0.5, -0.5)])
def test_shares_of_nothing_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        Shares(shares)


def mixture(*sizes: int, shares: tuple[float, ...]) -> Mixture:
    parts = tuple(
        tuple(make_prompt(f"{part}/{row}") for row in range(size))
        for part, size in enumerate(sizes)
    )
    return Mixture(parts, Shares(shares))


@settings(deadline=None, max_examples=40)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=3),
    per_step=st.integers(1, 12),
    step=st.integers(0, 30),
    seed=st.integers(0, 99),
)
def test_a_step_alone_decides_its_prompts_and_each_source_has_epochs(
    sizes: list[int], per_step: int, step: int, seed: int
) -> None:
    shares = tuple(range(1, len(sizes) + 1))
    prompts = mixture(*sizes, shares=shares)
    stream = PromptStream(prompts, per_step, seed)
    assert stream.at(step) == PromptStream(prompts, per_step, seed).at(step)
    visited = [prompt.id for each in range(step + 1) for prompt in stream.at(each)]
    drawn = Counter(name.partition("/")[0] for name in visited)
    assert tuple(drawn[str(n)] for n in range(len(sizes))) == prompts.shares.drawn(len(visited))
    for part, size in enumerate(sizes):
        own = [name for name in visited if name.startswith(f"{part}/")]
        for start in range(0, len(own) - size + 1, size):
            assert len(set(own[start : start + size])) == size
    first = stream.first(len(visited))
    assert [prompt.id for prompt in first] == list(dict.fromkeys(visited))


def test_a_small_source_comes_again_while_a_large_one_is_read_once() -> None:
    stream = PromptStream(mixture(2, 100, shares=(0.5, 0.5)), 10, seed=0)
    visited = Counter(prompt.id for step in range(4) for prompt in stream.at(step))
    assert {visited["0/0"], visited["0/1"]} == {10}
    assert stream.epochs(4) == 20 / 100
    assert all(count == 1 for name, count in visited.items() if name[0] == "1")


def test_a_mixture_is_all_of_its_prompts() -> None:
    found = mixture(2, 3, shares=(0.9, 0.1))
    assert list(found) == list(Joined(found.parts))
    assert len(found) == 5
