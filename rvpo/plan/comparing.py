"""The part of comparisons in the load of a judge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from rvpo.config.judges import place_of
from rvpo.config.run import RunConfig
from rvpo.judge.prompt import messages
from rvpo.judge.types import Job
from rvpo.plan.judging import CHARACTERS, READ_PROMPTS, Load, evaluations, reply_tokens
from rvpo.plan.machine import Finding
from rvpo.rewards.comparison import ComparisonReward
from rvpo.types import Prompt

_ORDERS = 2  # in which a held-out sample meets the answer of the policy before training


def with_comparisons(
    config: RunConfig,
    load: Load,
    rewards: Sequence[ComparisonReward],
    prompts: Sequence[Prompt],
    name: str,
) -> Load:
    """The load of a judge with the pairs that rewards compare, two responses a call.

    Args:
        load: the load by its other questions.
        rewards: comparisons; those count that ask this judge.
        name: the judge's.
    """
    examiner, (times, _) = config.evaluate.judge, evaluations(config)
    trained = [reward for reward in rewards if reward.judge == name]
    examined = [reward for reward in rewards if (examiner or reward.judge) == name]
    pairs = sum(reward.meetings(config.rollout.samples_per_prompt) for reward in trained)
    # The first evaluation compares each answer with itself.
    held_out = _ORDERS * len(examined) * (times - 1) / times
    if not pairs and not held_out:
        return load
    tokens = _tokens(config, [*trained, *examined], prompts, name)
    alone = load.calls if load.held_out is None else load.held_out
    others, own = load.calls + alone, pairs + held_out

    def mean(other: float, one: float) -> float:
        return (others * other + own * one) / (others + own)

    return replace(
        load,
        calls=load.calls + pairs,
        held_out=alone + held_out,
        verdicts=mean(load.verdicts, 1.0),
        input_tokens=mean(load.input_tokens, tokens),
        output_tokens=mean(load.output_tokens, reply_tokens(config.every_judge[name])),
    )


def compared_by(
    config: RunConfig, name: str, rewards: Sequence[ComparisonReward]
) -> list[ComparisonReward]:
    """The comparisons that ask a judge, in training or about held-out prompts."""
    return [r for r in rewards if name in (r.judge, config.evaluate.judge)]


def room_findings(
    config: RunConfig, rewards: Sequence[ComparisonReward], prompts: Sequence[Prompt], name: str
) -> list[Finding]:
    """Findings on two responses that are too long for a served judge; nothing where all is well."""
    judge, rewards = config.every_judge[name], compared_by(config, name, rewards)
    if judge.serve is None or not rewards or not prompts:
        return []
    response, room = config.rollout.max_completion_tokens, judge.serve.max_context_tokens
    longest = max(_lengths(config, rewards, prompts, name)) / CHARACTERS
    needed = math.ceil(longest) + 2 * response + judge.max_tokens
    if needed <= room:
        return []
    return [
        Finding(
            f"{place_of(name)} context",
            "note",
            f"the longest comparison takes about {needed:,} tokens, with two responses of "
            f"{response:,} and a reply of {judge.max_tokens:,}; the served judge has room for "
            f"{room:,}, and what does not fit fails",
            f"{place_of(name)}.serve.max_context_tokens={needed}, as far as the model allows, or a "
            "smaller rollout.max_completion_tokens",
        )
    ]


def _tokens(
    config: RunConfig, rewards: Sequence[ComparisonReward], prompts: Sequence[Prompt], name: str
) -> float:
    """Tokens that a call sends, with responses half as long as they may be."""
    some = prompts[:: max(1, len(prompts) // READ_PROMPTS)]
    lengths = _lengths(config, rewards, some, name)
    return sum(lengths) / len(lengths) / CHARACTERS + config.rollout.max_completion_tokens


def _lengths(
    config: RunConfig, rewards: Sequence[ComparisonReward], prompts: Sequence[Prompt], name: str
) -> list[int]:
    """Characters of a call about each prompt, by each reward, without the responses."""
    reasons = config.every_judge[name].reasons
    return [
        sum(len(message["content"]) for message in messages(job, reward.about(""), reasons))
        for prompt in prompts
        for job in (Job(conversation=prompt.turns, response="", questions=()),)
        for reward in rewards
    ]
