"""Scores of the same held-out answers by two judges: the one that trains, and the gold one."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from pydantic import Field

from rvpo.report.held_out import Floats
from rvpo.report.stored import Number, Stored, Text, checked, damaged, read_json
from rvpo.types import RolloutScores

StoredMatrix = list[list[Number | None]]
MATRICES: Final = ("training", "gold", "alone", "only_training", "only_gold")
GoldPart = Literal["training", "gold", "alone", "only_training", "only_gold", "gaps"]
"""Matrices of `GoldScores`, by name."""


class _GoldFile(Stored):
    judge: Text
    reward_names: list[Text]
    prompt_ids: list[Text]
    training: StoredMatrix
    gold: StoredMatrix
    alone: StoredMatrix
    only_training: StoredMatrix
    only_gold: StoredMatrix
    missing: list[Number]
    reasons: dict[str, int] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GoldScores:
    """Both judges' scores of a policy on each held-out prompt, after one evaluation.

    A verdict is a score in one column of one answer. Where either judge gave none, it is in no
    comparison: it is missing, and never 0.
    """

    judge: str
    """Name of the gold judge."""
    reward_names: tuple[str, ...]
    """Rewards that are watched, and their criteria, or their classes and axes: aspects."""
    prompt_ids: tuple[str, ...]
    training: Floats  # [P, aspects] the training judge's mean over what both judged, else NaN
    gold: Floats  # [P, aspects] the gold judge's mean over the same
    alone: Floats  # [P, aspects] the gold judge's mean over all that it judged
    only_training: Floats  # [P, aspects] share of it where the training judge's score is higher
    only_gold: Floats  # [P, aspects] share of it where the gold judge's score is higher
    missing: Floats  # [aspects] share of the verdicts that either judge did not give
    reasons: Mapping[str, int] = field(default_factory=dict)
    """Counts of the verdicts that failed, by reason and judge, in words."""

    @classmethod
    def of(
        cls, training: RolloutScores, gold: RolloutScores, prompt_ids: Sequence[str], judge: str
    ) -> GoldScores:
        """Compare two reward matrices of the same samples, by the same rewards.

        Args:
            training: [N, M] scores by the judges that rewards ask.
            gold: [N, M] scores by the gold one.
            prompt_ids: [P] prompt of each group, in the order of the rows.
            judge: the gold one's name.

        Raises:
            ValueError: the matrices are not of the same rewards and samples.
        """
        rewards, names, count = training.rewards, tuple(training.aspects), len(prompt_ids)
        if rewards.names != gold.rewards.names or rewards.valid.shape != gold.rewards.valid.shape:
            raise ValueError("both judges must have scored the same samples by the same rewards")
        if len(rewards.values) != count * rewards.group_size:
            raise ValueError(f"{len(rewards.values)} rows are no groups of {count} prompts")

        def by_prompt(tensor: Any) -> Any:
            return tensor.numpy().reshape(count, -1)

        asked = {name: by_prompt(mask) for name, mask in training.aspects.items()}
        first, second = by_prompt(rewards.values.double()), by_prompt(gold.rewards.values.double())
        known = by_prompt(gold.rewards.valid)
        both = known & by_prompt(rewards.valid)

        def means(values: Any, counted: Any) -> Floats:
            columns = [_means(values, asked[name] & counted) for name in names]
            return np.stack(columns, axis=1) if columns else np.empty((count, 0))

        return cls(
            judge=judge,
            reward_names=names,
            prompt_ids=tuple(prompt_ids),
            training=means(first, both),
            gold=means(second, both),
            alone=means(second, known),
            only_training=means(first > second, both),
            only_gold=means(first < second, both),
            missing=np.array(
                [1 - float(both[mask].mean()) if mask.any() else 0.0 for mask in asked.values()]
            ),
            reasons=Counter(
                [f"{reason} of the training judge" for reason in training.failures.values()]
                + [f"{reason} of judge '{judge}'" for reason in gold.failures.values()]
            ),
        )

    @property
    def gaps(self) -> Floats:
        """[P, aspects] training judge's mean less the gold judge's, NaN where neither is known."""
        return self.training - self.gold

    def mean(self, of: GoldPart, name: str) -> float | None:
        """Mean over prompts of a matrix for a reward or a part of one; None where nobody knows."""
        if name not in self.reward_names:
            return None
        values: Floats = getattr(self, of)[:, self.reward_names.index(name)]
        known = values[np.isfinite(values)]
        return float(known.mean()) if len(known) else None

    def missing_of(self, name: str) -> float:
        """Share of the verdicts for a reward or a part of one that either judge did not give."""
        known = name in self.reward_names
        return float(self.missing[self.reward_names.index(name)]) if known else 1.0

    def metrics(self) -> dict[str, float]:
        """`judge_gap…/{name}` and `eval/gold/rewards/{name}/mean`, each a mean over prompts. What
        nobody knows is left out."""
        return {name: value for name, value in self._metrics().items() if value is not None}

    def lost(self) -> dict[str, str]:
        """Words for the failures of judges, by the metric that nobody knows because of them."""
        counts = Counter(self.reasons).most_common(3)
        if not counts:
            return {}
        said = ", ".join(f"{count:,} {reason}" for reason, count in counts)
        return {
            metric: f"verdicts failed: {said}"
            for name in self.reward_names
            if self.missing_of(name) > 0
            for metric, value in self._metrics_of(name).items()
            if value is None
        }

    def _metrics(self) -> dict[str, float | None]:
        return {k: v for name in self.reward_names for k, v in self._metrics_of(name).items()}

    def _metrics_of(self, name: str) -> dict[str, float | None]:
        return {
            f"judge_gap/{name}": self.mean("gaps", name),
            f"judge_gap_only_training/{name}": self.mean("only_training", name),
            f"judge_gap_only_gold/{name}": self.mean("only_gold", name),
            f"judge_gap_missing/{name}": self.missing_of(name),
            f"eval/gold/rewards/{name}/mean": self.mean("alone", name),
        }

    def to_json(self) -> dict[str, Any]:
        """Everything, with null for what is unknown; `read` reads it back."""
        return {
            "judge": self.judge,
            "reward_names": list(self.reward_names),
            "prompt_ids": list(self.prompt_ids),
            **{name: _nullable(getattr(self, name)) for name in MATRICES},
            "missing": self.missing.tolist(),
            "reasons": dict(self.reasons),
        }

    @classmethod
    def read(cls, path: Path) -> GoldScores:
        """Read a file that holds what `to_json` made.

        Raises:
            CheckpointError: it is damaged.
        """
        advice = "; bring it back, or move it elsewhere to go on without these scores"
        found = checked(_GoldFile, read_json(path, advice), path, advice).model_dump()
        prompts, names = len(found["prompt_ids"]), len(found["reward_names"])
        try:
            matrices = {
                name: np.array(found[name], dtype=np.float64).reshape(prompts, names)
                for name in MATRICES
            }
            missing = np.array(found["missing"], dtype=np.float64).reshape(names)
        except ValueError as error:  # of arrays that do not fit one another
            raise damaged(path, error, advice) from error
        return cls(
            judge=found["judge"],
            reward_names=tuple(found["reward_names"]),
            prompt_ids=tuple(found["prompt_ids"]),
            missing=missing,
            reasons=found["reasons"],
            **matrices,
        )


def _means(values: Any, counted: Any) -> Floats:
    """[P] mean over a prompt's cells that count, NaN where none does."""
    found = np.full(len(values), np.nan)
    number = counted.sum(axis=1)
    np.divide(values.sum(axis=1, where=counted), number, out=found, where=number > 0)
    return found


def _nullable(values: Floats) -> list[list[float | None]]:
    return [[None if math.isnan(x) else x for x in row] for row in values.tolist()]
