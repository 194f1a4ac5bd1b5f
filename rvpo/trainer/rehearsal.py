"""A rehearsal, in seconds before anything is loaded, of what can fail at the end of a run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import torch

from rvpo.advantage.level import check_declared
from rvpo.config.judge import JudgeConfig
from rvpo.config.judges import OWN
from rvpo.config.run import RunConfig
from rvpo.data.order import PromptStream
from rvpo.episode import Episode, Turn
from rvpo.errors import ConfigError, RewardError
from rvpo.judge.client.probe import ANSWER, both, probe
from rvpo.judge.hint import hint, hint_of_scores
from rvpo.judge.scores import Scores
from rvpo.judge.types import Answer, Question, Usage
from rvpo.model_files import reading_model
from rvpo.rewards.classifier import ClassifierReward
from rvpo.rewards.reward import Reward
from rvpo.rewards.suite import RewardSuite
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.stops import read_generation
from rvpo.schedule import value_at
from rvpo.trainer.first_scores import OTHER_RESPONSES, apart, are_logits, differing
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
    judge are left out, and functions that name the worlds of episodes, which nobody can invent.

    Raises:
        RewardError: a function raised or broke its contract, or the estimator reads levels and a
            reward has none.
    """
    functions = [
        replace(reward, condition=None) for reward in score.rewards if isinstance(reward, Reward)
    ]
    reads_levels = config.advantage.inputs == "level"
    if reads_levels:
        _check_bounds(functions)
    functions = [reward for reward in functions if not reward.reads_worlds]
    if not functions:
        return
    # The first of step 1; however large a step is to be, this one is small.
    few = min(_PROMPTS, config.rollout.prompts_per_step)
    first = PromptStream(prompts, few, config.seed).at(0)
    size = min(_LARGEST_GROUP, config.rollout.samples_per_prompt)
    rollout = invented(first, encoder, size, in_world=config.environment is not None)
    try:
        scored = replace(score, rewards=functions).begin().collect(rollout)
        if reads_levels:
            trains = torch.tensor([_trains(reward) for reward in functions])
            check_declared(replace(scored.rewards, weights=trains.expand_as(scored.rewards.values)))
    except RewardError as error:
        raise RewardError(f"{error}; so found in a rehearsal on invented answers") from error


def _check_bounds(functions: Sequence[Reward]) -> None:
    """Refuse functions of which it is known that they leave [0, 1], whatever they score here."""
    for reward in functions:
        low, high = reward.bounds or (0.0, 1.0)
        if _trains(reward) and reward.satisfied is None and (low < 0 or high > 1):
            raise RewardError(
                f"rewards.{reward.name}: its scores lie between {low:g} and {high:g}, and the "
                "estimator reads levels, which without a declaration are of scores between 0 and "
                "1; say which score is good enough and which counts for nothing: "
                f"rewards.{reward.name}.satisfied: {{bad: {low:g}, good: {high:g}}}"
            )


def _trains(reward: Reward) -> bool:
    return max(value_at(reward.weight, progress) for progress in (0.0, 1.0)) > 0


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
    """Ask every endpoint of a classifier for the scores of one answer, by each template once.

    One that the run serves itself is not there yet and is not asked: what its files say has been
    checked. An endpoint that does not answer while another does is only told of.

    Args:
        rewards: those that it gives.
        say, where: see `rehearse_judge`.

    Returns:
        Usage of all calls; None where nothing was asked.

    Raises:
        ConfigError: see `rehearse_judge`.
        RewardError: it will not answer, its scores are not those that a reward reads, or its
            endpoints are several classifiers.
    """
    if judge.serve is not None:
        return None
    spent = Usage()

    def ask(question: Question, number: int, response: str) -> Answer:
        nonlocal spent
        answer = probe(judge, where, asked=question, endpoint=number, response=response)
        spent = both(answer.usage, spent)
        return answer

    for question in dict.fromkeys(reward.question for reward in rewards):
        readers = [reward for reward in rewards if reward.question == question]
        answers = [ask(question, n, ANSWER) for n in range(len(judge.endpoints))]
        lost = [answer for answer in answers if answer.failure is not None]
        if len(lost) == len(answers):
            _check(judge, min(lost, key=_is_wrong), say, where, hint_of_scores)
            continue
        found: dict[str, Scores] = {}
        for number, answer in enumerate(answers):
            at = f"{where}.endpoints[{number}]"
            if answer.failure is not None:
                say(f"{at}: no scores in a rehearsal: {answer.failure}; the run asks the others")
                continue
            found[at] = _readable(readers, answer)
            if question.logits:
                _check_logits(readers[0], at, partial(ask, number=number), found[at], say)
        _check_same(found, say)
    return spent


