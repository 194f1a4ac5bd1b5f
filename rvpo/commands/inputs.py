"""The inputs of a run: model files, prompts and rewards, and the engine made from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.util import find_spec

from rvpo.config.run import (
    DataConfig,
    RubricSource,
    RunConfig,
)
from rvpo.data.prompts import PromptStream, load_prompts, named
from rvpo.data.rubrics.rows import without_held_out
from rvpo.errors import ConfigError, DataError
from rvpo.model_files import resolve_model
from rvpo.rewards.suite import RewardSuite
from rvpo.rollout.build import check_engine
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.engine import RolloutEngine
from rvpo.rollout.stream import Ahead, InTurn, RolloutStream, Sampler
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.digest import TokenDigest, digests
from rvpo.types import Prompt


@dataclass(frozen=True)
class Inputs:
    """All that a run reads, checked before anything is written or any model loaded."""

    model_path: str
    encoder: Encoder
    train: tuple[Prompt, ...]
    held_out: tuple[Prompt, ...]
    score: RewardSuite
    digests: Mapping[str, str]
    """Digests of all of it; see `rvpo.trainer.digest`."""


def read_inputs(config: RunConfig, now: datetime, say: Callable[[str], None]) -> Inputs:
    """Read and check model files, prompts and rewards.

    Args:
        now: the time for chat templates.
        say: told what was left out of the data.

    Raises:
        ConfigError, DataError: whichever is wrong first.
    """
    if find_spec("deepspeed") is None:
        raise ConfigError(
            "the policy update needs DeepSpeed; install it with pip install deepspeed"
        )
    check_engine(config.rollout)
    score = RewardSuite.from_config(config.rewards)
    data = config.data
    prompts = load_prompts(data.train, data.system_prompt, "data.train", say)
    held_out: tuple[Prompt, ...] = ()
    if data.held_out is not None:
        held_out = load_prompts(data.held_out, data.system_prompt, "data.held_out", say)
        prompts = _not_held_out(prompts, held_out, say) if _has_rubrics(data) else prompts
        held_out = held_out[: config.evaluate.prompts]
    score.check_criteria(prompts, f"data.train{named(data.train)}")
    if data.held_out is not None:
        score.check_criteria(held_out, f"data.held_out{named(data.held_out)}")
    score = score.fitted((*prompts, *held_out))
    model_path = resolve_model(config.model.path)
    encoder = Encoder.from_model(
        model_path,
        trust_remote_code=config.model.trust_remote_code,
        max_context_tokens=config.rollout.engine.max_context_tokens,
        say=say,
    )
    encoder, tokens = replace(encoder, now=now), TokenDigest()
    encoder.check_fields((*prompts, *held_out), say)
    encoder.check_lengths(
        (*prompts, *held_out), config.rollout.max_completion_tokens, seen=tokens.add
    )
    named_prompts = {"data.train": prompts, "data.held_out": held_out}
    found = digests(config, model_path, encoder.tokenizer, named_prompts, tokens)
    return Inputs(model_path, encoder, prompts, held_out, score, found)


def _has_rubrics(data: DataConfig) -> bool:
    return isinstance(data.train, RubricSource)


def _not_held_out(
    train: tuple[Prompt, ...], held_out: tuple[Prompt, ...], say: Callable[[str], None]
) -> tuple[Prompt, ...]:
    """The prompts without the questions that rubric data sets have in several splits.

    Raises:
        DataError: no question is left.
    """
    kept, removed = without_held_out(train, held_out)
    if removed:
        say(f"data.train: left out {removed:,} prompts that are held out as well")
    if not kept:
        raise DataError("data.train: every prompt is held out as well; give different splits")
    return kept


def build_stream(
    config: RunConfig, inputs: Inputs, engine: RolloutEngine, ranks: Ranks, steps: range
) -> RolloutStream:
    """The rollouts of the steps, in turn with training or ahead of it."""
    sampler = Sampler(
        prompts=PromptStream(inputs.train, config.rollout.prompts_per_step, config.seed),
        engine=engine,
        score=inputs.score,
        ranks=ranks,
        group_size=config.rollout.samples_per_prompt,
        seed=config.seed,
        steps=steps,
    )
    return Ahead(sampler) if config.rollout.staleness else InTurn(sampler)
