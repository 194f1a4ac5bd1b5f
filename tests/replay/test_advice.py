"""Advice follows from what was measured, and says so where nothing can be said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from rvpo.advantage import GRPO
from rvpo.replay.advice import FEWEST_GROUPS, FEWEST_STEPS, Advice, advise
from rvpo.replay.measured import measured
from rvpo.report.score_files import StepScores
from rvpo.satisfied import Satisfied
from rvpo.types import Rewards

STEPS, GROUPS, SIZE = 10, 16, 8


def steps(
    *columns: Any,
    satisfied: Any = None,
    reliability: Any = None,
    count: int = STEPS,
    groups: int = GROUPS,
) -> list[StepScores]:
    """Steps whose columns are drawn by functions of chances [N, 2] and of the share done."""
    chance = torch.Generator().manual_seed(3)
    found = []
    for step in range(count):
        draw = torch.rand((groups * SIZE, len(columns) + 1), generator=chance)
        at = step / max(1, count - 1)
        values = torch.stack(
            [column(draw[:, [c, -1]], at) for c, column in enumerate(columns)], dim=1
        )
        rewards = Rewards(
            values.float(),
            [f"r{c}" for c in range(len(columns))],
            SIZE,
            reliability=None if reliability is None else torch.tensor(reliability),
            satisfied=satisfied,
        )
        advantages = GRPO()(rewards)
        found.append(
            StepScores(
                step=step + 1,
                progress=at,
                rewards=rewards,
                aspects=rewards.columns,
                advantages=advantages.values,
                trained=advantages.trained,
            )
        )
    return found


def verdict(share: float, end: float | None = None) -> Any:
    """Met by a share of the samples, which may change over the steps."""
    return lambda draw, at: draw[:, 0] < share + at * ((share if end is None else end) - share)


def scaled(by: float) -> Any:
    return lambda draw, at: draw[:, 0] * by


def nothing(draw: Any, at: float) -> Any:
    return torch.zeros(len(draw))


def choice(*columns: Any, **more: Any) -> str | None:
    first = advise(measured(steps(*columns, **more)))[0]
    assert first.topic == "choice"
    return first.estimator


def warned(findings: list[Advice], about: str) -> bool:
    return any(each.topic == "warning" and about in each.why for each in findings)


def test_verdicts_of_one_scale_without_a_conflict_are_added_up() -> None:
    assert choice(*[verdict(0.6)] * 5) == "grpo"


def test_a_single_reward_leaves_nothing_to_choose() -> None:
    assert choice(verdict(0.5)) == "grpo"


def test_what_falls_while_another_rises_asks_for_levels() -> None:
    assert choice(verdict(0.5, 0.1), verdict(0.3, 0.9)) == "{name: grpo, inputs: level}"


def test_what_falls_alone_is_no_neglect() -> None:
    assert choice(verdict(0.6, 0.4), verdict(0.5)) == "grpo"


def test_rewards_that_oppose_each_other_within_groups_are_a_conflict() -> None:
    either = (lambda draw, at: draw[:, 1] < 0.5, lambda draw, at: draw[:, 1] >= 0.5)
    found = measured(steps(*either))
    assert [(p.first, p.second) for p in found.conflicts] == [("r0", "r1")]
    assert found.conflicts[0].correlation == pytest.approx(-1)
    assert advise(found)[0].estimator == "{name: grpo, inputs: level}"


def test_rewards_that_differ_between_prompts_alone_are_none() -> None:
    def by_group(draw: Any, at: float) -> Any:
        hard = (torch.arange(len(draw)) // SIZE) % 2
        return draw[:, 0] + hard

    found = measured(steps(by_group, lambda draw, at: draw[:, 0] - by_group(draw, at)))
    assert found.conflicts == ()


def test_many_rewards_that_crowd_one_out_ask_for_weights_by_rarity_unless_they_are_noisy() -> None:
    crowd = (verdict(0.5, 0.1), *(verdict(0.3, 0.9) for _ in range(6)))
    assert choice(*crowd) == "level_min"
    assert choice(*crowd, reliability=[0.7, *[1.0] * 6]) == "{name: grpo, inputs: level}"


def test_rarely_met_noise_asks_for_rvpo() -> None:
    assert choice(verdict(0.5), verdict(0.1), reliability=[1.0, 0.2]) == "rvpo"
    assert choice(verdict(0.5), verdict(0.1), reliability=[1.0, 0.9]) == "grpo"


def test_few_rewards_of_unlike_scales_ask_for_levels_where_it_is_said_what_is_good() -> None:
    columns = (verdict(0.5), scaled(20))
    declared = [None, Satisfied(0, 15)]
    assert choice(*columns, satisfied=declared) == "{name: grpo, inputs: level}"
    assert choice(*columns) == "{name: gdpo, eps: 0.1}"


def test_what_most_keep_beside_an_unknown_scale_asks_for_a_guard() -> None:
    assert choice(verdict(0.85), scaled(20)) == "{name: rvpo, eps: 0.1}"


def test_a_hard_reward_is_no_case_for_rvpo() -> None:
    findings = advise(measured(steps(verdict(0.2), verdict(0.6))))
    assert warned(findings, "not rvpo: met by fewer than half of the samples: r0;")


def test_a_choice_is_not_warned_of_by_its_own_name() -> None:
    noisy, guard = (
        advise(measured(each))
        for each in (
            steps(verdict(0.6), verdict(0.1), reliability=[1.0, 0.2]),
            steps(verdict(0.85), verdict(0.3), scaled(20)),
        )
    )
    assert "rvpo" in str(noisy[0].estimator)
    assert "rvpo" in str(guard[0].estimator)
    assert not warned(noisy, "fewer than half")
    assert warned(guard, "it neglects: met by fewer than half of the samples: r1;")


def test_what_nobody_knows_to_be_good_enough_is_not_said_to_be_never_met() -> None:
    def full(draw: Any, at: float) -> Any:
        return torch.full((len(draw),), -0.5)

    findings = advise(measured(steps(full, verdict(0.5))))
    assert not any("never sampled" in each.why for each in findings)
    assert warned(findings, "the same for all samples in most groups: r0")


def test_what_is_never_sampled_no_estimator_finds() -> None:
    findings = advise(measured(steps(nothing, nothing)))
    assert [(each.topic, each.estimator) for each in findings] == [("nothing", None)] * 2
    assert all("no estimator finds what is never sampled" in each.why for each in findings)


def test_one_that_is_never_sampled_leaves_the_choice_among_the_others() -> None:
    findings = advise(measured(steps(nothing, verdict(0.5), verdict(0.6))))
    assert findings[0].estimator == "grpo"
    assert [each.why[:2] for each in findings if each.topic == "nothing"] == ["r0"]


def test_one_success_is_enough_to_be_found() -> None:
    found = steps(nothing, verdict(0.5))
    first = found[0].rewards
    lucky = replace(first, values=first.values.index_fill(0, torch.tensor([0]), 1.0))
    findings = advise(measured([replace(found[0], rewards=lucky), *found[1:]]))
    assert not any(each.topic == "nothing" for each in findings)


@pytest.mark.parametrize(
    ("count", "groups"), [(FEWEST_STEPS - 1, 64), (FEWEST_STEPS, FEWEST_GROUPS // FEWEST_STEPS - 1)]
)
def test_too_little_is_said_to_be_too_little(count: int, groups: int) -> None:
    columns = (verdict(0.5), verdict(0.5))
    first, *_ = advise(measured(steps(*columns, count=count, groups=groups)))
    assert (first.topic, first.estimator) == ("nothing", None)
    assert "too few to say" in first.why


def test_dead_groups_are_told() -> None:
    findings = advise(measured(steps(verdict(0.02), verdict(0.6))))
    assert warned(findings, "the same for all samples in most groups: r0")


def test_every_choice_is_an_estimator_of_the_settings() -> None:
    from rvpo.replay.estimators import estimators_of

    columns = ((verdict(0.5), scaled(20)), (verdict(0.85), scaled(20)), (verdict(0.5),) * 3)
    chosen = [choice(*each) for each in columns]
    assert estimators_of([each for each in chosen if each], [], GRPO(eps=1.0))
