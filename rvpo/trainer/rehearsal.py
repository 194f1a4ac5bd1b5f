"""A rehearsal, in seconds before anything is loaded, of what can fail at the end of a run."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from rvpo.config.judge import JudgeConfig
from rvpo.config.judges import OWN
from rvpo.config.run import RunConfig
from rvpo.data.prompts import PromptStream
from rvpo.errors import ConfigError, RewardError
from rvpo.judge.client.probe import both, probe
from rvpo.judge.hint import hint, hint_of_scores
from rvpo.judge.types import Answer, Usage
from rvpo.model_files import reading_model
from rvpo.rewards.classifier import ClassifierReward
from rvpo.rewards.reward import Reward
from rvpo.rewards.suite import RewardSuite
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.stops import read_generation
from rvpo.trainer.savable import check_tokenizer, savable
from rvpo.types import Prompt, Rollout, Sample

_LARGEST_GROUP = 64
_PROMPTS = 2
_ANSWERS = (
    "",
    "<think>Two and two make four.</think>\n\nAnswer: 4",
    "<think>It never ends",
    "e\u0301 \u202e\u2028 \U0001f600 \u0660 {[(\\n\t\x00",
)
"""No words, thoughts, and characters that are rarely met."""
_GOOD = "The answer is 4."
_WRONG: Final = re.compile(
    r"http (?!408|409|425|429)[34]\d\d|quota used up|connection|unknown host|tls|no completion"
    r"|schema refused|no scores|no log-probabilities"
    r"|log-probabilities (are of another text|of too few tokens)"
)
"""Failures of a judge whose address, key, name or settings are wrong, and not its day bad."""


def rehearse_saving(
    path: str, encoder: Encoder, trust_remote_code: bool, say: Callable[[str], None]
) -> None:
    """Write a model's settings and tokenizer into a temporary folder, as its end would.

    Args:
        path: the folder or Hub id of the model.
        say: hears of what the saved model will lack.

    Raises:
        ConfigError: transformers has no causal language model of this kind, or something cannot
            be saved.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

    with reading_model(path):
        config = AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code)
    is_own = trust_remote_code and "AutoModelForCausalLM" in (getattr(config, "auto_map", {}) or {})
    if not is_own and type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ConfigError(
            f"model.path: {path!r} is a {config.model_type} model, and transformers has no causal "
            "language model of this kind; give a model that AutoModelForCausalLM loads"
        )
    _, said = savable(path, config, read_generation(path))
    for text in said:
        say(text)
    check_tokenizer(path, encoder.tokenizer)


def rehearse_trackers(config: RunConfig) -> None:
    """Make sure that every tracker can be opened.

    Raises:
        ConfigError: what one of them needs is not installed.
    """
    for tracker in config.report.trackers:
        tracker.check()


def rehearse_rewards(
    config: RunConfig, score: RewardSuite, prompts: Sequence[Prompt], encoder: Encoder
) -> None:
    """Call every reward function once, on invented answers to the first of the prompts.

    A function that keeps something between calls meets this one before step 1. Rewards that ask a
    judge are left out.

    Raises:
        RewardError: a function raised or broke its contract.
    """
    functions = [
        replace(reward, condition=None) for reward in score.rewards if isinstance(reward, Reward)
    ]
    if not functions:
        return
    # The first of step 1; however large a step is to be, this one is small.
    few = min(_PROMPTS, config.rollout.prompts_per_step)
    first = PromptStream(prompts, few, config.seed).at(0)
    size = min(_LARGEST_GROUP, config.rollout.samples_per_prompt)
    rollout = invented(first, encoder, size)
    try:
        replace(score, rewards=functions).begin().collect(rollout)
    except RewardError as error:
        raise RewardError(f"{error}; so found in a rehearsal on invented answers") from error


