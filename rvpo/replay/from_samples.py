"""The reward matrix of a step out of its samples, for runs without files of scores.

The samples have each score and the share of its criterion. Weights of rewards and what is good
enough of them are those of the settings. Nothing there tells of reliability, nor of classes and
axes of criteria by which reports divide a reward.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rvpo.config.run import RunConfig
from rvpo.lazy import torch
from rvpo.replay.columns import reward_of
from rvpo.report.run_folder import RunFolder
from rvpo.report.sample_files import sample_files, samples_of
from rvpo.report.score_files import StepScores
from rvpo.report.stored import damaged
from rvpo.schedule import progress_at, value_at
from rvpo.types import Rewards

_NOT_ASKED: Final = "not asked"
"""Verdict in place of one that was spared; see `CriterionRemark.not_asked`."""
Row = Mapping[str, Any]


def from_samples(folder: RunFolder, config: RunConfig, step: int) -> StepScores:
    """The matrix of a step.

    Raises:
        CheckpointError: a file is damaged, or the samples are not whole groups of the run.
    """
    rows, size = samples_of(folder, step), config.rollout.samples_per_prompt
    path = next(path for path, found in sample_files(folder).items() if found == step)
    groups = [rows[start : start + size] for start in range(0, len(rows), size)]
    prompts = [group[0]["prompt_id"] for group in groups]
    names = list(rows[0]["scores"]) if rows else []
    if (
        not names
        or any(len(group) != size for group in groups)
        or any(row["prompt_id"] != group[0]["prompt_id"] for group in groups for row in group)
        or any(list(row["scores"]) != names for row in rows)
        or any(reward_of(name) not in config.rewards for name in names)
    ):
        raise damaged(
            path.parent,
            f"step {step} has not whole groups of {size} samples, each with a score of the same "
            "rewards",
            "; leave the step out with --steps",
        )
    progress = progress_at(step - 1, range(config.steps))
    rewards = Rewards(
        torch.tensor([[row["scores"][name] or 0.0 for name in names] for row in rows]),
        names,
        size,
        weights=torch.tensor(_weights(groups, names, config, progress)),
        valid=torch.tensor([[row["scores"][name] is not None for name in names] for row in rows]),
        prompts=prompts,
        satisfied=[config.rewards[reward_of(name)].satisfied for name in names],
    )
    own = [reward_of(name) for name in names]
    return StepScores(
        step=step,
        progress=progress,
        rewards=rewards,
        aspects={
            name: torch.tensor([each == name for each in own]).expand(rewards.values.shape)
            for name in dict.fromkeys(own)
        },
        advantages=torch.tensor([row["advantage"] for row in rows]),
        trained=torch.tensor([bool(row.get("trained", True)) for row in rows]),
    )


def _weights(
    groups: Sequence[Sequence[Row]], names: Sequence[str], config: RunConfig, progress: float
) -> list[list[float]]:
    """[N][M], the same for all samples of a group."""
    whole = {name: value_at(reward.weight, progress) for name, reward in config.rewards.items()}
    found = []
    for group in groups:
        row = [whole[reward_of(name)] * _share(group, name) for name in names]
        found += [row] * len(group)
    return found


def _share(group: Sequence[Row], name: str) -> float:
    """Share of a criterion in its reward; 0 where it was asked of a few samples alone."""
    remarks = [row["remarks"][name] for row in group if name in row["remarks"]]
    if any(remark.get("answer") == _NOT_ASKED for remark in remarks):
        return 0.0
    shares = [remark["share"] for remark in remarks if "share" in remark]
    return float(shares[0]) if shares else 1.0
