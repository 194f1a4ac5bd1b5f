"""Agreement of two judges on the same responses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from rvpo.trial.judgement import Judgement, RepeatedVerdict
from rvpo.trial.kappa import Kappa

FEW: Final = 20
"""Prompts below which an interval of kappa is mostly what is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementRow:
    """Agreement on a reward, or on a part of one: a criterion, or a class where prompts have their
    own."""

    reward: str
    part: str | None
    pairs: int
    """Verdicts that both judges gave, repeat by repeat."""
    prompts: int
    """Prompts that they are on."""
    missing: int
    """Verdicts that either did not give; they are in no number of the row but this one."""
    equal: float | None
    """Share of equal verdicts; None without a pair, and so for the rest."""
    kappa: Kappa
    first_mean: float | None
    """Mean score by the first judge, polarity applied."""
    second_mean: float | None
    only_first: float | None
    """Share of the pairs that the first judge scores higher."""
    only_second: float | None
    constant: tuple[bool, bool]
    """True for a judge that gave one verdict throughout."""

    @property
    def name(self) -> str:
        """The reward and its part."""
        return self.reward if self.part is None else f"{self.reward}/{self.part}"


@dataclass(frozen=True, slots=True)
class _Pair:
    prompt: str  # its text: lines of a file may name one prompt in several ways
    part: str | None
    first: float
    second: float


def agreement_rows(
    first: Sequence[Judgement], second: Sequence[Judgement]
) -> tuple[AgreementRow, ...]:
    """A row for each reward, followed by those of its parts, in the order of their appearance.

    Args:
        first: judgements by the judges that rewards ask.
        second: the other judge's of the same responses, by the rewards that it was asked for.
    """
    found: dict[tuple[str, str | None], tuple[list[_Pair], list[int]]] = {}
    for one, other in zip(first, second, strict=True):
        prompt = str(one.response.prompt.turns)
        for reward in dict.fromkeys(verdict.reward for verdict in other.verdicts):
            for verdict, against in zip(_of(reward, one), _of(reward, other), strict=True):
                pairs, missing = _paired(prompt, verdict, against)
                for part in dict.fromkeys((None, verdict.part)):
                    known, lost = found.setdefault((reward, part), ([], []))
                    known += pairs
                    lost.append(missing)
    rewards = list(dict.fromkeys(reward for reward, _ in found))
    keys = sorted(found, key=lambda key: (rewards.index(key[0]), key[1] is not None))
    return tuple(_row(*key, found[key][0], sum(found[key][1])) for key in keys)


def _of(reward: str, judgement: Judgement) -> list[RepeatedVerdict]:
    return [verdict for verdict in judgement.verdicts if verdict.reward == reward]


def to_json(rows: Sequence[AgreementRow]) -> list[dict[str, Any]]:
    """The rows, as a JSON line holds them."""
    return [asdict(row) for row in rows]


def notes(rows: Sequence[AgreementRow], judge: str) -> Iterator[str]:
    """Sentences on what has no kappa, or one that says little.

    Args:
        judge: name of the second judge.
    """
    for row in rows:
        if row.pairs and row.kappa.value is not None and row.kappa.interval is None:
            yield f"{row.name}: no interval, for verdicts on one prompt say nothing of others"
        if not row.pairs:
            yield f"{row.name}: no kappa, for no verdict was given by both judges"
        elif row.kappa.value is None:
            on_each = "" if any(row.constant) else " on each part"
            yield (
                f"{row.name}: no kappa, for both judges gave one and the same verdict{on_each} "
                "throughout; "
                "responses of other worth would tell more"
            )
        elif any(row.constant):
            who = "its own judge" if row.constant[0] else f"judge '{judge}'"
            yield (
                f"{row.name}: {who} gave one verdict throughout, which makes kappa 0 however often "
                "the other one agrees"
            )


def _paired(
    prompt: str, verdict: RepeatedVerdict, against: RepeatedVerdict
) -> tuple[list[_Pair], int]:
    criterion = verdict.criterion
    pairs = []
    for one, other in zip(verdict.answers, against.answers, strict=True):
        if one.value is None or other.value is None:
            continue
        scores = (one.value, other.value)
        if criterion is not None:
            scores = (criterion.score(one.value), criterion.score(other.value))
        pairs.append(_Pair(prompt, verdict.part, *scores))
    return pairs, len(verdict.answers) - len(pairs)


def _row(reward: str, part: str | None, pairs: Sequence[_Pair], missing: int) -> AgreementRow:
    first, second = [pair.first for pair in pairs], [pair.second for pair in pairs]

    def share(counted: Sequence[bool]) -> float | None:
        return sum(counted) / len(counted) if counted else None

    return AgreementRow(
        reward=reward,
        part=part,
        pairs=len(pairs),
        prompts=len({pair.prompt for pair in pairs}),
        missing=missing,
        equal=share([pair.first == pair.second for pair in pairs]),
        kappa=Kappa.of(
            first, second, [pair.prompt for pair in pairs], [pair.part for pair in pairs]
        ),
        first_mean=sum(first) / len(first) if first else None,
        second_mean=sum(second) / len(second) if second else None,
        only_first=share([pair.first > pair.second for pair in pairs]),
        only_second=share([pair.first < pair.second for pair in pairs]),
        constant=(len(set(first)) == 1, len(set(second)) == 1),
    )
