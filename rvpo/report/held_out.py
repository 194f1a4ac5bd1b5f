"""Held-out scores before and after training, and the paired test between them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field
from rich.table import Table

from rvpo.report.stored import Number, Stored, Text, checked, damaged, read_json
from rvpo.report.tables import make_table, shown, span
from rvpo.types import RolloutScores

RESAMPLES = 9_999
CONFIDENCE = 0.95
TEST = (
    "paired sign-flip permutation test of the mean difference per prompt, two-sided, "
    f"{RESAMPLES:,} resamples, exact up to 13 prompts; not corrected for the number of rewards"
)
LEVEL = f"{100 * CONFIDENCE:g} %"
INTERVAL = (
    f"{LEVEL} percentile bootstrap of the mean difference over prompts, {RESAMPLES:,} resamples"
)

Floats = npt.NDArray[np.float64]


class _File(Stored):
    reward_names: list[Text]
    prompt_ids: list[Text]
    means: list[list[Number | None]]
    failed: list[Number]
    columns: list[Text]
    values: list[list[list[Number | None]]]
    at_k: dict[Text, list[Number | None]] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldOutScores:
    """Scores of a policy on each held-out prompt."""

    reward_names: tuple[str, ...]
    """Rewards, and the parts of rubrics that are reported: the aspects of the matrix."""
    prompt_ids: tuple[str, ...]
    means: Floats  # [P, aspects] mean over a prompt's scores, NaN where no sample has one
    failed: Floats  # [aspects] share of the scores that a judge or a world failed to give
    columns: tuple[str, ...]
    """Columns of the reward matrix: a rubric has one for each place of a criterion."""
    values: Floats  # [P, samples, columns] scores as they are, NaN where there is none
    at_k: Mapping[str, Floats] = field(default_factory=dict)
    """[P] numbers of success with k answers, by metrics such as `eval/pass@4/correct`, NaN where
    too few samples are known to be good or not; see `rvpo.report.at_k`."""

    @classmethod
    def of(
        cls,
        scored: RolloutScores,
        prompt_ids: Sequence[str],
        at_k: Mapping[str, Floats] | None = None,
    ) -> HeldOutScores:
        """Average a reward matrix over the samples of each prompt.

        Args:
            scored: [N, M] rewards of the held-out samples.
            prompt_ids: [P] the prompt of each group, in the order of the rows.
            at_k: [P] numbers by metric; see the field.

        Raises:
            ValueError: the rows are not one group for each prompt.
        """
        rewards = scored.rewards
        groups = len(rewards.values) // rewards.group_size
        if groups != len(prompt_ids):
            raise ValueError(f"the rewards hold {groups} groups, for {len(prompt_ids)} prompts")
        values = rewards.values.double().numpy().reshape(groups, -1)
        means = np.full((groups, len(scored.aspects)), np.nan)
        lost = np.zeros(tuple(rewards.values.shape), dtype=bool)
        for row, column in scored.failures:
            lost[row, column] = True
        failed = [
            float(lost[mask.numpy()].mean()) if mask.any() else 0.0
            for mask in scored.aspects.values()
        ]
        for j, mask in enumerate(scored.aspects.values()):
            present = (mask & rewards.valid).numpy().reshape(groups, -1)
            count = present.sum(axis=1)
            total = values.sum(axis=1, where=present)
            np.divide(total, count, out=means[:, j], where=count > 0)
        return cls(
            reward_names=tuple(scored.aspects),
            prompt_ids=tuple(prompt_ids),
            means=means,
            failed=np.array(failed, dtype=np.float64),
            columns=rewards.names,
            values=np.where(rewards.valid.numpy(), rewards.values.double().numpy(), np.nan).reshape(
                groups, rewards.group_size, -1
            ),
            at_k=at_k or {},
        )

    def to_json(self) -> dict[str, Any]:
        """The scores with null for a missing one; `from_json` reads them back."""
        return {
            "reward_names": list(self.reward_names),
            "prompt_ids": list(self.prompt_ids),
            "means": [_nullable(row) for row in self.means.tolist()],
            "failed": self.failed.tolist(),
            "columns": list(self.columns),
            "values": [[_nullable(row) for row in group] for group in self.values.tolist()],
            "at_k": {name: _nullable(each.tolist()) for name, each in self.at_k.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> HeldOutScores:
        """Read what `to_json` made."""
        names, prompt_ids = tuple(value["reward_names"]), tuple(value["prompt_ids"])
        means = np.array(value["means"], dtype=np.float64).reshape(len(prompt_ids), len(names))
        columns = tuple(value["columns"])
        values = np.array(value["values"], dtype=np.float64)
        failed = np.array(value["failed"], dtype=np.float64).reshape(len(names))
        return cls(
            reward_names=names,
            prompt_ids=prompt_ids,
            means=means,
            failed=failed,
            columns=columns,
            values=values.reshape(len(prompt_ids), -1, len(columns)),
            at_k={
                name: np.array(each, dtype=np.float64).reshape(len(prompt_ids))
                for name, each in value.get("at_k", {}).items()
            },
        )

    @classmethod
    def read(cls, path: Path) -> HeldOutScores:
        """Read a file that holds what `to_json` made.

        Raises:
            CheckpointError: it is damaged.
        """
        advice = "; bring it back, or move it elsewhere to go on without these scores"
        try:
            return cls.from_json(checked(_File, read_json(path, advice), path, advice).model_dump())
        except ValueError as error:  # of arrays that do not fit one another
            raise damaged(path, error, advice) from error

    def metrics(self) -> dict[str, float]:
        """The mean over prompts of each reward, as `eval/rewards/{name}/mean`, and of each number
        of success with k answers."""
        every: dict[str, Floats] = {
            f"eval/rewards/{name}/mean": self.means[:, j]
            for j, name in enumerate(self.reward_names)
        }
        known = {name: each[np.isfinite(each)] for name, each in {**every, **self.at_k}.items()}
        return {name: float(each.mean()) for name, each in known.items() if len(each)}

    def lost(self) -> dict[str, str]:
        """Words for what is lost of judges and worlds, by the metric that nobody knows for it."""
        rewards = {
            f"eval/rewards/{name}/mean": "all scores of it are missing"
            for j, name in enumerate(self.reward_names)
            if self.failed[j] > 0 and not np.isfinite(self.means[:, j]).any()
        }
        return rewards | {
            name: "too many scores below it are missing"
            for name, each in self.at_k.items()
            if self.share_lost(name) > 0 and not np.isfinite(each).any()
        }

    def share_lost(self, name: str) -> float:
        """Share of the scores below a number of success with k answers that were lost; the
        largest of any reward, where it is of all of them."""
        failed = dict(zip(self.reward_names, self.failed.tolist(), strict=True))
        reward = "/".join(name.split("/")[2:])
        return failed[reward] if reward else max(failed.values(), default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardChange:
    """One reward before and after training, over the prompts scored both times."""

    reward: str
    prompts: int
    before: float | None
    """Mean over prompts; None where no prompt was scored both times, and so for the rest."""
    after: float | None
    difference: float | None
    """`after` minus `before`."""
    interval: tuple[float, float] | None
    """95 % percentile bootstrap of the difference; None for fewer than two prompts."""
    p_value: float | None
    """p-value of the paired sign-flip permutation test, two-sided."""
    failed_before: float
    """Share of the scores that are not there, which the means are without."""
    failed_after: float


def compare(before: HeldOutScores, after: HeldOutScores, seed: int = 0) -> list[RewardChange]:
    """Test, reward by reward, whether training changed the mean score on the same prompts.

    The test is the paired sign-flip permutation test: if training did nothing, each prompt's
    difference is as likely to have the other sign. It is two-sided, enumerates all sign patterns
    up to 13 prompts and draws 9,999 beyond (Phipson and Smyth's 2010 estimate, never 0). The
    interval is a percentile bootstrap over prompts. Neither is corrected for the number of
    rewards.

    Args:
        before: scores of the initial policy.
        after: scores of the trained one, on the same prompts by the same rewards.
        seed: decides the resampling.

    Raises:
        ValueError: the two do not pair up.
    """
    if before.reward_names != after.reward_names or before.prompt_ids != after.prompt_ids:
        raise ValueError("before and after must hold the same rewards of the same prompts in order")
    return [
        change_of(
            name,
            before.means[:, j],
            after.means[:, j],
            seed,
            failed=(float(before.failed[j]), float(after.failed[j])),
        )
        for j, name in enumerate(before.reward_names)
    ]


def change_of(
    reward: str, before: Floats, after: Floats, seed: int, failed: tuple[float, float]
) -> RewardChange:
    """The change of what prompts have, tested as in `compare`.

    Args:
        before: [P] a value for each prompt, NaN where there is none.
        after: [P] the same prompts' later on.
        failed: share of the scores that are not there, before and after.
    """
    paired = np.isfinite(before) & np.isfinite(after)
    before, after = before[paired], after[paired]
    if not len(before):
        return RewardChange(
            reward=reward,
            prompts=0,
            before=None,
            after=None,
            difference=None,
            interval=None,
            p_value=None,
            failed_before=failed[0],
            failed_after=failed[1],
        )
    return RewardChange(
        reward=reward,
        prompts=len(before),
        before=float(before.mean()),
        after=float(after.mean()),
        difference=float((after - before).mean()),
        interval=_interval(after - before, seed),
        p_value=_p_value(after - before, seed),
        failed_before=failed[0],
        failed_after=failed[1],
    )


def _p_value(differences: Floats, seed: int) -> float:
    """p-value of the two-sided sign-flip test of the mean of `differences` [P]."""
    if len(differences) < 2 or not differences.any():
        return 1.0  # every sign pattern is as extreme as the observed one
    from scipy import stats  # takes a second, and most commands compare nothing

    result = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        alternative="two-sided",
        n_resamples=RESAMPLES,
        batch=1_000,  # bounds memory for many prompts
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def _interval(differences: Floats, seed: int) -> tuple[float, float] | None:
    """Confidence interval, 95 %, of the mean of `differences` [P]."""
    if len(differences) < 2:
        return None  # one prompt says nothing of the spread between prompts
    from scipy import stats  # takes a second, and most commands compare nothing

    result = stats.bootstrap(
        (differences,),
        np.mean,
        confidence_level=CONFIDENCE,
        method="percentile",
        n_resamples=RESAMPLES,
        batch=1_000,
        rng=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def render_table(
    comparisons: Sequence[RewardChange], title: str = "Held-out prompts", note: str = ""
) -> Table:
    """The closing table of a run; its caption names the test and the interval.

    Args:
        note: sentences that begin the caption.
    """
    caption = f"{note}p: {TEST}. Interval: {INTERVAL}."
    headings = ["before", "after", "change", f"{LEVEL} interval", "p", "prompts"]
    some_failed = any(row.failed_before or row.failed_after for row in comparisons)
    if some_failed:
        headings.append("missing")
        caption += " Missing: share of scores that are not there, before and after."
    table = make_table(["reward"], headings, title=title, caption=caption)
    for row in comparisons:
        table.add_row(
            row.reward,
            shown(row.before, ".3f"),
            shown(row.after, ".3f"),
            shown(row.difference, "+.3f"),
            span(row.interval, "+.3f"),
            shown(row.p_value, ".2g"),
            str(row.prompts),
            *([f"{row.failed_before:.1%} {row.failed_after:.1%}"] if some_failed else []),
        )
    return table


def _nullable(row: Sequence[float]) -> list[float | None]:
    return [None if math.isnan(x) else x for x in row]


def comparisons_json(comparisons: Sequence[RewardChange]) -> dict[str, Any]:
    """Content of `held_out.json`: each comparison by reward, and the names of test and interval."""
    rewards = {
        row.reward: {k: v for k, v in asdict(row).items() if k != "reward"} for row in comparisons
    }
    return {"test": TEST, "interval": INTERVAL, "rewards": rewards}
