"""The settings of a run: one frozen tree, unknown keys refused.

Every field's docstring is its help. Derived numbers are properties, never fields filled in later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    field_validator,
    model_validator,
)

from rvpo.advantage import Estimator
from rvpo.config import document
from rvpo.config.benchmarks import BenchmarksConfig
from rvpo.config.data import DataConfig
from rvpo.config.gold import GoldConfig, best_problems, gold_problems
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
from rvpo.config.model import ModelConfig
from rvpo.config.rewards import (
    JudgedRewardConfig,
    RewardConfig,
    RewardName,
    RubricRewardConfig,
    served_apart,
)
from rvpo.config.sample_files import SampleFilesConfig
from rvpo.config.secret import without_secrets
from rvpo.config.sentences import validated
from rvpo.config.spellings import estimator, named
from rvpo.config.update import UpdateConfig
from rvpo.fields import (
    FilePath,
    GroupSize,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Section,
    Temperature,
    by_name,
)
from rvpo.report.trackers import AnyTracker, Wandb
from rvpo.rollout import AnyEngine, VllmConfig


class RolloutConfig(Section):
    engine: Annotated[
        AnyEngine,
        Field(discriminator="name"),
        BeforeValidator(partial(named, name="vllm")),
    ] = VllmConfig()
    """Engine that samples, vLLM unless another name is given: its name alone, or with its
    settings."""
    prompts_per_step: PositiveInt = 32
    """Prompts of a step, P, over all ranks."""
    samples_per_prompt: GroupSize = 8
    """Completions of each prompt: the group size, G."""
    max_completion_tokens: PositiveInt = 512
    """Tokens after which a completion is cut off."""
    max_thought_tokens: NonNegativeInt | None = None
    """Tokens after which the engine ends a thought, so that an answer follows: in training, on
    held-out prompts and benchmarks; no limit if left out. What it writes is not trained on."""
    temperature: Temperature = 1.0
    """Temperature of sampling, and of the log-probabilities that the update compares."""
    staleness: NonNegativeInt = 0
    """Updates by which the policy that samples may be older than the one that learns. With 1 the
    next rollout is generated and judged while this one is trained on, with n the next n are."""
    in_flight: bool = False
    """New weights come while samples are generated, which go on under them, instead of between two
    rollouts. Each token keeps the version of the weights that sampled it."""

    @model_validator(mode="after")
    def _ends_thoughts(self) -> Self:
        most = self.max_thought_tokens
        if most is not None and not self.engine.ends_thoughts:
            raise ValueError(
                f"max_thought_tokens: {self.engine.name} has no budget for thoughts; set "
                f"{_engines('ends_thoughts')}, or leave it out"
            )
        if most is not None and most >= self.max_completion_tokens:
            raise ValueError(
                f"max_thought_tokens: {most} leaves no room for an answer in "
                f"max_completion_tokens={self.max_completion_tokens}; make it smaller"
            )
        return self


class EvaluateConfig(Section):
    prompts: PositiveInt | None = None
    """Held-out prompts to score; all of them if left out."""
    samples_per_prompt: PositiveInt = 4
    """Completions of each held-out prompt, whose scores are averaged."""
    every: NonNegativeInt = 0
    """Steps between evaluations during training; 0 evaluates before and after it only."""
    judge: str | None = None
    """Name of the judge of held-out prompts, in place of those that rewards name. Benchmarks name
    their own."""
    gold: GoldConfig | None = None
    """A better judge to watch the one that trains, on the same held-out answers."""
    benchmarks: BenchmarksConfig = BenchmarksConfig()
    """Benchmarks to evaluate on at the same steps, with the same engine."""

    @property
    def others(self) -> tuple[str, ...]:
        """Names of judges that are asked what rewards ask, in place of those that these name."""
        gold = None if self.gold is None else self.gold.judge
        return tuple(name for name in (self.judge, gold) if name is not None)


class CheckpointConfig(Section):
    every: PositiveInt = 50
    """Steps between checkpoints; one is always written at the end."""
    keep: PositiveInt = 2
    """Newest checkpoints to keep."""
    models_every: NonNegativeInt = 0
    """Steps between models saved for transformers and vLLM, all of which stay; 0 saves the last."""
    best: str | None = None
    """A metric of evaluation such as eval/rewards/correct/mean or eval/bfcl/accuracy: the model
    that had most of it is kept beside the last one."""


class DistributedConfig(Section):
    processes: PositiveInt = 1
    """Ranks to launch on this machine. Under torchrun, its ranks are taken instead."""
    patience_minutes: PositiveFloat = 20.0
    """Minutes that a rank waits for another that says nothing before the run ends; for one that is
    alive and late it waits three times as long."""


class ReportConfig(Section):
    trackers: tuple[
        Annotated[AnyTracker, Field(discriminator="name"), BeforeValidator(by_name)], ...
    ] = (Wandb(),)
    """Trackers that get the curves, beside the run folder: one or a list of them, [] for none. Each
    by its name alone, or with its settings."""
    project: str = "rvpo"
    """The project that trackers file the run under."""
    group: str | None = None
    """The comparison that a run belongs to; W&B's and Trackio's group."""
    arm: str | None = None
    """Name that distinguishes a run from others of its group; W&B's job type."""
    samples: SampleFilesConfig = SampleFilesConfig()
    """The files of all samples."""

    @field_validator("trackers", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return [value] if isinstance(value, str | Mapping) else value

    @field_validator("trackers")
    @classmethod
    def _differ(cls, trackers: tuple[AnyTracker, ...]) -> tuple[AnyTracker, ...]:
        names = [tracker.name for tracker in trackers]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"names {twice} twice; name each tracker once")
        return trackers

    @model_validator(mode="before")
    @classmethod
    def _wandb_alone(cls, data: Any) -> Any:
        """`wandb: true` and `wandb: false`, a shorter way to say with or without it."""
        if not isinstance(data, dict) or not isinstance(data.get("wandb"), bool):
            return data
        data = dict(data)
        wanted = data.pop("wandb")
        if "trackers" not in data:
            return {"trackers": ["wandb"] if wanted else [], **data}
        listed = data["trackers"]
        names = [_name_of(each) for each in (listed if isinstance(listed, list) else [listed])]
        if wanted != ("wandb" in names):
            raise ValueError(
                f"wandb: {str(wanted).lower()} is given, and trackers "
                f"{'without' if wanted else 'with'} it; leave wandb out, and list in trackers "
                "what is wanted, [] for none"
            )
        return data


