"""The estimator that suits a run, by rules on what its first steps measured.

The rules are what simulations of estimators and runs on a small task showed (docs/rvpo.md and
docs/replay.md): where a sum does best, what a soft minimum of z-scores guards and what it neglects,
and what levels of satisfaction find. They are advice, no proof: `rvpo compare` tests it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from rvpo.replay.measured import MeasuredReward, MeasuredRun

FEWEST_STEPS: Final = 4
"""Steps without which no trend is known."""
FEWEST_GROUPS: Final = 20
"""Groups that must tell samples apart."""
RARE, KEPT, SATURATED = 0.25, 0.8, 0.95
"""Shares met up to which a reward is rarely met, from which it is mostly kept, and from which
nothing is left to learn."""
UNLIKE: Final = 4.0
"""Ratio of spreads within groups from which rewards have unlike scales."""
CROWD: Final = 7
"""Rewards that are many."""
QUIET: Final = 0.9
"""Reliability from which a judge is no noise to speak of."""
NOISE: Final = 0.5
"""Reliability below which most of what a score tells apart is noise."""

Topic = Literal["choice", "warning", "nothing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One finding, and the numbers that it follows from."""

    topic: Topic
    """A choice of estimator, a warning beside it, or nothing that can be chosen by these steps."""
    estimator: str | None
    """Setting of `advantage`, as YAML; None where none is advised."""
    why: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    """Numbers that it follows from, by name."""

    def to_json(self) -> dict[str, Any]:
        """The finding, as JSON holds it."""
        return {
            "topic": self.topic,
            "estimator": self.estimator,
            "why": self.why,
            "numbers": dict(self.numbers),
        }


def advise(found: MeasuredRun) -> list[Advice]:
    """Findings, the choice first; where nothing can be chosen, that alone stands first."""
    hidden = [each for each in found.rewards if each.is_never_sampled]
    never = [_never(each) for each in hidden]
    seen = [each for each in found.rewards if not each.is_never_sampled]
    if not seen:
        return never or [_nothing("no reward that carries weight has a score", {})]
    little = _too_little(found)
    if little is not None:
        return [little, *never]
    choice = _choice(found, seen)
    return [choice, *never, *_warnings(seen, choice)]


def _never(each: MeasuredReward) -> Advice:
    if not each.scores:
        return _nothing(f"{each.name}: none of its scores is there", {})
    return _nothing(
        f"{each.name}: none of {each.scores:,} samples met it and none differed from its siblings; "
        "no estimator finds what is never sampled: make it easier, grade it, or show it in prompts",
        {f"{each.name}/met": each.met, f"{each.name}/dead": each.dead},
    )


def _nothing(why: str, numbers: Mapping[str, float]) -> Advice:
    return Advice(topic="nothing", estimator=None, why=why, numbers=numbers)


def _too_little(found: MeasuredRun) -> Advice | None:
    if found.steps >= FEWEST_STEPS and found.live_groups >= FEWEST_GROUPS:
        return None
    return _nothing(
        f"{found.steps} steps with {found.live_groups} groups whose samples differ are too few to "
        f"say which estimator suits; {FEWEST_STEPS} steps and {FEWEST_GROUPS} such groups are "
        "needed: read more steps (--steps), or train some more",
        {"steps": found.steps, "groups": found.groups, "live_groups": found.live_groups},
    )


def _choice(found: MeasuredRun, seen: list[MeasuredReward]) -> Advice:
    """The first rule that holds."""
    rules = (_one, _noisy, _crowded_out, _unlike_declared, _guard, _unlike)
    for rule in rules:
        if (advice := rule(found, seen)) is not None:
            return advice
    return _pick(
        "grpo",
        "scores of like scales, no conflict between rewards and none that is being lost: the sum "
        "learns fastest, and noise disturbs it least",
        {"scale_ratio": found.scale_ratio, "conflicts": 0, "rewards": len(seen)},
    )


def _one(found: MeasuredRun, seen: list[MeasuredReward]) -> Advice | None:
    if len(seen) > 1:
        return None
    return _pick(
        "grpo",
        f"{seen[0].name} alone tells samples apart, and all estimators order them alike",
        {"rewards": len(seen)},
    )


def _noisy(found: MeasuredRun, seen: list[MeasuredReward]) -> Advice | None:
    noisy = [each for each in seen if _is_rare_noise(each)]
    if not noisy:
        return None
    return _pick(
        "rvpo",
        f"rarely met, and mostly noise by the judge's repeats: {_names(noisy)}; a soft minimum of "
        "z-scores shuts such verdicts out, where others follow them",
        _each(noisy, "met") | _each(noisy, "reliability"),
    )


def _is_rare_noise(each: MeasuredReward) -> bool:
    return each.met < RARE and each.reliability is not None and each.reliability < NOISE


