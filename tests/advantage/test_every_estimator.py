"""What holds for all estimators: what missing, dead and single scores do, and the invariances."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from rvpo.advantage import (
    DARA,
    DVAO,
    GD2PO,
    GDPO,
    GRPO,
    MOGRPO,
    POW3R,
    RDPO,
    RVPO,
    AdvantageEstimator,
    CorrGRPO,
    CVaR,
    HardMin,
    LevelMin,
    MeanVariance,
    RawRVPO,
    RubricDropout,
    SmoothTchebycheff,
)
from rvpo.types import Rewards

from .matrices import (
    ALL,
    Z_SCORE,
    DeclaredSAMRPO,
    DeclaredSAW,
    few,
    label,
    matrix,
    random_binary,
    rows,
)

Rows = tuple[list[list[float | None]], int]
every = pytest.mark.parametrize("estimator", ALL, ids=label)
every_z_score = pytest.mark.parametrize("estimator", Z_SCORE, ids=label)
Z_SCORED = (GDPO, RVPO, MeanVariance, HardMin, MOGRPO, CVaR)
OF_A_GROUP = (
    *Z_SCORED,
    RawRVPO,
    LevelMin,
    DVAO,
    GD2PO,
    CorrGRPO,
    SmoothTchebycheff,
    POW3R,
    RubricDropout,
)
OF_THE_STEP = (DARA, DeclaredSAW, DeclaredSAMRPO, RDPO)
"""Weights of these, or their covariance, are statistics of all groups."""
WHITENED = (*OF_A_GROUP, *OF_THE_STEP)
UNWHITENED = [GRPO(), *(kind(whiten=False) for kind in WHITENED)]
GROUP_BY_GROUP = [
    GRPO(),
    *(kind(whiten=False) for kind in OF_A_GROUP),
    *(kind(whiten=False, over="group") for kind in (DeclaredSAW, DeclaredSAMRPO)),
]
ANY_COLUMNS = [each for each in ALL if not isinstance(each, RubricDropout)]
"""All but Rubric Dropout, which picks rewards by their names: see its own tests."""


@every
@few
@given(case=rows(missing=True, min_group=1))
def test_everything_is_finite_and_zero_where_untrained(
    estimator: AdvantageEstimator, case: Rows
) -> None:
    advantages = estimator(matrix(*case))
    assert torch.isfinite(advantages.values).all()
    assert torch.isfinite(advantages.z).all()
    assert advantages.values[~advantages.trained].eq(0).all()
    assert all(type(v) is float and math.isfinite(v) for v in advantages.metrics.values())


@pytest.mark.parametrize("estimator", ANY_COLUMNS, ids=label)
@few
@given(case=rows(missing=True), random=st.randoms())
def test_order_of_rewards_does_not_matter(
    estimator: AdvantageEstimator, case: Rows, random: st.random_module
) -> None:
    values, group_size = case
    order = list(range(len(values[0])))
    random.shuffle(order)
    weights = [1.0 + j for j in order]
    one = estimator(matrix(values, group_size, sorted(weights)))
    other = estimator(matrix([[row[j] for j in order] for row in values], group_size, weights))
    torch.testing.assert_close(one.values, other.values, rtol=1e-6, atol=1e-6)


@every
@few
@given(case=rows(missing=True), random=st.randoms())
def test_order_of_siblings_does_not_matter(
    estimator: AdvantageEstimator, case: Rows, random: st.random_module
) -> None:
    values, group_size = case
    order = []
    for start in range(0, len(values), group_size):
        group = list(range(start, start + group_size))
        random.shuffle(group)
        order += group
    one = estimator(matrix(values, group_size)).values[order]
    other = estimator(matrix([values[i] for i in order], group_size)).values
    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", [*Z_SCORED, DARA, GD2PO, RDPO])
@given(scale=st.floats(0.01, 100), shift=st.floats(-10, 10), seed=st.integers(0, 99))
def test_rescaling_one_reward_changes_nothing(
    kind: type[RVPO], scale: float, shift: float, seed: int
) -> None:
    values = torch.rand(12, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    moved = values.clone()
    moved[:, 1] = scale * moved[:, 1] + shift
    estimator = kind(eps=1e-12)
    one, other = (estimator(Rewards(v, list("abc"), 4)).values for v in (values, moved))
    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


@given(case=rows(missing=True))
def test_mean_of_raw_scores_is_grpo(case: Rows) -> None:
    raw = RawRVPO(k=0.0, eps=1e-12, whiten=False)(matrix(*case)).values
    grpo = GRPO(eps=1e-12)(matrix(*case))
    assume(grpo.values.abs().min() > 0 or grpo.values.eq(0).all())
    torch.testing.assert_close(raw, grpo.values, rtol=1e-6, atol=1e-6)


def test_minimum_of_raw_scores_hears_the_reward_of_lower_range_alone() -> None:
    scores = matrix([[0.1, 5.0], [0.2, 1.0], [0.3, 3.0], [0.4, 2.0]], 4)
    alone = matrix([[0.1], [0.2], [0.3], [0.4]], 4)
    found, expected = (RawRVPO(k=math.inf)(each).values for each in (scores, alone))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("estimator", GROUP_BY_GROUP, ids=label)
@few
@given(case=rows(missing=True))
def test_groups_do_not_see_each_other_before_whitening(
    estimator: AdvantageEstimator, case: Rows
) -> None:
    values, group_size = case
    together = estimator(matrix(values, group_size)).values
    apart = [
        estimator(matrix(values[start : start + group_size], group_size)).values
        for start in range(0, len(values), group_size)
    ]
    torch.testing.assert_close(together, torch.cat(apart))


@pytest.mark.parametrize("estimator", UNWHITENED, ids=label)
def test_constant_group_gets_no_gradient(estimator: AdvantageEstimator) -> None:
    # 0.1 has no exact mean: equality must be tested, not left to eps.
    advantages = estimator(matrix([[0.1, 0.7]] * 7, 7))
    assert advantages.values.eq(0).all()
    assert advantages.z.eq(0).all()
    assert advantages.metrics["advantage/dead_group_frac"] == 1


@every
def test_group_of_one_is_finite_and_not_trained_on(estimator: AdvantageEstimator) -> None:
    advantages = estimator(matrix([[0.3, 1.0], [0.5, None]], 1))
    assert not advantages.trained.any()
    assert advantages.values.eq(0).all()
    assert set(advantages.metrics) <= {"advantage/untrained_frac", "rvpo/k"}
    assert advantages.metrics["advantage/untrained_frac"] == 1


@every
def test_step_without_samples_is_empty(estimator: AdvantageEstimator) -> None:
    advantages = estimator(Rewards(torch.zeros(0, 2), ["a", "b"], 4))
    assert advantages.values.shape == (0,)
    assert set(advantages.metrics) <= {"rvpo/k"}


@every
def test_row_without_scores_is_not_trained_on(estimator: AdvantageEstimator) -> None:
    # Rewards that agree: of others GD2PO drops samples.
    rows_ = [[0.0, 0.5], [1.0, 0.75], [None, None], [0.5, 0.7]]
    advantages = estimator(matrix(rows_, 4))
    assert advantages.trained.tolist() == [True, True, False, True]
    others = estimator(matrix([rows_[0], rows_[1], rows_[3]], 3)).values
    torch.testing.assert_close(advantages.values[advantages.trained], others)


@every
def test_weight_zero_is_logged_and_nothing_more(estimator: AdvantageEstimator) -> None:
    rows_ = [[0.0, 0.5, 3.0], [1.0, 0.25, None], [0.5, 0.5, 1.0], [0.25, 1.0, 2.0]]
    advantages = estimator(matrix(rows_, 4, [1.0, 2.0, 0.0]))
    without = estimator(matrix([row[:2] for row in rows_], 4, [1.0, 2.0]))
    torch.testing.assert_close(advantages.values, without.values)
    z = advantages.z[:, 2] / advantages.z[:, 2].max()  # without a divisor in units of their own
    assert z.tolist() == pytest.approx([1, 0, -1, 0], abs=1e-3)
    logged = {k: v for k, v in advantages.metrics.items() if k != "rewards/r2/zero_std_frac"}
    assert logged == pytest.approx(without.metrics)


@every
def test_prompts_may_weigh_their_rewards_differently(estimator: AdvantageEstimator) -> None:
    values = [[0, 5], [1, 4], [0, 5], [1, 4]]
    per_prompt = matrix(values, 2, [[1.0, 0.0]] * 2 + [[0.0, 1.0]] * 2)
    assert estimator(per_prompt).values.sign().tolist() == [-1, 1, 1, -1]


@every
def test_results_keep_the_type_of_the_scores(estimator: AdvantageEstimator) -> None:
    advantages = estimator(Rewards(random_binary(2, 4, 2).float(), ["a", "b"], 4))
    assert advantages.values.dtype == advantages.z.dtype == torch.float32


@every
def test_rounding_noise_is_not_a_signal(estimator: AdvantageEstimator) -> None:
    noisy = torch.tensor([[0.1 + 0.2], [0.3], [0.3], [0.3]], dtype=torch.double)
    assert estimator(Rewards(noisy, ["a"], 4)).z.abs().max() < 1e-9


@every
@pytest.mark.parametrize(
    ("dtype", "neighbour"),
    [
        (torch.float64, 0.5 + 1e-7),
        (torch.float32, torch.nextafter(torch.tensor(0.5), torch.tensor(1.0)).item()),
    ],
)
def test_the_smallest_difference_is_a_signal(
    estimator: AdvantageEstimator, dtype: torch.dtype, neighbour: float
) -> None:
    advantages = estimator(Rewards(torch.tensor([[0.5], [neighbour]], dtype=dtype), ["a"], 2))
    assert advantages.metrics["rewards/a/zero_std_frac"] == 0
    assert advantages.metrics["advantage/dead_group_frac"] == 0
    assert advantages.z[:, 0].sign().tolist() == [-1, 1]
    assert advantages.values.sign().tolist() == [-1, 1]


@pytest.mark.parametrize("estimator", [*Z_SCORE, DARA(), DeclaredSAW(), GD2PO()], ids=label)
@given(case=rows(missing=True))
def test_whitened_advantages_have_mean_zero_and_deviation_one(
    estimator: AdvantageEstimator, case: Rows
) -> None:
    advantages = estimator(matrix(*case))
    values = advantages.values[advantages.trained]
    assume(advantages.metrics.get("advantage_raw/std", 0) > 0.1)
    assert values.mean().abs() < 1e-6
    assert values.std().item() == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("kind", [GRPO, *WHITENED])
def test_row_lacking_what_its_siblings_have_can_be_refused(kind: type[RVPO]) -> None:
    rows_ = [[0.0, 0.5], [1.0, None], [0.5, 1.0], [0.0, None], [1.0, None], [0.5, None]]
    # GD2PO drops none: the last rows have one reward, and z is 0 in the middle of the first.
    assert kind()(matrix(rows_, 3)).trained.all()
    strict = kind(missing="skip_sample")(matrix(rows_, 3))
    assert strict.trained.tolist() == [True, False, True, True, True, True]


# Not of SAW and SA-MRPO: a mean over the step is one of dead groups too.
@pytest.mark.parametrize("kind", [*OF_A_GROUP, DARA])
def test_masked_dead_groups_leave_whitening_and_loss(kind: type[RVPO]) -> None:
    live = random_binary(3, 4, 2, seed=1)
    both = Rewards(torch.cat([torch.ones(4, 2).double(), live]), ["a", "b"], 4)
    advantages = kind(dead_groups="mask")(both)
    assert not advantages.trained[:4].any()
    torch.testing.assert_close(
        advantages.values[4:], kind(dead_groups="mask")(Rewards(live, ["a", "b"], 4)).values
    )


@pytest.mark.parametrize("kind", WHITENED)
def test_weight_zero_keeps_no_group_alive(kind: type[RVPO]) -> None:
    # In the first of two groups only r1 tells the samples apart, and nothing trains on it.
    rewards = matrix([[1, 0], [1, 5], [0, 0], [1, 0]], 2, [1.0, 0.0])
    masked = kind(dead_groups="mask")(rewards)
    assert masked.trained.tolist() == [False, False, True, True]
    assert masked.metrics["advantage/dead_group_frac"] == 0.5


@pytest.mark.parametrize(
    "kind",
    [
        RVPO,
        MeanVariance,
        HardMin,
        CVaR,
        RawRVPO,
        SmoothTchebycheff,
        POW3R,
        RubricDropout,
        RDPO,
    ],
)
def test_masked_dead_channel_is_as_if_absent(kind: type[RVPO]) -> None:
    live = torch.tensor([[0.0], [1.0], [0.5], [0.75]], dtype=torch.double)
    both = Rewards(torch.cat([live, torch.ones_like(live)], dim=1), ["a", "b"], 4)
    masked = kind(dead_channels="mask")(both)
    torch.testing.assert_close(masked.values, kind()(Rewards(live, ["a"], 4)).values)
    assert masked.metrics["advantage/weight/b"] == 0


@pytest.mark.parametrize("kind", [GRPO, *WHITENED])
@pytest.mark.parametrize("eps", [0.0, -1.0, math.inf, math.nan])
def test_eps_must_be_positive(kind: type[RVPO], eps: float) -> None:
    with pytest.raises(ValueError, match="eps must be a finite number above 0, got"):
        kind(eps=eps)


def test_unknown_choice_is_refused() -> None:
    with pytest.raises(
        ValueError, match="dead_groups must be one of 'keep', 'recentre', 'mask', got 'center'"
    ):
        RVPO(dead_groups="center")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"missing must be one of 'drop', 'group_mean', .* 'sum'"):
        GRPO(missing="sum")  # type: ignore[arg-type]
