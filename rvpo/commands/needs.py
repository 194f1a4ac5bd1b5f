"""Extras that a run or an evaluation takes, by its settings."""

from __future__ import annotations

from collections.abc import Iterator

from rvpo.config.data import DatasetSource, Source
from rvpo.config.evaluation import EvaluationConfig
from rvpo.config.judge import JudgeConfig
from rvpo.config.rewards import RubricRewardConfig
from rvpo.config.run import RolloutConfig, RunConfig
from rvpo.files.stored import needs_extra
from rvpo.rubrics import RubricSource
from rvpo.runtime.extras import MODULES, Need


def of_training(config: RunConfig) -> Iterator[Need]:
    """A plan's, and what only a run takes: its engine, the judge that it serves, its trackers."""
    yield from of_plan(config)
    yield from _of_engine(config.rollout)
    if asks_judge(config):
        yield from of_judge(config.judge)
    for tracker in config.report.trackers:
        if tracker.name in MODULES:
            yield Need(tracker.name, f"take {tracker.name} out of report.trackers")


def of_plan(config: RunConfig) -> Iterator[Need]:
    """Needs of reading the model and the data, and of asking the judge a question."""
    yield Need("train")
    if config.model.lora is not None:
        yield Need("lora", "leave model.lora out")
    if config.model.base_bits is not None:
        yield Need("bits", "leave model.base_bits out")
    if config.update.optimizer == "adamw_8bit":
        yield Need("bits", "write update.optimizer=adamw")
    if any(map(needs_extra, _stored(config.data.train, config.data.held_out))):
        yield Need("data")
    if asks_judge(config):
        yield Need("judge")


def of_evaluation(config: EvaluationConfig) -> Iterator[Need]:
    """Needs of a training, without its trackers."""
    yield Need("train")
    yield from _of_engine(config.rollout)
    if config.benchmarks.needs_judge:
        yield from of_judge(config.judge)


def of_judge(config: JudgeConfig | None) -> Iterator[Need]:
    """Needs of the client, and of vLLM where the run serves the judge itself."""
    yield Need("judge")
    if config is not None and config.serve is not None:
        yield Need("cpu", "name judge.endpoints in place of judge.serve")


def asks_judge(config: RunConfig) -> bool:
    """True where a reward or a benchmark of the run has questions for the judge."""
    rubrics = any(isinstance(reward, RubricRewardConfig) for reward in config.rewards.values())
    return rubrics or config.evaluate.benchmarks.needs_judge


def _stored(*sources: Source | None) -> Iterator[str]:
    """The files and Hub datasets that hold rows."""
    for source in sources:
        match source:
            case DatasetSource():
                yield source.path
            case RubricSource():
                yield source.rubrics


def _of_engine(config: RolloutConfig) -> Iterator[Need]:
    for requirement in config.engine.requires():
        if requirement.extra_cpu is not None:
            yield Need(requirement.extra_cpu, "set rollout.engine.name=transformers")
