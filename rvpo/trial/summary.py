"""The summary of a trial's judgements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

from rvpo.criterion import CriterionClass
from rvpo.rewards.rubric import RubricReward
from rvpo.rewards.tally import Tally
from rvpo.trial.judgement import Judgement, RepeatedVerdict, agreement, answers_by, mean
from rvpo.trial.response import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class CriterionRow:
    """A reward, or a part of one: a criterion, or a class where prompts have their own."""

    reward: str
    part: str | None
    means: Mapping[Kind, float | None]
    """Score over the responses of each kind that occurs."""
    agreement: float | None
    """See `judgement.agreement`."""
    failed: int
    """Answers that are missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """Prompts for which a reward puts the reference above another response, of those that have
    both."""

    reward: str
    other: Kind
    above: int
    prompts: int
    """Prompts where both have a score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSummary:
    """Everything that is said below the judgements."""

    kinds: tuple[Kind, ...]
    rows: tuple[CriterionRow, ...]
    contrasts: tuple[Contrast, ...]
    constant: tuple[str, ...]
    """Criteria with one score for all responses, which therefore train nothing."""
    agreement: float | None
    tally: Tally
    """Counts of the answers, those that rewards share once."""
    tallies: Mapping[str, Tally]
    """The same by judge."""

    @classmethod
    def of(cls, judgements: Sequence[Judgement], rewards: Sequence[RubricReward]) -> TrialSummary:
        occurring = {judgement.response.kind for judgement in judgements}
        kinds = tuple(kind for kind in get_args(Kind) if kind in occurring)
        answers = [answers for j in judgements for answers in j.answers.values()]
        judges = dict.fromkeys(reward.judge for reward in rewards)
        return cls(
            kinds=kinds,
            rows=tuple(row for reward in rewards for row in _rows(reward, judgements, kinds)),
            contrasts=tuple(
                contrast
                for reward in rewards
                for kind in kinds
                if kind not in ("given", "reference")
                if (contrast := _contrast(reward.name, kind, judgements)).prompts
            ),
            constant=tuple(name for reward in rewards for name in _constant(reward, judgements)),
            agreement=agreement(answers),
            tally=Tally.of(answer for each in answers for answer in each),
            tallies={name: Tally.of(answers_by(name, judgements)) for name in judges},
        )

    def _metrics(self) -> dict[str, float]:
        """`judge/…` for all, and `judges/{judge}/…` for each of several, as a run has them."""
        metrics = self.tally.metrics("judge")
        for name, tally in self.tallies.items() if len(self.tallies) > 1 else ():
            metrics |= tally.metrics(f"judges/{name}")
        return metrics

    def to_json(self) -> dict[str, Any]:
        """Everything, as the last JSON line holds it."""
        return {
            "summary": {
                "rows": [asdict(row) for row in self.rows],
                "contrasts": [asdict(contrast) for contrast in self.contrasts],
                "constant": list(self.constant),
                "agreement": self.agreement,
                "metrics": self._metrics(),
                "failures": dict(self.tally.failures),
            }
        }


def _rows(
    reward: RubricReward, judgements: Sequence[Judgement], kinds: Sequence[Kind]
) -> Iterable[CriterionRow]:
    verdicts = [(j.response.kind, v) for j in judgements for v in _of(reward, j)]
    yield CriterionRow(
        reward=reward.name,
        part=None,
        means={
            kind: mean(j.scores.get(reward.name) for j in judgements if j.response.kind == kind)
            for kind in kinds
        },
        agreement=agreement(v.answers for _, v in verdicts),
        failed=sum(v.failed for _, v in verdicts),
    )
    found = {v.part for _, v in verdicts}
    for part in reward.fixed or get_args(CriterionClass):
        mine = [(kind, v) for kind, v in verdicts if v.part == part]
        if part in found:
            yield CriterionRow(
                reward=reward.name,
                part=part,
                means={kind: mean(v.score for k, v in mine if k == kind) for kind in kinds},
                agreement=agreement(v.answers for _, v in mine),
                failed=sum(v.failed for _, v in mine),
            )


def _of(reward: RubricReward, judgement: Judgement) -> Iterable[RepeatedVerdict]:
    return (verdict for verdict in judgement.verdicts if verdict.reward == reward.name)


def _contrast(reward: str, other: Kind, judgements: Sequence[Judgement]) -> Contrast:
    scores: dict[Kind, dict[str, float]] = {"reference": {}, other: {}}
    for judgement in judgements:
        score = judgement.scores.get(reward)
        if judgement.response.kind in scores and score is not None:
            scores[judgement.response.kind][judgement.response.prompt.id] = score
    good, bad = scores["reference"], scores[other]
    both = good.keys() & bad.keys()
    return Contrast(
        reward=reward,
        other=other,
        above=sum(good[prompt] > bad[prompt] for prompt in both),
        prompts=len(both),
    )


def _constant(reward: RubricReward, judgements: Sequence[Judgement]) -> Iterable[str]:
    for name in reward.fixed:
        scores = [v.score for j in judgements for v in _of(reward, j) if v.name == name]
        if len(scores) > 1 and None not in scores and len(set(scores)) == 1:
            yield f"{reward.name}/{name}"