def rehearse_judge(
    judge: JudgeConfig, say: Callable[[str], None], where: str = OWN, *, weighed: bool = False
) -> Usage | None:
    """Ask the judge one question, which every endpoint may answer.

    A judge that the run serves itself is not there yet and is not asked.

    Args:
        say: hears of a judge that is only busy, or gives no verdict that can be read, and of
            repeats that may all be the same.
        where: the section of its settings, for messages.
        weighed: the run counts on its log-probabilities.

    Returns:
        The judge's usage.

    Raises:
        ConfigError: a key is missing, or an endpoint cannot be used.
        RewardError: it will not answer, however often it is asked.
    """
    if judge.repeat is not None and judge.may_repeat_itself:
        say(
            f"{where}.repeat: at temperature 0 many servers give the same verdict each time, and a "
            "repeat that cannot differ says nothing of how reliable a criterion is; set "
            f"{where}.temperature to what verdicts are to be relied on at, such as 0.7"
        )
    if judge.serve is not None:
        return None
    answer = probe(judge, where, weighed=weighed)
    _check(judge, answer, say, where)
    return answer.usage


def rehearse_classifier(
    judge: JudgeConfig,
    rewards: Sequence[ClassifierReward],
    say: Callable[[str], None],
    where: str,
) -> Usage | None:
    """Ask a classifier for the scores of one answer, once for each reward.

    One that the run serves itself is not there yet and is not asked: what its files say has been
    checked.

    Args:
        rewards: those that it gives.
        say, where: see `rehearse_judge`.

    Returns:
        Usage of all calls; None where nothing was asked.

    Raises:
        ConfigError: see `rehearse_judge`.
        RewardError: it will not answer, or its scores are not those that a reward reads.
    """
    if judge.serve is not None:
        return None
    spent = Usage()
    for reward in rewards:
        answer = probe(judge, where, asked=reward.question)
        spent = both(answer.usage, spent)
        _check(judge, answer, say, where, hint_of_scores)
        lost = reward.loss(answer) if answer.failure is None else ""
        if lost:
            raise RewardError(
                f"rewards.{reward.name}: its classifier answered a first question with "
                f"{answer.reason}, which gives no score: {lost}; see the reward's label and "
                "score, and classifier.labels"
            )
    return spent


def _check(
    judge: JudgeConfig,
    answer: Answer,
    say: Callable[[str], None],
    where: str,
    known: Callable[[str, str, str], str] = hint,
) -> None:
    """Refuse a judge that will not answer, and tell of one that only did not."""
    if answer.failure is None:
        return
    asked = f"{judge.model!r} at {', '.join(endpoint.url for endpoint in judge.endpoints)}"
    found = f"{where}: {asked} gave no verdict in a rehearsal: {answer.failure}"
    found += f", and said {answer.detail!r}" if answer.detail else ""
    if all(map(_WRONG.fullmatch, (answer.failure, *answer.usage.attempt_failures))):
        advice = known(answer.failure, answer.detail, where)
        raise RewardError(f"{found}; {advice or 'see that it is up and takes such requests'}")
    say(f"{found}; the run goes on and asks again")


def invented(prompts: Sequence[Prompt], encoder: Encoder, group_size: int) -> Rollout:
    """Answers to every prompt, of which no model knows: a usual one and several odd ones."""
    size = max(group_size, 1 + len(_ANSWERS))
    samples = []
    for prompt in prompts:
        ids = encoder.encode(prompt)
        for number in range(size):
            text = (_GOOD, *_ANSWERS)[number % (1 + len(_ANSWERS))]
            tokens = encoder.tokenizer(text, add_special_tokens=False)["input_ids"]
            completion = (*tokens, encoder.stop_ids[0])
            samples.append(
                Sample(
                    prompt=prompt,
                    prompt_ids=ids,
                    completion_ids=completion,
                    logprobs=(0.0,) * len(completion),
                    text=text,
                    finish_reason="stop",
                    policy_version=0,
                )
            )
    return Rollout(samples=tuple(samples), group_size=size)
