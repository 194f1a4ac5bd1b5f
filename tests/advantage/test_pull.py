"""The pull of a reward: what the advantages of a step move of it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from docs.compute import CROWDS, PROBES, PULLED, against_others, paid, verdicts
from rvpo.advantage import GDPO, GRPO, RVPO
from rvpo.advantage.diagnostics import metrics_by_aspect
from rvpo.advantage.pull import pulls
from rvpo.types import Rewards
from tests.advantage import slopes
from tests.advantage.matrices import matrix, rows

TOLERANCE = 0.05
"""Share of the ratios, of which each rests on a few hundred draws of the other verdicts."""


@st.composite
def step(draw: st.DrawFn, missing: bool = True) -> tuple[Rewards, Tensor]:
    """A reward matrix, and an advantage of each row."""
    scores, group_size = draw(rows(missing=missing))
    weights = draw(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=len(scores[0])))
    found = matrix(scores, group_size, weights[: len(scores[0])])
    advantage = st.sampled_from([-2.0, -0.5, 0.0, 0.25, 1.0])
    values = draw(st.lists(advantage, min_size=len(scores), max_size=len(scores)))
    return found, torch.tensor(values, dtype=torch.double)


def column_pulls(rewards: Rewards, advantages: Tensor, trained: Tensor | None = None) -> Tensor:
    trained = torch.ones(len(advantages), dtype=torch.bool) if trained is None else trained
    return pulls(rewards, advantages, trained).sum(dim=0)


def by_hand(rewards: Rewards, advantages: Tensor, trained: Tensor) -> list[float]:
    """The docstring's formula, a number at a time."""
    size, count = rewards.group_size, int(trained.sum())
    pull = []
    for j in range(len(rewards.names)):
        products, squares, known = 0.0, 0.0, 0
        for start in range(0, len(advantages), size):
            told = [
                i
                for i in range(start, start + size)
                if trained[i] and rewards.valid[i, j] and rewards.weights[i, j] > 0
            ]
            mean = sum(float(rewards.values[i, j]) for i in told) / max(1, len(told))
            if len({float(rewards.values[i, j]) for i in told}) > 1:
                for i in told:
                    d = float(rewards.values[i, j]) - mean
                    products += float(advantages[i]) * d
                    squares += d**2
            known += len(told)
        pull.append(products / count / math.sqrt(squares / known) if squares else 0.0)
    total = sum(map(abs, pull))
    return [each / total if total > 1e-12 else 0.0 for each in pull]