def _readable(rewards: Sequence[ClassifierReward], answer: Answer) -> Scores:
    """The scores of an answer, which every reward can read."""
    for reward in rewards:
        if lost := reward.loss(answer):
            raise RewardError(
                f"rewards.{reward.name}: its classifier answered a first question with "
                f"{answer.reason}, which gives no score: {lost}; see the reward's label and "
                "score, and classifier.labels"
            )
    return Scores.from_text(answer.reason)


def _check_logits(
    reward: ClassifierReward,
    at: str,
    ask: Callable[..., Answer],
    first: Scores,
    say: Callable[[str], None],
) -> None:
    """Refuse an endpoint that gives something else than logits where they are asked for.

    Args:
        at: the endpoint, for messages.
        ask: asks it a question about a response.
        first: numbers that it gave as the logits of `ANSWER`.
        say: hears of one that does not answer.
    """
    probable = replace(reward.question, logits=False)
    for response in (ANSWER, *OTHER_RESPONSES):
        answers = [ask(probable, response=response)]
        if response != ANSWER:
            answers.append(ask(reward.question, response=response))
        if failed := next((each.failure for each in answers if each.failure is not None), None):
            say(f"{at}: that it gives logits was not shown, a rehearsal had no scores: {failed}")
            return
        given, *more = [Scores.from_text(answer.reason) for answer in answers]
        logits = more[0] if more else first
        shown = are_logits(logits, given)
        if shown is None:
            continue
        if shown:
            return
        raise RewardError(
            f"rewards.{reward.name}: {at} answered a first question for logits with "
            f"{list(logits.values)}, and for probabilities with {list(given.values)}, which is "
            "neither their softmax nor their sigmoid; write score: probability, or ask a server "
            "that knows use_activation: false"
        )
    raise RewardError(
        f"rewards.{reward.name}: {at} does not show that it gives logits: with use_activation: "
        f"false its scores, such as {list(first.values)}, all lie from 0 to 1, as with true; write "
        "score: probability, or ask a server that knows use_activation: false"
    )


def _check_same(scores: Mapping[str, Scores], say: Callable[[str], None]) -> None:
    """Refuse endpoints that serve several classifiers, by their scores of one answer."""
    if problem := next(apart(scores), ""):
        raise RewardError(
            f"{problem} of one answer, so that they serve different classifiers; name endpoints of "
            "one, and give the other a reward of its own"
        )
    if pair := differing(scores):
        say(
            f"{pair} score one answer differently by more than rounding does; see that they serve "
            "the same classifier in the same precision"
        )


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
    if _is_wrong(answer):
        advice = known(answer.failure, answer.detail, where)
        raise RewardError(f"{found}; {advice or 'see that it is up and takes such requests'}")
    say(f"{found}; the run goes on and asks again")


def _is_wrong(answer: Answer) -> bool:
    """True of an answer that failed, and will fail however often it is asked for."""
    reasons = (answer.failure or "", *answer.usage.attempt_failures)
    return all(map(_WRONG.fullmatch, reasons))


def invented(
    prompts: Sequence[Prompt], encoder: Encoder, group_size: int, *, in_world: bool = False
) -> Rollout:
    """Answers to every prompt, of which no model knows: a usual one and several odd ones.

    Args:
        in_world: each is an episode of one turn.
    """
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
                    episode=_of_one_turn(text, len(completion)) if in_world else None,
                )
            )
    return Rollout(samples=tuple(samples), group_size=size)


def _of_one_turn(text: str, tokens: int) -> Episode:
    turn = Turn(({"role": "assistant", "content": text},), 0, tokens)
    return Episode(turns=(turn,), ending="answered")
