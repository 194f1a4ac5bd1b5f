"""The inputs of a run: model files, prompts, rewards and benchmarks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from rvpo.benchmarks.benchmark import Benchmark
from rvpo.commands.needs import asked_judges
from rvpo.commands.served import check_served
from rvpo.commands.world import check_world
from rvpo.config.judge import JudgeConfig
from rvpo.config.judges import place_of
from rvpo.config.opened import opened
from rvpo.config.run import RunConfig
from rvpo.data.encoder import encoder_of
from rvpo.data.lengths import fitting, shortened
from rvpo.data.splits import Splits, read_splits
from rvpo.data.visited import visited
from rvpo.data.visits import epoch_size
from rvpo.environments import Environment
from rvpo.evaluate.build import judged_by, read_benchmarks
from rvpo.evaluate.measure import check_lengths
from rvpo.judge.client.judges import Judges
from rvpo.model_files import resolve_model
from rvpo.report.display import Display
from rvpo.rewards.final_answer import AnswersOf, answers_function
from rvpo.rewards.judging import AskedJudge
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
    environment: Environment | None
    """World that answers the policy; None where a sample is one answer."""
    score: RewardSuite
    benchmarks: tuple[Benchmark, ...]
    answers: AnswersOf
    """Gives what the answers to a prompt say, for maj@k."""
    judges: Judges
    """Answer rewards and benchmarks once they are started and connected; those alone that are
    asked."""
    digests: Mapping[str, str]
    """SHA-256 of each, by name; see `rvpo.trainer.digest`."""

    def close(self) -> None:
        """End what rewards, the judge and the world have running. A second call does nothing."""
        self.score.close()
        self.judges.close()
        if self.environment is not None:
            asyncio.run(self.environment.close())


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
    score = RewardSuite.from_config(config.rewards, config.every_judge)
    score = replace(score, episodes_lost=config.episodes_lost)
    score.check_templates(config.every_judge, config.evaluate.others)
    answers = answers_function(config.evaluate.answer, "evaluate.answer")
    environment = opened(config)
    tools = () if environment is None else environment.tools
    prompts = read_splits(config, display.say, tools=tools)
    for where, of_place in prompts.by_place.items():
        score.check_criteria(of_place, where, display.say)
    score = score.fitted(prompts.every, in_world=environment is not None)
    score = score.remembering(config.seed, config.rollout.staleness)
    per_step = config.rollout.sampled_prompts
    score = score.in_run(config.steps, per_step, epoch_size(prompts.train), ranks.is_main)
    judges = judges_of(asked_judges(config), ranks, display.say, spent_in(config.output))
    score = score.judged_by(
        {
            name: AskedJudge(each.counted, each.config.budget, each.config.repeat)
            for name, each in judges.items()
        },
        display.phase,
        display.say_once,
    )
    model_path = resolve_model(config.model.path)
    encoder = encoder_of(config.model, config.rollout, model_path, display.say)
    encoder = replace(encoder, now=now)
    prompts = fitting(config, prompts, encoder, display.say)
    cutting, tokens = _checked(config, encoder, prompts, display.say)
    if environment is not None:
        check_world(environment, prompts, encoder, config.model.path)
    benchmarks = read_benchmarks(config.evaluate.benchmarks, display.say)
    for benchmark in benchmarks:
        check_lengths(benchmark, encoder, "evaluate.benchmarks")
    return Inputs(
        model_path=model_path,
        encoder=cutting,
        prompts=prompts,
        environment=environment,
        score=score,
        benchmarks=judged_by(benchmarks, judges),
        answers=answers,
        judges=judges,
        digests=digests(config, model_path, encoder.tokenizer, prompts.by_setting, tokens)
        | {f"commit of {setting}": each for setting, each in prompts.revisions.items()},
    )


def _checked(
    config: RunConfig, encoder: Encoder, prompts: Splits, say: Callable[[str], None]
) -> tuple[Encoder, TokenDigest]:
    """The encoder that shortens what is too long, and the digest of the prompts' tokens.

    Raises:
        DataError: the chat template refuses a prompt, or does not show a part of it, or one is too
            long.
    """
    seen = visited(config, prompts)
    tokens = TokenDigest(seen.fixed)
    if encoder.is_dated:
        say(
            f"today in the model's chat template: {encoder.now:%Y-%m-%d}, as long as this run lasts"
        )
    encoder.check_fields(seen.every, say)
    encoder.check_control_tokens(seen.every, say)
    encoder.check_values(seen.every, say)
    cutting = shortened(config, encoder, seen.every, say)
    cutting.check_lengths(seen.every, config.rollout.max_completion_tokens, seen=tokens.add)
    return cutting, tokens


def judges_of(
    configs: Mapping[str, JudgeConfig],
    ranks: Ranks,
    say: Callable[[str], None],
    books: Path | None = None,
) -> Judges:
    """Judges that can be had here.

    Args:
        books: see `Judges`.

    Raises:
        ConfigError: vLLM would have to serve one and cannot.
    """
    for name, config in configs.items():
        check_served(config, ranks, place_of(name))
    return Judges(configs, ranks, say, books)


def spent_in(output: Path) -> Path:
    """The folder of what judges have cost, in that of a run or an evaluation."""
    return output / "spent"