@given(step(), st.data())
def test_it_is_the_slope_times_the_spread_over_the_trained_rows(
    given_step: tuple[Rewards, Tensor], data: st.DataObject
) -> None:
    rewards, advantages = given_step
    count = len(advantages)
    trained = torch.tensor(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    advantages = advantages.where(trained, 0.0)
    expected = by_hand(rewards, advantages, trained)
    found = column_pulls(rewards, advantages, trained)
    if any(expected):
        assert found.tolist() == pytest.approx(expected, abs=1e-9)


@given(
    st.lists(st.tuples(*[st.booleans()] * 3), min_size=4, max_size=8),
    st.lists(st.floats(-2, 2), min_size=8, max_size=8),
)
def test_of_verdicts_it_is_the_difference_of_means_times_their_spread(
    met: list[tuple[bool, ...]], values: list[float]
) -> None:
    verdict = torch.tensor(met).double()
    advantages = torch.tensor(values[: len(met)], dtype=torch.double)
    pull = []
    for column in verdict.T:
        p = float(column.mean())
        if not 0 < p < 1:
            pull.append(0.0)
            continue
        gain = advantages[column == 1].mean() - advantages[column == 0].mean()
        pull.append(float(gain) * math.sqrt(p * (1 - p)))
    total = sum(map(abs, pull))
    if total > 1e-9:
        found = column_pulls(Rewards(verdict, "abc", len(met)), advantages)
        assert found.tolist() == pytest.approx([each / total for each in pull], abs=1e-7)


@given(step())
def test_the_absolute_shares_add_up_to_one_or_nothing_is_moved(
    given_step: tuple[Rewards, Tensor],
) -> None:
    found = column_pulls(*given_step)
    total = float(found.abs().sum())
    assert total == pytest.approx(1) or not found.any()


@given(step(), st.floats(0.1, 10), st.floats(-5, 5))
def test_another_unit_of_a_score_changes_nothing(
    given_step: tuple[Rewards, Tensor], unit: float, zero: float
) -> None:
    rewards, advantages = given_step
    scaled = rewards.values.clone()
    scaled[:, 0] = unit * scaled[:, 0] + zero
    other = Rewards(
        scaled, rewards.names, rewards.group_size, weights=rewards.weights, valid=rewards.valid
    )
    if len({*scaled[:, 0].tolist()}) == len({*rewards.values[:, 0].tolist()}):  # not rounded away
        torch.testing.assert_close(
            column_pulls(rewards, advantages), column_pulls(other, advantages), atol=1e-6, rtol=0
        )


@given(step(), st.floats(0.1, 10), st.floats(-5, 5))
def test_another_unit_of_the_advantage_changes_nothing(
    given_step: tuple[Rewards, Tensor], unit: float, zero: float
) -> None:
    """So whitening matters to no pull."""
    rewards, advantages = given_step
    torch.testing.assert_close(
        column_pulls(rewards, advantages),
        column_pulls(rewards, unit * advantages + zero),
        atol=1e-6,
        rtol=0,
    )


@given(step())
def test_an_advantage_that_is_constant_in_each_group_pulls_nothing(
    given_step: tuple[Rewards, Tensor],
) -> None:
    rewards, advantages = given_step
    size = rewards.group_size
    assert not column_pulls(rewards, advantages[::size].repeat_interleave(size)).any()


@given(step(), st.randoms(use_true_random=False))
def test_the_order_of_samples_and_of_rewards_does_not_matter(
    given_step: tuple[Rewards, Tensor], chance: st.DataObject
) -> None:
    rewards, advantages = given_step
    columns = list(range(len(rewards.names)))
    size = rewards.group_size
    order = [
        row
        for start in range(0, len(advantages), size)
        for row in chance.sample(range(start, start + size), size)  # type: ignore[attr-defined]
    ]
    chance.shuffle(columns)  # type: ignore[attr-defined]
    other = Rewards(
        rewards.values[order][:, columns],
        [rewards.names[j] for j in columns],
        size,
        weights=rewards.weights[order][:, columns],
        valid=rewards.valid[order][:, columns],
    )
    torch.testing.assert_close(
        column_pulls(rewards, advantages)[columns],
        column_pulls(other, advantages[order]),
        atol=1e-9,
        rtol=0,
    )


@given(step())
def test_a_reward_of_weight_0_or_that_is_dead_has_no_pull(
    given_step: tuple[Rewards, Tensor],
) -> None:
    rewards, advantages = given_step
    found = column_pulls(rewards, advantages)
    for j, pull in enumerate(found.tolist()):
        told = rewards.weighted[:, j]
        if len({*rewards.values[told, j].tolist()}) < 2:
            assert pull == 0


def test_of_a_reward_with_half_of_the_scores_it_is_half() -> None:
    whole = [[1.0, 1.0], [0.0, 0.0]]
    lacking = [[1.0, None], [0.0, None]]
    found = column_pulls(matrix(whole + lacking, 2), torch.tensor([1.0, 0.0, 1.0, 0.0]))
    assert found.tolist() == pytest.approx([2 / 3, 1 / 3])


def ragged(order: list[int]) -> tuple[Rewards, dict[str, Tensor]]:
    """Two prompts; a hard and two easy criteria stand in the first prompt's columns in this
    order."""
    first = torch.tensor([[1.0, 0, 1], [0, 1, 1], [0, 1, 0], [0, 1, 1]])[:, order]
    second = torch.tensor([[0.0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 1]])
    of_first = torch.tensor([True, False, False])[order].expand(4, 3)
    of_second = torch.tensor([True, False, False]).expand(4, 3)
    hard = torch.cat([of_first, of_second])
    rewards = Rewards(torch.cat([first, second]), ["rubric/1", "rubric/2", "rubric/3"], 4)
    whole = torch.ones(8, 3, dtype=torch.bool)
    return rewards, {"rubric": whole, "rubric/hard": hard, "rubric/easy": ~hard}


@pytest.mark.parametrize("order", [[1, 0, 2], [2, 1, 0], [1, 2, 0]])
def test_the_place_of_a_prompts_criterion_does_not_matter(order: list[int]) -> None:
    def told(order: list[int]) -> dict[str, float]:
        rewards, aspects = ragged(order)
        found = metrics_by_aspect(rewards, GRPO()(rewards), aspects)
        return {name: x for name, x in found.items() if "/pull/" in name}

    assert told(order) == pytest.approx(told([0, 1, 2]))
    assert set(told(order)) == {f"advantage/pull/rubric{part}" for part in ("", "/hard", "/easy")}


@given(step())
def test_an_aspect_pulls_what_its_parts_pull(given_step: tuple[Rewards, Tensor]) -> None:
    rewards, advantages = given_step
    trained = torch.ones(len(advantages), dtype=torch.bool)
    columns = rewards.columns
    whole = torch.ones_like(rewards.valid)
    aspects = {"all": whole, **columns}
    found = pulls(rewards, advantages, trained, aspects)
    parts = [float(found.where(mask, 0.0).sum()) for mask in columns.values()]
    assert float(found.sum()) == pytest.approx(sum(parts), abs=1e-12)
    assert parts == pytest.approx(column_pulls(rewards, advantages).tolist(), abs=1e-9)


@pytest.mark.parametrize("columns", [1, 3])
def test_of_one_group_and_of_one_reward_there_is_a_pull(columns: int) -> None:
    draw = torch.eye(4)[:, :columns]
    rewards = Rewards(draw, "abc"[:columns], 4)
    for estimate in (GRPO(), GDPO(), RVPO()):
        advantages = estimate(rewards)
        found = pulls(rewards, advantages.values, advantages.trained).sum(dim=0)
        assert found.tolist() == pytest.approx([1 / columns] * columns)


CLOSED: dict[str, Callable[[slopes.Case], float]] = {
    "`gdpo`": lambda case: slopes.ratio(slopes.gdpo, case),
    "`rvpo`, k = 1": lambda case: slopes.ratio(slopes.rvpo(1.0), case),
    "`level_min`, rarity 0": lambda case: slopes.ratio(slopes.level_soft_min(4.0), case),
    "`level_min`": lambda case: slopes.ratio(slopes.level_min(4.0, case.rewards), case),
}


@pytest.mark.parametrize("crowd", CROWDS, ids=lambda crowd: f"{crowd[0]} verdicts")
@pytest.mark.parametrize("probe", PROBES)
def test_what_meeting_a_verdict_is_paid_is_what_was_derived(
    probe: float, crowd: tuple[int, float, int]
) -> None:
    """GRPO pays all alike, w / the total's standard deviation, but for the size of a group; GDPO by
    1 / sqrt(p (1 - p)), as far as a group of 16 can; RVPO little for what few meet and much for
    what most do; levels by who else fails, and by rarity."""
    rewards, usual, groups = crowd
    case = slopes.Case(rewards, probe, usual)
    drawn = verdicts(probe, rewards, usual, groups)
    found = {name: against_others(paid(drawn, f(drawn))) for name, f in PULLED.items()}
    closed = {name: derived(case) for name, derived in CLOSED.items()}
    closed["`grpo`"] = slopes.grpo(case) if rewards == 3 else 1.0
    assert found == pytest.approx(closed, rel=TOLERANCE)


def test_the_two_derivations_of_the_soft_minimum_of_levels_agree() -> None:
    for probe in PROBES:
        case = slopes.Case(3, probe, 0.8)
        by_integral = slopes.ratio(slopes.level_soft_min(4.0), case)
        assert by_integral == pytest.approx(slopes.level_soft_min_in_two_lines(case, 4.0), rel=1e-6)


def test_rvpo_pays_less_for_the_rare_and_its_weights_do_not_say_so() -> None:
    drawn = verdicts(0.05, 3, 0.8, 160)
    advantages = RVPO(k=1.0)(drawn)
    weights = torch.tensor([advantages.metrics[f"advantage/weight/{m}"] for m in range(3)])
    assert against_others(weights) > 1
    assert against_others(paid(drawn, advantages)) < 0.5
