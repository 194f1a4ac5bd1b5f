"""Extras that a run or an evaluation takes, by its settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rvpo.config.benchmarks import BenchmarksConfig
from rvpo.config.data import DataConfig, DatasetSource
from rvpo.config.evaluation import EvaluationConfig
from rvpo.config.filing import told_apart
from rvpo.config.judge import JudgeConfig
from rvpo.config.judges import OWN, asked, place_of
from rvpo.config.rewards import JudgedRewardConfig, RubricRewardConfig, classifiers
from rvpo.config.rollout import RolloutConfig
from rvpo.config.run import RunConfig
from rvpo.files.stored import needs_extra
from rvpo.rubrics import RubricSource
from rvpo.runtime.extras import MODULES, Need


def of_training(config: RunConfig) -> Iterator[Need]:
    """A plan's, and what only a run takes: its engine, the judge that it serves, its trackers."""
    yield from of_plan(config)
    yield from _of_engine(config.rollout)
    for name, judge in asked_judges(config).items():
        yield from of_judge(judge, name)
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
    yield from of_data(config)
    if asked_judges(config):
        yield Need("judge")


def of_data(config: RunConfig) -> Iterator[Need]:
    """Needs of reading the data alone."""
    if any(map(needs_extra, _stored(config.data))):
        yield Need("data")


def of_evaluation(config: EvaluationConfig) -> Iterator[Need]:
    """Needs of a training, without its trackers."""
    yield Need("train")
    yield from _of_engine(config.rollout)
    for name, judge in judges_of_benchmarks(config.benchmarks, config.every_judge).items():
        yield from of_judge(judge, name)


def of_judge(config: JudgeConfig, name: str = OWN) -> Iterator[Need]:
    """Needs of the client, and of vLLM where the run serves the judge itself."""
    yield Need("judge")
    if config.needs_vllm:
        where = place_of(name)
        yield Need("cpu", f"name {where}.endpoints in place of {where}.serve")


def of_trial(config: RunConfig, instead: str | None, too: str | None) -> Iterator[Need]:
    """Needs of asking the judges of a run's rubrics.

    Args:
        instead: name of the judge that is asked in place of theirs.
        too: name of one that is asked beside them.
    """
    judges = config.every_judge
    rubrics = [each for each in config.rewards.values() if isinstance(each, RubricRewardConfig)]
    names = {instead or asked(reward.judge, judges) for reward in rubrics} | {too}
    for name, judge in judges.items():
        if name in names:
            yield from of_judge(judge, name)


def asked_judges(config: RunConfig) -> dict[str, JudgeConfig]:
    """The judges for which a reward or a benchmark of the run has questions, and the classifiers of
    its rewards, by name."""
    judges = told_apart(config.every_judge)
    judged = [each for each in config.rewards.values() if isinstance(each, JudgedRewardConfig)]
    names = {asked(reward.judge, judges) for reward in judged}
    if judged and config.evaluate.judge is not None:
        names.add(config.evaluate.judge)
    if config.evaluate.gold is not None:
        names.add(config.evaluate.gold.judge)
    names |= judges_of_benchmarks(config.evaluate.benchmarks, judges).keys()
    found = {name: judge for name, judge in judges.items() if name in names}
    return found | told_apart(classifiers(config.rewards))


def judges_of_benchmarks(
    benchmarks: BenchmarksConfig, judges: Mapping[str, JudgeConfig]
) -> dict[str, JudgeConfig]:
    """The judges that grade benchmarks, by name."""
    chosen = benchmarks.chosen().values()
    names = {asked(each.asked_judge, judges) for each in chosen if each.needs_judge}
    return {name: judge for name, judge in told_apart(judges).items() if name in names}


def _stored(data: DataConfig) -> Iterator[str]:
    """The files and Hub datasets that hold rows."""
    for source in (data.train_sources | data.held_out_sources).values():
        match source:
            case DatasetSource():
                yield source.path
            case RubricSource():
                yield source.rubrics


def _of_engine(config: RolloutConfig) -> Iterator[Need]:
    for requirement in config.engine.requires():
        if requirement.extra_cpu is not None:
            yield Need(requirement.extra_cpu, "set rollout.engine.name=transformers")
