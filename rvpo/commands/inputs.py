"""The inputs of a run: model files, prompts, rewards and benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from rvpo.benchmarks.benchmark import Benchmark
from rvpo.commands.served import check_served
from rvpo.config.run import RunConfig
from rvpo.data.encoder import encoder_of
from rvpo.data.splits import Splits, read_splits
from rvpo.data.visited import visited
from rvpo.evaluate.build import judged_by, read_benchmarks
from rvpo.evaluate.measure import check_lengths
from rvpo.judge.client.service import JudgeService
from rvpo.model_files import resolve_model
from rvpo.report.display import Display
from rvpo.rewards.suite import RewardSuite
from rvpo.rollout.encoder import Encoder
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.digest import TokenDigest, digests


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Everything that a run reads, checked before anything is written or any model loaded."""

    model_path: str
    encoder: Encoder
    prompts: Splits
    score: RewardSuite
    benchmarks: tuple[Benchmark, ...]
    judge: JudgeService | None
    """Answers rewards and benchmarks once it is started and connected; None where none asks."""
    digests: Mapping[str, str]
    """SHA-256 of each, by name; see `rvpo.trainer.digest`."""

    def close(self) -> None:
        """End what rewards and the judge have running. A second call does nothing."""
        self.score.close()
        if self.judge is not None:
            self.judge.close()


def read_inputs(
    config: RunConfig,
    now: datetime,
    display: Display,
    ranks: Ranks,
) -> Inputs:
    """Read and check model files, prompts, rewards and benchmarks.

    Args:
        now: the time for chat templates.
        display: told what is left out of the data and, later, of a judge that is waited for.
        ranks: those of the run, of which the first has the judge's workers.

    Raises:
        ConfigError, DataError: whichever is wrong first.
    """
    score = RewardSuite.from_config(config.rewards)
    prompts = read_splits(config, display.say)
    for where, of_place in prompts.by_place.items():
        score.check_criteria(of_place, where)
    score = score.fitted(prompts.every)
    judge = _judge(config, score, ranks, display)
    if judge is not None:
        score = score.judged_by(judge.counted, judge.config.budget, display.phase, display.say_once)
    model_path = resolve_model(config.model.path)
    encoder = encoder_of(config.model, config.rollout, model_path, display.say)
    seen = visited(config, prompts)
    encoder, tokens = replace(encoder, now=now), TokenDigest(seen.fixed)
    if encoder.is_dated:
        display.say(
            f"today in the model's chat template: {now:%Y-%m-%d}, as long as this run lasts"
        )
    encoder.check_fields(seen.every, display.say)
    encoder.check_lengths(seen.every, config.rollout.max_completion_tokens, seen=tokens.add)
    benchmarks = read_benchmarks(config.evaluate.benchmarks, display.say)
    for benchmark in benchmarks:
        check_lengths(benchmark, encoder, "evaluate.benchmarks")
    named = {"data.train": prompts.train, "data.held_out": prompts.held_out}
    return Inputs(
        model_path=model_path,
        encoder=encoder,
        prompts=prompts,
        score=score,
        benchmarks=benchmarks if judge is None else judged_by(benchmarks, judge.config, judge),
        judge=judge,
        digests=digests(config, model_path, encoder.tokenizer, named, tokens),
    )


def _judge(
    config: RunConfig, score: RewardSuite, ranks: Ranks, display: Display
) -> JudgeService | None:
    asked = score.is_judged or config.evaluate.benchmarks.needs_judge
    if config.judge is None or not asked:
        return None
    check_served(config.judge, ranks)
    return JudgeService(config.judge, ranks, display.say)
