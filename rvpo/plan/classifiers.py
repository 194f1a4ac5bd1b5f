"""The classifiers of a run: calls, tokens, dollars, and a first question to those at endpoints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rvpo.config.judges import place_of
from rvpo.config.rewards import ClassifierRewardConfig, classifier_of, classifiers
from rvpo.config.run import RunConfig
from rvpo.errors import RvpoError
from rvpo.judge.client.classifier import ClassifierCard
from rvpo.plan.machine import Finding
from rvpo.plan.model import Model
from rvpo.rewards.classifier import ClassifierReward
from rvpo.trainer.rehearsal import rehearse_classifier

_TIMES: Final = 2  # held-out prompts are scored before and after training


def classifier_findings(config: RunConfig, model: Model, held_out: int) -> list[Finding]:
    """Calls, tokens and dollars of each classifier, its first answer, and inputs too long for it.

    Args:
        model: the policy, of whose prompts the lengths are known.
        held_out: number of prompts that are scored before and after training.
    """
    try:
        rewards = {
            name: ClassifierReward.from_config(name, each, classifier_of(name, config.rewards))
            for name, each in config.rewards.items()
            if isinstance(each, ClassifierRewardConfig)
        }
    except RvpoError:  # which the finding about the rewards tells
        return []
    found: list[Finding] = []
    for judge in classifiers(config.rewards):
        asked = [reward for reward in rewards.values() if reward.judge == judge]
        found += _load(config, model, judge, asked, held_out)
        found += _length(config, model, judge)
        found.append(_answer(config, judge, asked))
    return found


def _load(
    config: RunConfig, model: Model, name: str, asked: list[ClassifierReward], held_out: int
) -> Iterator[Finding]:
    rollout, judge = config.rollout, classifiers(config.rewards)[name]
    questions = len({reward.question for reward in asked})
    step = rollout.sampled_prompts * rollout.samples_per_prompt * questions
    run = config.steps * step + _TIMES * held_out * config.evaluate.samples_per_prompt * questions
    tokens = model.usual_tokens + rollout.max_completion_tokens / 2
    text = f"{step:,} calls a step, {run:,} in all, of about {tokens:,.0f} tokens each"
    prices = [endpoint.input_price for endpoint in judge.endpoints]
    known = [price for price in prices if price is not None]
    if prices and len(known) == len(prices):
        dollars = max(known) * tokens / 1e6
        text += f"; ${step * dollars:,.2f} a step, ${run * dollars:,.2f} in all"
    yield Finding(place_of(name), "ok", text)


def _length(config: RunConfig, model: Model, name: str) -> Iterator[Finding]:
    """A classifier that reads less than the longest prompt with the longest completion."""
    own = classifiers(config.rewards)[name].own
    if own is None:
        return
    longest = own.max_input_tokens or ClassifierCard.read(own.model, place_of(name)).longest
    needed = model.prompt_tokens + config.rollout.max_completion_tokens
    if longest is not None and needed > longest:
        yield Finding(
            place_of(name),
            "note",
            f"an input may have about {needed:,} tokens, and the classifier reads {longest:,}; a "
            "longer one has no score, for nothing is cut off",
            "a smaller rollout.max_completion_tokens, or a classifier that reads more",
        )


def _answer(config: RunConfig, name: str, asked: list[ClassifierReward]) -> Finding:
    judge, where = classifiers(config.rewards)[name], place_of(name)
    if judge.own is not None:
        place = f"GPU {judge.own.devices[0]}" if judge.own.devices else "the CPU"
        found = f"not asked: a process of the run serves {judge.own.model} on {place}"
        return Finding(where, "note", found)
    said: list[str] = []
    try:
        usage = rehearse_classifier(judge, asked, said.append, where)
    except RvpoError as error:
        return Finding(where, "missing", str(error).removeprefix(f"{where}: "))
    if said:
        return Finding(where, "note", said[0].removeprefix(f"{where}: "))
    seconds = 0.0 if usage is None else usage.latency_s
    return Finding(where, "ok", f"{judge.model} answered in {seconds:.2f} s")
