"""Prompts and rewards, read as a run reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rvpo.config.data import Source
from rvpo.config.run import RunConfig
from rvpo.data.packed import Prompts
from rvpo.data.sources import load_prompts
from rvpo.data.splits import Splits, read_splits
from rvpo.data.streamed import Streamed
from rvpo.errors import DataError, RvpoError
from rvpo.plan.conversations import tools_of
from rvpo.plan.machine import Finding
from rvpo.rewards.comparison import ComparisonReward
from rvpo.rewards.rubric import RubricReward
from rvpo.rewards.suite import RewardSuite
from rvpo.rubrics import RubricSource
from rvpo.rubrics.report import rubric_statistics
from rvpo.types import Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Data that could be read, and the findings about them."""

    prompts: Splits
    rubrics: tuple[RubricReward, ...]
    """Rewards that ask a judge about each sample."""
    comparisons: tuple[ComparisonReward, ...]
    """Rewards that ask a judge about pairs of samples."""
    findings: tuple[Finding, ...]

    @property
    def train(self) -> Sequence[Prompt]:
        """Prompts to train on."""
        return self.prompts.train

    @property
    def held_out(self) -> Sequence[Prompt]:
        """Prompts that are scored."""
        return self.prompts.held_out


def read_data(config: RunConfig) -> Data:
    """Read prompts and rewards; what fails becomes a finding."""
    findings: list[Finding] = []
    tools = tools_of(config, findings)

    def load(source: Source, where: str) -> Sequence[Prompt]:
        return _prompts(config, source, where, tools, findings)

    def say(text: str) -> None:
        part, _, said = text.partition(": ")  # such as "data.train ('rows.jsonl')"
        findings.append(Finding(part.partition(" ")[0], "ok", said))

    def told(text: str) -> None:
        findings.append(Finding("rewards", "ok", text))

    try:
        splits = read_splits(config, say, load)
    except DataError as error:
        findings.append(Finding("data.train", "missing", str(error)))
        splits = Splits(train=(), held_out=())
    rubrics: list[RubricReward] = []
    comparisons: list[ComparisonReward] = []
    try:
        suite = RewardSuite.from_config(config.rewards, config.every_judge)
        rubrics = [reward for reward in suite.rewards if isinstance(reward, RubricReward)]
        comparisons = [r for r in suite.rewards if isinstance(r, ComparisonReward)]
        suite.check_templates(config.every_judge, config.evaluate.others)
        for where, prompts in splits.by_place.items():
            suite.check_criteria(prompts, where, told)
        if splits.train:
            suite.fitted(splits.every, in_world=config.environment is not None)
        findings.append(Finding("rewards", "ok", ", ".join(config.rewards)))
        findings += [
            _criteria(reward, config.data.train_sources.values(), splits.train)
            for reward in rubrics
            if splits.train
        ]
    except RvpoError as error:
        findings.append(Finding("rewards", "missing", str(error)))
        rubrics, comparisons = [], []
    return Data(
        prompts=splits,
        rubrics=tuple(rubrics),
        comparisons=tuple(comparisons),
        findings=tuple(findings),
    )


def _prompts(
    config: RunConfig,
    source: Source,
    where: str,
    tools: Sequence[Mapping[str, Any]],
    findings: list[Finding],
) -> Sequence[Prompt]:
    said: list[str] = []
    data = config.data
    try:
        prompts = load_prompts(
            source, data.system_prompt, where, said.append, data.prefill, config.seed, tools
        )
    except RvpoError as error:
        findings.append(Finding(where, "missing", str(error)))
        return ()
    found = f"{len(prompts):,} prompts"
    if prompts.revision is not None:
        found += f" of commit {prompts.revision[:12]}"
    if where in data.train_sources:
        found += _seen(config, source, prompts)
    elif config.evaluate.prompts is not None:
        found += f", of which {min(config.evaluate.prompts, len(prompts)):,} are scored"
    findings.append(Finding(where, "ok", found))
    findings += [Finding(where, "ok", text.removeprefix(f"{where}: ")) for text in said]
    return prompts


def _seen(config: RunConfig, source: Source, prompts: Prompts | Streamed) -> str:
    """Words for how often the steps see the prompts of a source."""
    several = len(config.data.train_sources) > 1
    if several and source.share is None:
        return ""
    visits = round(config.steps * config.rollout.sampled_prompts * (source.share or 1))
    if isinstance(prompts, Streamed):
        return f" read so far; {config.steps:,} steps see {visits:,} of the stream"
    times = f"each {visits / len(prompts):.1f} times on average"
    seen = times if visits > len(prompts) else f"{visits:,} of them"
    return f"; {config.steps:,} steps see {seen}"


def _criteria(
    reward: RubricReward, sources: Iterable[Source], prompts: Sequence[Prompt]
) -> Finding:
    part = f"rewards.{reward.name}"
    if reward.fixed:
        count = len(reward.fixed)
        return Finding(part, "ok", f"{count} criteria, the same for every prompt")
    if all(isinstance(source, RubricSource) for source in sources):
        return Finding(part, "ok", "the criteria of the data")
    rows = [{"rubric": [c.to_row() for c in reward.criteria(prompt)]} for prompt in prompts]
    return Finding(part, "ok", str(rubric_statistics(rows)))
