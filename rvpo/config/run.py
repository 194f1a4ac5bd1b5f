"""The settings of a run: one frozen tree, unknown keys refused.

Every field's docstring is its help. Derived numbers are properties, never fields filled in later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    model_validator,
)

from rvpo.advantage import Estimator
from rvpo.config import document
from rvpo.config.data import DataConfig
from rvpo.config.evaluated import evaluation_problems
from rvpo.config.gold import gold_problems
from rvpo.config.held_out import EvaluateConfig
from rvpo.config.judge import JudgeConfig
from rvpo.config.judges import (
    JudgeName,
    asked,
    name_problems,
    reliability_problems,
    route_problems,
    served_problems,
)
from rvpo.config.judges import named as named_judges
from rvpo.config.levels import level_problems, twice_declared
from rvpo.config.model import ModelConfig
from rvpo.config.reporting import CheckpointConfig, ReportConfig
from rvpo.config.rewards import (
    FunctionRewardConfig,
    JudgedRewardConfig,
    RewardConfig,
    RewardName,
    RubricRewardConfig,
    served_apart,
)
from rvpo.config.rollout import RolloutConfig, engines_that, sampling_problems
from rvpo.config.secret import without_secrets
from rvpo.config.sentences import validated
from rvpo.config.spellings import estimator
from rvpo.config.update import UpdateConfig
from rvpo.environments import READ_BY_REWARD, AnyEnvironment
from rvpo.fields import (
    FilePath,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Section,
)


class DistributedConfig(Section):
    processes: PositiveInt = 1
    """Ranks to launch on this machine. Under torchrun, its ranks are taken instead."""
    patience_minutes: PositiveFloat = 20.0
    """Minutes that a rank waits for another that says nothing before the run ends; for one that is
    alive and late it waits three times as long."""


class RunConfig(Section):
    """Everything a run depends on."""

    output: Annotated[FilePath, PlainSerializer(str)]
    """The run folder, `runs/` and the name of the file if left out; it must not hold another
    run."""
    seed: NonNegativeInt = 0
    """Seed of sampling, of the order of prompts and of the optimizer."""
    steps: PositiveInt
    """Optimizer updates, one for each batch of prompts."""
    model: ModelConfig
    data: DataConfig
    environment: AnyEnvironment | None = None
    """World that answers the policy, which then has several turns, in training and on held-out
    prompts; left out, a sample is one answer."""
    rollout: RolloutConfig = RolloutConfig()
    rewards: dict[RewardName, RewardConfig]
    """Rewards, at least one, by the names that appear in every report."""
    judge: JudgeConfig | None = None
    """Judge that answers the rubrics which name no other; one is required where a reward has a
    rubric."""
    judges: dict[JudgeName, JudgeConfig] = Field(default_factory=dict)
    """Further judges by name, each with limits, prices, budget and cache of its own. Rewards,
    held-out prompts and benchmarks name the one that they ask."""
    advantage: Annotated[Estimator, Field(discriminator="name"), BeforeValidator(estimator)]
    """An estimator and its settings; its name alone if they are to be as they come."""
    update: UpdateConfig = UpdateConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    distributed: DistributedConfig = DistributedConfig()
    report: ReportConfig = ReportConfig()

    _no_secrets = model_validator(mode="before")(without_secrets)

    @property
    def every_judge(self) -> dict[str, JudgeConfig]:
        """The judges by name, the one of the section `judge` first."""
        return named_judges(self.judge, self.judges)

    @property
    def episodes_lost(self) -> float:
        """Share of the episodes of a step or an evaluation that may have no score."""
        return 1.0 if self.environment is None else self.environment.budget

    def offloads(self, *, on_gpu: bool) -> bool:
        """True where the optimizer's state makes room for the engine while that generates.

        Args:
            on_gpu: the training processes are on GPUs.
        """
        concurrent = self.rollout.staleness > 0
        turns = self.rollout.engine.takes_turns(on_gpu=on_gpu, concurrent=concurrent)
        return turns and self.update.offload_while_generating

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        problems = list(self._disagreements())
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _disagreements(self) -> Iterator[str]:
        """Rules between sections, all of them here."""
        prompts, processes = self.rollout.prompts_per_step, self.distributed.processes
        if prompts % processes:
            yield (
                f"rollout.prompts_per_step: {prompts} prompts cannot be shared equally by "
                f"distributed.processes={processes}; make it a multiple of {processes}"
            )
        if not self.rewards:
            yield "rewards: at least one is needed; add name: {function: module:function}"
        elif not any(reward.largest_weight > 0 for reward in self.rewards.values()):
            yield "rewards: every weight is 0, which trains nothing; give one a weight above 0"
        yield from self._judge_problems()
        yield from self._environment_problems()
        yield from level_problems(self.advantage, self.rewards)
        yield from twice_declared(self.rewards, self.evaluate.satisfied)
        yield from evaluation_problems(
            self.evaluate,
            self.checkpoint.best,
            rewards=self.rewards,
            held_out=self.data.held_out is not None,
            steps=self.steps,
        )
        yield from self._stream_problems()
        yield from self.update.problems(has_adapters=self.model.lora is not None)
        if self.update.mini_batches > prompts:
            yield (
                f"update.mini_batches: {prompts} prompts cannot be divided into "
                f"{self.update.mini_batches} updates; make it at most rollout.prompts_per_step"
            )
        yield from self._staleness_problems()
        yield from self._adapter_problems()
        usual = self.rollout.sampling
        drawn = {"evaluate": self.evaluate.sampling(usual) or usual}
        drawn |= self.evaluate.benchmarks.drawn("evaluate.benchmarks")
        yield from sampling_problems(self.rollout.engine, drawn)
        completion = self.rollout.max_completion_tokens
        context = self.rollout.engine.max_context_tokens
        if context is not None and completion >= context:
            yield (
                f"rollout.max_completion_tokens: {completion} leaves no room for a prompt in "
                f"rollout.engine.max_context_tokens={context}; make it smaller"
            )

    def _environment_problems(self) -> Iterator[str]:
        """An engine that cannot play episodes, and rewards that read those of another world."""
        engine = self.rollout.engine
        if self.environment is not None and not engine.goes_on:
            yield (
                f"environment: {engine.name} samples one answer to each prompt, and takes no "
                f"further turns; set {engines_that('goes_on')}, or leave the environment out"
            )
        there = None if self.environment is None else self.environment.name
        for name, reward in self.rewards.items():
            path = reward.function if isinstance(reward, FunctionRewardConfig) else ""
            read = READ_BY_REWARD.get(path, ())
            if read and there not in read:
                whose = " or ".join(f"environment.name={each}" for each in read)
                found = "there is no environment" if there is None else f"this one is {there}"
                yield (
                    f"rewards.{name}.function: {path} reads episodes of {whose}, and {found}; set "
                    "that, or take the reward out"
                )

    def _stream_problems(self) -> Iterator[str]:
        """Rewards whose columns follow from all rows."""
        if not self.data.streams:
            return
        for name, reward in self.rewards.items():
            if isinstance(reward, RubricRewardConfig) and not reward.criteria:
                yield (
                    f"rewards.{name}: the criteria of the data are counted before the start, and "
                    f"{self.data.streams[0]} is streamed; name criteria, or leave streaming out"
                )

    def _staleness_problems(self) -> Iterator[str]:
        rollout, correction = self.rollout, self.update.correction
        if rollout.staleness and not rollout.engine.concurrent:
            yield (
                f"rollout.staleness: {rollout.staleness} needs an engine in a process of its own; "
                f"set {engines_that('concurrent')}, or rollout.staleness=0"
            )
        if rollout.in_flight and not rollout.staleness:
            yield (
                "rollout.in_flight: with rollout.staleness: 0 nothing is generated while the "
                "policy learns; set rollout.staleness=1 or more, or leave it out"
            )
        if rollout.in_flight and not rollout.engine.in_flight:
            yield (
                f"rollout.in_flight: {rollout.engine.name} takes no new weights while it "
                f"generates; set {engines_that('in_flight')}, or leave it out"
            )
        if correction.corrected is None and (rollout.staleness > 1 or rollout.in_flight):
            setting = "in_flight: true" if rollout.in_flight else f"staleness: {rollout.staleness}"
            yield (
                f"update.correction: {correction.name} leaves the difference between policies of "
                f"several updates as it is, which comes with rollout.{setting}; leave it out for "
                "truncate, or choose another"
            )

    def _adapter_problems(self) -> Iterator[str]:
        """Adapters that the engine takes on no machine."""
        adapter, rollout = self.model.sent_adapter, self.rollout
        if adapter is None:
            return
        problem = rollout.engine.adapter_refusal(
            adapter, width=self.model.weight_bytes, in_flight=rollout.in_flight
        )
        if problem:
            yield problem

    def _judge_problems(self) -> Iterator[str]:
        judges = self.every_judge
        served = judges | served_apart(self.rewards)
        yield from route_problems(self.rewards)
        yield from served_problems(served, self.rollout.engine.own_gpus())
        yield from self.evaluate.benchmarks.problems(
            judges, "evaluate.benchmarks", "add judge: {serve: MODEL}"
        )
        if self.advantage.weight_by_reliability:
            given = [r for r in self.rewards.values() if isinstance(r, JudgedRewardConfig)]
            yield from reliability_problems((asked(r.judge, judges) for r in given), judges)
        if self.evaluate.judge is not None:
            yield from name_problems("evaluate", self.evaluate.judge, judges)
        if self.evaluate.gold is not None:
            judged = {
                n: r.judge for n, r in self.rewards.items() if isinstance(r, JudgedRewardConfig)
            }
            held_out = self.data.held_out is not None
            yield from gold_problems(self.evaluate.gold, judges, judged, held_out)
            if self.evaluate.gold.stop is not None:
                every = self.evaluate.gold.every or self.evaluate.every
                yield from self.evaluate.gold.stop.problems(every, self.steps)
        for name, reward in self.rewards.items():
            if isinstance(reward, JudgedRewardConfig):
                if judges:
                    yield from name_problems(f"rewards.{name}", reward.judge, judges)
                else:
                    noun = "rubric" if isinstance(reward, RubricRewardConfig) else "comparison"
                    yield (
                        f"rewards.{name}: a {noun} needs a judge; add judge: {{serve: MODEL}}, or "
                        "judge: {model: NAME, endpoints: [{url: https://...}]}"
                    )
            if isinstance(reward, RubricRewardConfig) and reward.spare is not None:
                yield from reward.spare.problems(
                    f"rewards.{name}.spare", self.rollout.samples_per_prompt
                )
            condition = reward.only_if
            if condition is None:
                continue
            where, other = f"rewards.{name}.only_if.reward", self.rewards.get(condition.reward)
            if other is None or condition.reward == name:
                others = ", ".join(n for n in self.rewards if n != name) or "none"
                yield f"{where}: '{condition.reward}' is no other reward; there are {others}"
            elif other.parts:
                yield (
                    f"{where}: '{condition.reward}' has a score for each {other.parts}; name a "
                    "reward with a single one, such as a rubric: explicit"
                )


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The run that a YAML file describes.

    Args:
        path: the file.
        overrides: `section.key=value` each, applied in order; values are YAML.

    Raises:
        ConfigError: the file or an override cannot be read, or the settings are not a valid run.
            The message lists every problem, one a line.
    """
    named_after_file = {"output": f"runs/{path.stem}"}
    data = document.override(named_after_file | document.read_document(path), overrides)
    return validated(RunConfig, data, f"{path} is not a valid run")


def dump_config(config: RunConfig, encoding: str = "utf-8") -> str:
    """YAML with every setting, defaults included, that `load_config` reads back equal.

    Args:
        encoding: characters that it does not have are escaped.
    """
    return document.dump(config.model_dump(), encoding)
