"""A run is told once where its soft minimum follows the noise of a judge."""

from __future__ import annotations

from rvpo.report.noise import PATIENCE, NoisyRewards, noise, parts
from tests.fakes import make_record

KNOWN = {
    f"judge/{part}/reliability{end}": value
    for part, estimate in {"care": (0.4, 0.3, 0.5), "care/coin": (0.1, 0.0, 0.2)}.items()
    for end, value in zip(("", "_low", "_high"), estimate, strict=True)
}


def said(share: float | None, steps: int, *, weighs: bool = False) -> list[str]:
    heard: list[str] = []
    report = NoisyRewards(heard.append, weighs)
    for step in range(1, steps + 1):
        told = {} if share is None else {"advantage/noisy_bottleneck": share}
        report(make_record(step, KNOWN | told))
    return heard


def test_noise_that_decides_is_named_once_with_its_criterion() -> None:
    (sentence,) = said(0.25, 3 * PATIENCE)
    assert f"in the last {PATIENCE} steps 25% of the samples were lowest" in sentence
    assert "below a half (care/coin 0.10, 0.00 to 0.20)" in sentence
    assert "advantage.weight_by_reliability: true shrinks such scores" in sentence


def test_little_noise_few_steps_no_repeats_and_a_run_that_shrinks_say_nothing() -> None:
    assert said(0.05, 3 * PATIENCE) == []
    assert said(0.25, PATIENCE - 1) == []
    assert said(None, 3 * PATIENCE) == []
    assert said(0.25, 3 * PATIENCE, weighs=True) == []
    assert noise([], weighs=False) == ""


def test_a_reward_stands_for_itself_where_it_has_no_parts() -> None:
    assert parts([KNOWN]) == ["care/coin"]
    assert parts([{"judge/care/reliability": 0.5, "judge/care/cost": 1.0}]) == ["care"]