def _name_of(tracker: Any) -> Any:
    return tracker.get("name") if isinstance(tracker, Mapping) else tracker


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
        yield from self.update.problems(has_adapters=self.model.lora is not None)
        if self.update.mini_batches > prompts:
            yield (
                f"update.mini_batches: {prompts} prompts cannot be divided into "
                f"{self.update.mini_batches} updates; make it at most rollout.prompts_per_step"
            )
        yield from self._staleness_problems()
        yield from self._adapter_problems()
        completion = self.rollout.max_completion_tokens
        context = self.rollout.engine.max_context_tokens
        if context is not None and completion >= context:
            yield (
                f"rollout.max_completion_tokens: {completion} leaves no room for a prompt in "
                f"rollout.engine.max_context_tokens={context}; make it smaller"
            )

    def _staleness_problems(self) -> Iterator[str]:
        rollout, correction = self.rollout, self.update.correction
        if rollout.staleness and not rollout.engine.concurrent:
            yield (
                f"rollout.staleness: {rollout.staleness} needs an engine in a process of its own; "
                f"set {_engines('concurrent')}, or rollout.staleness=0"
            )
        if rollout.in_flight and not rollout.staleness:
            yield (
                "rollout.in_flight: with rollout.staleness: 0 nothing is generated while the "
                "policy learns; set rollout.staleness=1 or more, or leave it out"
            )
        if rollout.in_flight and not rollout.engine.in_flight:
            yield (
                f"rollout.in_flight: {rollout.engine.name} takes no new weights while it "
                f"generates; set {_engines('in_flight')}, or leave it out"
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
        yield from best_problems(self.checkpoint.best, self.evaluate.gold)
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


def _engines(able: Literal["concurrent", "ends_thoughts", "in_flight"]) -> str:
    """The setting that chooses an engine which can do something."""
    names = [
        kind.model_fields["name"].default for kind in get_args(AnyEngine) if getattr(kind, able)
    ]
    return f"rollout.engine.name={' or '.join(names)}"


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
