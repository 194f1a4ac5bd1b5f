"""The length of what the judge has to read, and whether it is sensible."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rvpo.config.judge import JudgeConfig
from rvpo.config.judges import place_of
from rvpo.config.run import RunConfig
from rvpo.judge.sheet import calls, company
from rvpo.judge.template import JudgeTemplate
from rvpo.plan.judging import CHARACTERS, asked_of, chats
from rvpo.plan.machine import Finding
from rvpo.rewards.judged import every_question
from rvpo.rewards.rubric import RubricReward
from rvpo.types import Prompt

_LONG_CRITERION = 4000
"""Characters that no single sentence has: more likely a whole text in the wrong place."""
_ROUND = 512


def length_findings(
    config: RunConfig, rewards: Sequence[RubricReward], prompts: Sequence[Prompt]
) -> list[Finding]:
    """Findings on what is too long for a served judge, or for a criterion. Nothing where all is
    well."""
    return [*_context(config, rewards, prompts), *_criteria(rewards, prompts)]


def _context(
    config: RunConfig, rewards: Sequence[RubricReward], prompts: Sequence[Prompt]
) -> Iterator[Finding]:
    for name, judge in config.every_judge.items():
        asked = asked_of(config, name, rewards)
        if judge.serve is None or not asked:
            continue
        where, (longest, together) = place_of(name), _longest(judge, name, asked, prompts)
        response, reply = config.rollout.max_completion_tokens, judge.reply_tokens(together)
        needed = math.ceil(longest / CHARACTERS) + response + reply
        room = judge.serve.max_context_tokens
        if needed <= room:
            continue
        yield Finding(
            f"{where} context",
            "note",
            f"the longest question to the judge takes about {needed:,} tokens, with a response of "
            f"{response:,} and a reply of {reply:,}; the served judge has room for "
            f"{room:,}, and what does not fit fails",
            f"{where}.serve.max_context_tokens={_ROUND * math.ceil(needed / _ROUND)}, as far as "
            f"the model allows, or a smaller {where}.max_tokens or rollout.max_completion_tokens",
        )


def _longest(
    judge: JudgeConfig, name: str, rewards: Sequence[RubricReward], prompts: Sequence[Prompt]
) -> tuple[int, int]:
    """Characters of the longest call, with an empty response, and the questions in it."""
    longest, template = (0, 1), JudgeTemplate.of(judge, place_of(name))
    for prompt in prompts:
        questions = every_question(rewards, prompt)
        asked = sorted(questions, key=lambda question: len(question.text + question.reference))
        if judge.most_per_call == 1:
            asked = asked[-1:]
        together = calls(asked, judge.most_per_call, company)
        for chat, each in zip(chats(judge, asked, prompt, template), together, strict=True):
            longest = max(longest, (sum(len(message["content"]) for message in chat), len(each)))
    return longest


def _criteria(rewards: Sequence[RubricReward], prompts: Sequence[Prompt]) -> list[Finding]:
    long = [
        (prompt.id, number, len(criterion.text))
        for reward in rewards
        for prompt in (prompts[:1] if reward.fixed else prompts)
        for number, criterion in enumerate(reward.criteria(prompt))
        if len(criterion.text) > _LONG_CRITERION
    ]
    if not long:
        return []
    identity, number, size = long[0]
    others = f", and {len(long) - 1:,} more are as long" if len(long) > 1 else ""
    return [
        Finding(
            "criteria",
            "note",
            f"criterion {number} of prompt {identity!r} has {size:,} characters{others}",
            "a criterion is one sentence, and is sent to the judge with every response",
        )
    ]
