"""The rows that an update is made of."""

from __future__ import annotations

import pickle
from dataclasses import replace

import torch
from hypothesis import given
from hypothesis import strategies as st

from rvpo.trainer.attention import Span
from rvpo.trainer.batch import TrainedSample, arrange, micro_batches, spread
from tests.fakes import make_sample

CPU = torch.device("cpu")


def sample(
    prompt_ids: tuple[int, ...], ids: tuple[int, ...], advantage: float = 0.0
) -> TrainedSample:
    return TrainedSample(
        prompt_id=str(prompt_ids),
        prompt_ids=prompt_ids,
        completion_ids=ids,
        sampled_logprobs=tuple(-float(token) for token in ids),
        advantage=advantage,
    )


SAMPLES = [
    sample((1, 2), (3,), 0.5),
    sample((1, 2), (4, 5), -1.0),
    sample((6,), (7, 8), 2.0),
]


def test_a_row_holds_each_prompt_once_and_every_completion_behind_it() -> None:
    rows = arrange(SAMPLES, tokens=100)
    (batch,) = micro_batches(rows, [0.1, 0.2, 0.3], CPU)
    assert batch.input_ids.tolist() == [[1, 2, 4, 5, 3, 6, 7, 8]]  # the longest first
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 2, 0, 1, 2]]
    assert batch.spans == (Span(2, (2, 1)), Span(1, (2,)))
    assert batch.completion_ids.tolist() == [4, 5, 3, 7, 8]
    assert batch.predecessors.tolist() == [1, 2, 1, 5, 6]
    assert batch.sampled_logprobs.tolist() == [-4, -5, -3, -7, -8]
    assert batch.advantages.tolist() == [-1.0, -1.0, 0.5, 2.0, 2.0]
    assert torch.allclose(batch.weights, torch.tensor([0.1, 0.1, 0.2, 0.3, 0.3]))
    assert batch.sample.tolist() == [0, 0, 1, 2, 2]
    assert batch.lengths.tolist() == [2, 1, 2]


def test_a_token_has_the_age_of_the_weights_that_sampled_it() -> None:
    fresh = make_sample(text="a", policy_version=5)
    older = make_sample(text="bc", policy_version=3)
    mixed = replace(make_sample(text="def", policy_version=2), versions=(2, 4, 5))
    samples = [
        TrainedSample.of(each, 0.0, group, is_masked=False, version=5)
        for group, each in enumerate((fresh, older, mixed))
    ]
    rows = arrange(samples, tokens=100, is_shared=False)
    batches = micro_batches(rows, [1.0] * 3, CPU)
    assert [batch.ages.tolist() for batch in batches] == [[0], [2, 2], [3, 1, 0]]


def test_without_sharing_every_sample_has_a_row_of_its_own() -> None:
    rows = arrange(SAMPLES, tokens=100, is_shared=False)
    first, second, third = micro_batches(rows, [0.1, 0.2, 0.3], CPU)
    assert first.input_ids.tolist() == [[1, 2, 3]]
    assert second.input_ids.tolist() == [[1, 2, 4, 5]]
    assert third.input_ids.tolist() == [[6, 7, 8]]


groups = st.lists(
    st.tuples(st.integers(1, 20), st.lists(st.integers(1, 30), min_size=1, max_size=6)),
    min_size=1,
    max_size=8,
)


@given(groups, st.integers(1, 80), st.integers(1, 5))
def test_rows_hold_everybody_once_within_the_budget_and_every_rank_gets_as_many(
    groups: list[tuple[int, list[int]]], budget: int, ranks: int
) -> None:
    samples = [
        sample((group,) * prompt, (place,) * length)
        for group, (prompt, lengths) in enumerate(groups)
        for place, length in enumerate(lengths)
    ]
    rows = arrange(samples, tokens=budget, ranks=ranks)
    placed = [s for row in rows for part in row for s in part.samples]
    assert sorted(map(id, placed)) == sorted(map(id, samples))
    for row in rows:
        if sum(part.tokens for part in row) > budget:
            (only,) = row
            completions = sum(s.length for s in only.samples)
            assert len(only.samples) == 1 or completions <= budget // 4
        for part in row:
            assert len({s.prompt_ids for s in part.samples}) == 1
    shares = [micro_batches(rows, [1.0] * len(samples), CPU, r, ranks) for r in range(ranks)]
    assert len({len(share) for share in shares}) == 1
    counted = [batch for share in shares for batch in share if batch.counts]
    assert sum(len(batch.lengths) for batch in counted) == len(samples)


def test_a_prompt_as_long_as_a_row_is_still_computed_once_for_its_group() -> None:
    samples = [sample((7,) * 100, (place,) * 3) for place in range(8)]
    (row,) = arrange(samples, tokens=100)
    assert [len(part.samples) for part in row] == [8]


@given(st.lists(st.integers(1, 100), min_size=12, max_size=60))
def test_bins_are_about_equally_full(sizes: list[int]) -> None:
    filled = [sum(sizes[i] for i in b) for b in spread(sizes, 10**6, 4)]
    assert len(filled) == 4
    assert max(filled) - min(filled) <= max(sizes)


@given(st.lists(st.integers(1, 40), max_size=24), st.integers(1, 30), st.integers(1, 4))
def test_no_fewer_bins_would_do(sizes: list[int], most: int, multiple: int) -> None:
    bins = spread(sizes, most, 1, multiple)
    assert all(len(b) == 1 or sum(sizes[i] for i in b) <= most for b in bins)
    for fewer in range(multiple, len(bins) - 1, multiple):
        filled = plainly_filled(sizes, fewer)
        assert any(len(b) > 1 and sum(sizes[i] for i in b) > most for b in filled)
    assert sorted(plainly_filled(sizes, len(bins))) == sorted(bins)


def plainly_filled(sizes: list[int], count: int) -> list[list[int]]:
    """Largest first, each into the emptiest, by looking at all of them."""
    bins: list[list[int]] = [[] for _ in range(count)]
    for i in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        min(bins, key=lambda b: sum(sizes[k] for k in b)).append(i)
    return [sorted(b) for b in bins]


def test_a_token_travels_to_other_ranks_in_eight_bytes() -> None:
    length = 5000
    answer = replace(make_sample(), completion_ids=tuple(range(length)), logprobs=(-0.1,) * length)
    sent = pickle.dumps(TrainedSample.of(answer, 0.5, group=3, is_masked=False, version=0))
    assert len(sent) < 8 * length + 1000
    assert pickle.loads(sent).sampled_logprobs[0] == torch.tensor(-0.1).item()


def test_idle_passes_count_for_nothing() -> None:
    rows = arrange(SAMPLES[:1], tokens=100, ranks=2)
    (idle,) = micro_batches(rows, [1.0], CPU, rank=1, ranks=2)
    assert not idle.counts
    assert idle.weights.tolist() == [0.0]
