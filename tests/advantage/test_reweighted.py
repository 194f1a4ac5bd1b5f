"""What each estimator that weighs z-scores anew is for, and what it costs."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rvpo.advantage import DARA, DVAO, GD2PO, GDPO, GDPOSAW, GRPO, SAMRPO, CorrGRPO
from rvpo.errors import RewardError
from rvpo.satisfied import Satisfied
from rvpo.types import Rewards

from .matrices import matrix, random_binary, rows

Rows = tuple[list[list[float | None]], int]
RAW: Any = {"whiten": False, "eps": 1e-12}


def alive_in_one_of(groups: int, columns: int = 2) -> Rewards:
    """The first reward tells samples apart in every group of two, the others in the first alone."""
    scores = torch.zeros(2 * groups, columns, dtype=torch.double)
    scores[1::2, 0] = 1
    scores[1, 1:] = 1
    return Rewards(scores, [f"r{j}" for j in range(columns)], 2)


@pytest.mark.parametrize(("groups", "factor"), [(1, 1), (4, 2), (16, 4), (25, 5), (100, 5)])
@pytest.mark.parametrize("amplify", ["positive", "both"])
def test_dara_weighs_a_reward_by_the_root_of_its_rarity_and_at_most_5_times(
    groups: int, factor: float, amplify: Any
) -> None:
    values = DARA(amplify=amplify, **RAW)(alive_in_one_of(groups)).values
    root = math.sqrt(0.5)
    assert values[1].item() == pytest.approx(root * (1 + factor))
    worse = factor if amplify == "both" else 1
    assert values[0].item() == pytest.approx(-root * (1 + worse))
    if groups > 1:
        assert values[2:4].tolist() == pytest.approx([-root, root])


@given(case=rows(missing=True))
def test_dara_is_gdpo_with_a_cap_of_1(case: Rows) -> None:
    rewards = matrix(*case)
    torch.testing.assert_close(DARA(cap=1.0)(rewards).values, GDPO()(rewards).values)


def test_dara_looks_at_groups_and_not_at_who_meets_a_reward() -> None:
    one_of_16 = torch.zeros(64, 2, dtype=torch.double)
    one_of_16[::16, 0] = 1
    one_of_16[::2, 1] = 1
    rewards = Rewards(one_of_16, ["rare", "even"], 16)
    torch.testing.assert_close(DARA()(rewards).values, GDPO()(rewards).values)


@pytest.mark.parametrize("over", ["step", "group"])
def test_saw_weighs_a_rarely_met_verdict_by_its_odds_of_failing(over: Any) -> None:
    scores = torch.zeros(16, 2, dtype=torch.double)
    scores[0, 0] = 1  # 1 in 16: odds of 15
    scores[:8, 1] = 1  # 8 in 16: odds of 1
    metrics = GDPOSAW(over=over, **RAW)(Rewards(scores, ["rare", "even"], 16)).metrics
    ratio = metrics["advantage/weight/rare"] / metrics["advantage/weight/even"]
    assert ratio == pytest.approx(math.sqrt(15))


def test_saw_leaves_what_all_samples_meet_without_weight() -> None:
    rewards = matrix([[1, 0.0], [1, 1.0], [1, 0.0], [1, 1.0]], 2)
    metrics = GDPOSAW()(rewards).metrics
    assert metrics["advantage/weight/r0"] == 0
    assert metrics["advantage/weight/r1"] == 1


@given(unit=st.floats(0.01, 100), seed=st.integers(0, 99))
def test_saw_does_not_depend_on_a_rewards_unit(unit: float, seed: int) -> None:
    scores = torch.rand(12, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    moved = scores * torch.tensor([1.0, unit, 1.0])
    one, other = (GDPOSAW(eps=1e-12)(Rewards(each, "abc", 4)).values for each in (scores, moved))
    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_saw_measures_from_what_is_bad() -> None:
    scores = torch.tensor([[-3.0, 0.0], [3.0, 1.0], [-3.0, 0.0], [1.0, 1.0]], dtype=torch.double)
    bounds = [Satisfied(bad=-3.0, good=3.0), None]
    shifted = scores + torch.tensor([3.0, 0.0])
    found = GDPOSAW()(Rewards(scores, "ab", 2, satisfied=bounds)).values
    torch.testing.assert_close(found, GDPOSAW()(Rewards(shifted, "ab", 2)).values)
    with pytest.raises(RewardError, match=r"'a' has a score of -3, .* rewards.a.satisfied: \{bad"):
        GDPOSAW()(Rewards(scores, "ab", 2))


@given(case=rows(missing=True))
def test_no_dvao_advantage_is_larger_than_its_largest_z_score(case: Rows) -> None:
    found = DVAO()(matrix(*case))
    assert (found.values.abs() <= found.z.abs().amax(dim=1) + 1e-9).all()


def test_dvao_does_not_blow_up_what_opposed_rewards_leave() -> None:
    opposed = matrix([[0, 1.001], [1, 0], [0, 1], [1, 0.001]], 4)
    assert GRPO(eps=1e-12)(opposed).values.abs().max() > 0.5
    assert DVAO(eps=1e-12)(opposed).values.abs().max() < 0.01


def test_dvao_is_the_centred_sum_over_the_sum_of_spreads() -> None:
    scores = random_binary(1, 8, 3, seed=2) * torch.tensor([1.0, 2.0, 5.0])
    expected = (scores - scores.mean(dim=0)).sum(dim=1) / scores.std(dim=0).sum()
    found = DVAO(eps=1e-12)(Rewards(scores, "abc", 8)).values
    torch.testing.assert_close(found, expected)


def test_gd2po_drops_samples_whose_rewards_disagree_and_slows_their_group() -> None:
    # Of the first group only the last two agree; of the second all.
    scores = matrix([[1, 0], [0, 1], [1, 1], [0, 0], [1, 1], [0, 0], [1, 1], [0, 0]], 4)
    found = GD2PO(**RAW)(scores)
    assert found.trained.tolist() == [False, False, True, True, True, True, True, True]
    both = GDPO(**RAW)(scores).values
    torch.testing.assert_close(found.values[2:4], both[2:4] / 2)
    torch.testing.assert_close(found.values[4:], both[4:])


def test_gd2po_below_1_keeps_a_sample_that_one_side_dominates() -> None:
    # The last sample alone fails r0, to r0's z of -2.5: |-2.5 + 0.7| / (2.5 + 0.7) is above 0.5.
    scores = matrix([[1, 1], [1, 0], [1, 1], [1, 0], [1, 1], [1, 0], [1, 0], [0, 1]], 8)
    hard, soft = GD2PO()(scores).trained, GD2PO(tau=0.3)(scores).trained
    assert not hard[7]
    assert soft[7]
    assert GD2PO(tau=0.0)(scores).trained.all()


def test_gd2po_may_drop_a_whole_step() -> None:
    found = GD2PO()(matrix([[1, 0], [0, 1], [1, 0], [0, 1]], 2))
    assert not found.trained.any()
    assert found.values.eq(0).all()


@pytest.mark.parametrize(
    ("scores", "divisor"),
    [
        ([[0, 0], [1, 1], [0, 0], [1, 1]], 2),  # they agree
        ([[0, 0], [1, 0], [0, 1], [1, 1]], math.sqrt(2)),  # they have no correlation
        ([[0], [1], [0], [1]], 1),
    ],
)
@pytest.mark.parametrize("unit", [1.0, 100.0])
def test_corr_grpo_divides_by_how_rewards_go_together_whatever_their_units(
    scores: list[list[float]], divisor: float, unit: float
) -> None:
    values = torch.tensor(scores, dtype=torch.double)
    values[:, 0] *= unit
    found = CorrGRPO(**RAW)(Rewards(values, [f"r{j}" for j in range(values.shape[1])], 4)).values
    torch.testing.assert_close(found, (values - values.mean(dim=0)).sum(dim=1) / divisor)


def test_corr_grpo_blows_up_what_opposed_rewards_leave() -> None:
    opposed = matrix([[0, 2], [1, 0], [0, 2], [1, 0]], 4)
    assert CorrGRPO(eps=1e-4)(opposed).values.abs().max().item() == pytest.approx(50, rel=1e-3)


def test_sa_mrpo_turns_the_sign_of_a_sample_that_has_only_what_is_satisfied() -> None:
    # Nearly all have the format and few are right: the paper's figure 1.
    scores = [[1, 0], [0, 0.4], [1, 0.3], [1, 0.5]] + [[1, 0.2]] * 12
    plain, discounted = (SAMRPO(gamma=g)(matrix(scores, 4)).values for g in (0.0, 2.0))
    assert plain[0] > plain[1]
    assert discounted[0] < discounted[1]


@given(case=rows(missing=True))
def test_sa_mrpo_is_gdpo_with_an_exponent_of_0(case: Rows) -> None:
    plain = matrix(*case)
    bounds = [Satisfied(bad=-5.0, good=5.0)] * len(plain.names)
    rewards = Rewards(
        plain.values, plain.names, plain.group_size, valid=plain.valid, satisfied=bounds
    )
    torch.testing.assert_close(SAMRPO(gamma=0.0)(rewards).values, GDPO()(rewards).values)


def test_sa_mrpo_weighs_by_what_is_left() -> None:
    scores = torch.zeros(16, 2, dtype=torch.double)
    scores[1:, 0] = 1  # 15 in 16
    scores[::4, 1] = 1  # 4 in 16
    metrics = SAMRPO(gamma=0.5)(Rewards(scores, ["kept", "hard"], 16)).metrics
    ratio = metrics["advantage/weight/hard"] / metrics["advantage/weight/kept"]
    assert ratio == pytest.approx(math.sqrt(12))


def test_sa_mrpo_moves_nothing_for_what_is_more_than_satisfied() -> None:
    scores = torch.tensor([[2.0], [3.0], [4.0], [2.0]], dtype=torch.double)
    found = SAMRPO()(Rewards(scores, ["long"], 4, satisfied=[Satisfied(good=1.5)]))
    assert found.values.eq(0).all()
    with pytest.raises(RewardError, match=r"'long' has a score of 2, .* say which score is good"):
        SAMRPO()(Rewards(scores, ["long"], 4))


@pytest.mark.parametrize(
    ("kind", "wrong", "sentence"),
    [
        (DARA, {"cap": 0.5}, "cap must be at least 1, got 0.5"),
        (DARA, {"cap": math.nan}, "cap must be at least 1, got nan"),
        (DARA, {"amplify": "negative"}, "amplify must be one of 'positive', 'both', got"),
        (GD2PO, {"tau": 1.5}, "tau must be between 0 and 1, got 1.5"),
        (GD2PO, {"tau": math.nan}, "tau must be between 0 and 1, got nan"),
        (SAMRPO, {"gamma": -1.0}, "gamma must be a finite number of at least 0, got -1.0"),
        (SAMRPO, {"gamma": math.inf}, "gamma must be a finite number of at least 0, got inf"),
        (GDPOSAW, {"over": "batch"}, "over must be one of 'step', 'group', got 'batch'"),
        (DVAO, {"scale": "none"}, "scale must be one of 'group', got 'none'"),
        (CorrGRPO, {"scale": "none"}, "scale must be one of 'group', got 'none'"),
    ],
)
def test_a_setting_outside_its_range_is_one_sentence(
    kind: Any, wrong: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        kind(**wrong)