def _crowded_out(found: MeasuredRun, seen: list[MeasuredReward]) -> Advice | None:
    lost = [r for r in seen if r.falls]
    rising = [r for r in seen if r.rises]
    conflicts = found.conflicts
    is_lost = bool(lost and (rising or len(seen) >= CROWD))
    if not is_lost and not conflicts:
        return None
    noisy = [r for r in seen if r.reliability is not None and r.reliability < QUIET]
    undeclared = [r for r in seen if not r.is_declared]
    numbers = _each(lost, "trend") | _each(rising, "trend") | _each(noisy, "reliability")
    for pair in conflicts[:3]:
        numbers[f"correlation({pair.first}, {pair.second})"] = pair.correlation
    parts = []
    if is_lost:
        others = f", rising: {_names(rising)}" if rising else f", of {len(seen)} rewards"
        parts.append(f"falling: {_names(lost)}{others}")
    if conflicts:
        first = conflicts[0]
        parts.append(f"pulling against each other: {first.first} and {first.second}")
    about = "; ".join(parts)
    if noisy:
        return _pick(
            "{name: grpo, inputs: level}",
            f"{about}; noisy: {_names(noisy)}. Weights by rarity would follow the noise, and the "
            f"sum of levels does not{_declare(undeclared)}",
            numbers,
        )
    if len(seen) < CROWD:
        return _pick(
            "{name: grpo, inputs: level}",
            f"{about}. What is good enough of a reward pays no more beyond it, and leaves room for "
            f"the others{_declare(undeclared)}",
            numbers,
        )
    return _pick(
        "level_min",
        f"{about}. Weighed by rarity, levels of satisfaction keep what few samples satisfy"
        f"{_declare(undeclared)}",
        numbers,
    )


def _unlike_declared(found: MeasuredRun, seen: list[MeasuredReward]) -> Advice | None:
    told = all(each.is_declared for each in seen)
    if found.scale_ratio < UNLIKE or not told or len(seen) > 3:
        return None
    return _pick(
        "{name: grpo, inputs: level}",
        "few rewards of unlike scales, and it is known what is good enough of each: levels of "
        "satisfaction share one scale",
        {"scale_ratio": found.scale_ratio} | _each(seen, "spread"),
    )


def _guard(found: MeasuredRun, seen: list[MeasuredReward]) -> Advice | None:
    kept = [r for r in seen if r.is_declared and r.met >= KEPT]
    if found.scale_ratio < UNLIKE or not kept or all(r.is_declared for r in seen):
        return None
    return _pick(
        "{name: rvpo, eps: 0.1}",
        f"met by most, and not to be lost to rewards of another scale: {_names(kept)}; not all say "
        "what is good enough of them. Set eps to a difference that does not matter",
        {"scale_ratio": found.scale_ratio} | _each(kept, "met"),
    )


def _unlike(found: MeasuredRun, seen: list[MeasuredReward]) -> Advice | None:
    if found.scale_ratio < UNLIKE:
        return None
    if any(r.is_declared and r.met >= SATURATED for r in seen):
        return _pick(
            "{name: grpo, inputs: level}",
            "unlike scales, and a reward that is nearly always met: z-scores would pull its last "
            "per cent as hard as everything else; levels of satisfaction do not"
            + _declare([r for r in seen if not r.is_declared]),
            {"scale_ratio": found.scale_ratio} | _each(seen, "met"),
        )
    return _pick(
        "{name: gdpo, eps: 0.1}",
        "unlike scales, nothing that most samples keep and nothing that is nearly always met: "
        "z-scores make them equal; set eps to a difference that does not matter",
        {"scale_ratio": found.scale_ratio} | _each(seen, "spread"),
    )


def _warnings(seen: list[MeasuredReward], choice: Advice) -> Iterator[Advice]:
    hard = [each for each in seen if each.is_declared and 0 < each.met < 0.5]
    hard = [each for each in hard if not _is_rare_noise(each)]  # which is to be shut out
    is_rvpo = "rvpo" in (choice.estimator or "")
    findings = (
        (
            hard if len(seen) > 1 else [],
            "met",
            ("it neglects" if is_rvpo else "not rvpo")
            + ": met by fewer than half of the samples: {}; the pull of a soft minimum of "
            "z-scores vanishes where few meet a reward",
        ),
        (
            [each for each in seen if each.is_declared and each.met >= SATURATED],
            "met",
            "nearly always met: {}; little is left to learn of it, and z-scores pull its last per "
            "cent as hard as the first",
        ),
        (
            [each for each in seen if each.dead > 0.5],
            "dead",
            "the same for all samples in most groups: {}; these groups teach nothing of it, and "
            "more samples a prompt, rollout.resample or other prompts help",
        ),
        (
            [each for each in seen if each.missing > 0.05],
            "missing",
            "many missing scores: {}; see advantage.missing",
        ),
    )
    for rewards, number, why in findings:
        if rewards:
            yield _warn(why.format(_names(rewards)), _each(rewards, number))


def _pick(estimator: str, why: str, numbers: Mapping[str, float]) -> Advice:
    return Advice(topic="choice", estimator=estimator, why=why, numbers=numbers)


def _warn(why: str, numbers: Mapping[str, float]) -> Advice:
    return Advice(topic="warning", estimator=None, why=why, numbers=numbers)


def _each(rewards: list[MeasuredReward], number: str) -> dict[str, float]:
    """A number of some rewards, as far as it is known."""
    found = {f"{each.name}/{number}": getattr(each, number) for each in rewards}
    return {name: value for name, value in found.items() if value is not None}


def _names(rewards: list[MeasuredReward]) -> str:
    names = [each.name for each in rewards]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _declare(undeclared: list[MeasuredReward]) -> str:
    if not undeclared:
        return ""
    first = undeclared[0].name
    return f"; say what is good enough of {_names(undeclared)} first (rewards.{first}.satisfied)"
