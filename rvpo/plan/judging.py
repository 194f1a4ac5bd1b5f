"""The judging of a run by each judge: calls, tokens, dollars and seconds, and a first question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rvpo.config.judge import EndpointConfig, JudgeConfig
from rvpo.config.judges import OWN, place_of, weighed
from rvpo.config.run import RunConfig
from rvpo.errors import RvpoError
from rvpo.judge.client.probe import probe
from rvpo.judge.hint import hint
from rvpo.judge.prompt import messages
from rvpo.judge.sheet import calls, company, labels, sheet_messages
from rvpo.judge.template import JudgeTemplate
from rvpo.judge.types import Job, Question
from rvpo.plan.machine import Finding
from rvpo.rewards.judged import every_question
from rvpo.rewards.rubric import RubricReward
from rvpo.schedule import is_due
from rvpo.types import Prompt

CHARACTERS = 4
"""Characters of a token, in English."""
_REPLY_TOKENS = 60  # of a verdict with its reason, in JSON
_BARE_REPLY_TOKENS = 10
_LABEL_TOKENS = 8  # of a criterion in the reply to several
READ_PROMPTS = 500
"""Number of prompts that are rendered, to measure the length of a call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Load of a judge. Tokens are estimates."""

    calls: float
    """Calls of a sample that is trained on, on average over prompts."""
    held_out: float | None = None
    """Calls of a sample of a held-out prompt; as many as `calls` if left out."""
    watched: float = 0.0
    """Further calls of such a sample, where the gold watch looks."""
    verdicts: float = 1.0
    """Verdicts of a call, on average."""
    input_tokens: float
    """Tokens that a call sends: with a response half as long as it may be."""
    output_tokens: float
    """Tokens that a call receives."""

    def cost(self, endpoint: EndpointConfig) -> float | None:
        """Dollars of a call, None where a price is not set."""
        if endpoint.input_price is None or endpoint.output_price is None:
            return None
        dollars = (
            self.input_tokens * endpoint.input_price + self.output_tokens * endpoint.output_price
        )
        return dollars / 1e6


def load(
    config: RunConfig,
    rewards: Sequence[RubricReward],
    prompts: Sequence[Prompt],
    name: str = OWN,
) -> Load:
    """Load of a judge by a sample of these prompts.

    Args:
        rewards: all that judges give; those count that ask this one.
        name: the judge's.

    Raises:
        DataError: a prompt's criteria cannot be read.
    """
    judge = config.every_judge[name]
    asked = asked_of(config, name, rewards)
    trained = [reward for reward in rewards if reward.judge == name]
    examiner = config.evaluate.judge
    examined = trained if examiner is None else list(rewards) if examiner == name else []
    step, template = max(1, len(prompts) // READ_PROMPTS), JudgeTemplate.of(judge, place_of(name))
    lengths = [
        sum(len(message["content"]) for message in chat)
        for prompt in prompts[::step]
        for chat in chats(judge, every_question(asked, prompt), prompt, template)
    ]
    response = config.rollout.max_completion_tokens / 2
    reply = reply_tokens(judge)
    questions = sum(len(every_question(asked, prompt)) for prompt in prompts) / len(prompts)
    verdicts = questions / (_calls(judge, asked, prompts) or 1.0) or 1.0
    return Load(
        calls=_calls(judge, trained, prompts),
        held_out=_calls(judge, examined, prompts),
        watched=_calls(judge, watched_of(config, name, rewards), prompts),
        verdicts=verdicts,
        input_tokens=sum(lengths) / max(1, len(lengths)) / CHARACTERS + response,
        output_tokens=verdicts * (reply + (_LABEL_TOKENS if verdicts > 1 else 0)),
    )


def reply_tokens(judge: JudgeConfig) -> int:
    """Tokens of a reply with one verdict, about."""
    return min(_REPLY_TOKENS if judge.reasons else _BARE_REPLY_TOKENS, judge.max_tokens)


def asked_of(config: RunConfig, name: str, rewards: Sequence[RubricReward]) -> list[RubricReward]:
    """The rewards for which a judge is asked, in training or about held-out prompts."""
    watched = watched_of(config, name, rewards)
    return [r for r in rewards if name in (r.judge, config.evaluate.judge) or r in watched]


def watched_of(config: RunConfig, name: str, rewards: Sequence[RubricReward]) -> list[RubricReward]:
    """The rewards for which a judge is asked where the gold watch looks, beyond an evaluation."""
    gold, examiner = config.evaluate.gold, config.evaluate.judge
    if gold is None or name == examiner:
        return []
    watched = [reward for reward in rewards if reward.judge != gold.judge]
    if name == gold.judge:
        return watched
    return [] if examiner is None else [reward for reward in watched if reward.judge == name]


def evaluations(config: RunConfig) -> tuple[int, int]:
    """Times that held-out prompts are scored, and that the gold watch looks at them."""
    steps, evaluate = range(config.steps + 1), config.evaluate
    scored = {n for n in steps if is_due(n, evaluate.every, config.steps)}
    if evaluate.gold is None:
        return len(scored), 0
    every = evaluate.gold.every or evaluate.every
    looks = {n for n in steps if is_due(n, every, config.steps)}
    return len(scored | looks), len(looks)


def _calls(judge: JudgeConfig, rewards: Sequence[RubricReward], prompts: Sequence[Prompt]) -> float:
    """Calls about a sample, on average over prompts."""
    asked = (every_question(rewards, prompt) for prompt in prompts)
    return sum(len(calls(each, judge.most_per_call, company)) for each in asked) / len(prompts)


def load_findings(config: RunConfig, asked: Load, held_out: int, name: str = OWN) -> list[Finding]:
    """Calls, tokens and cost of a judge, of a step and of the run.

    Args:
        held_out: prompts scored before, during and after training.
        name: the judge's.
    """
    judge, where = config.every_judge[name], place_of(name)
    step = config.rollout.sampled_prompts * config.rollout.samples_per_prompt * asked.calls
    step *= judge.repeated
    examined = asked.calls if asked.held_out is None else asked.held_out
    evaluate = config.evaluate
    times, looks = evaluations(config)
    of_each = times * examined + looks * asked.watched
    scored = held_out * evaluate.samples_per_prompt * of_each
    run = config.steps * step + scored
    found = [
        Finding(
            f"{where} calls",
            "ok",
            f"{step:,.0f} a step, {asked.calls * judge.repeated:.1f} a sample"
            + (f" with {asked.verdicts:.1f} criteria each" if asked.verdicts > 1 else "")
            + f"; {run:,.0f} in all"
            + (f", {scored:,.0f} of them held out" if scored else ""),
        ),
        Finding(
            f"{where} tokens",
            "ok",
            f"about {_short(step * asked.input_tokens)} in and "
            f"{_short(step * asked.output_tokens)} out a step, "
            f"{_short(run * asked.input_tokens)} and {_short(run * asked.output_tokens)} in all",
            f"estimated with responses half as long as they may be and "
            f"{asked.output_tokens / asked.verdicts:.0f} tokens a "
            "verdict; what the cache knows is not asked",
        ),
    ]
    return [*found, _cost(judge, where, asked, step, run)]


def _cost(judge: JudgeConfig, where: str, asked: Load, step: float, run: float) -> Finding:
    part = f"{where} cost"
    if judge.serve is not None:
        return Finding(part, "ok", "none: the judge is served here")
    costs = [asked.cost(endpoint) for endpoint in judge.endpoints]
    known = [cost for cost in costs if cost is not None]
    if len(known) < len(costs):
        unpriced = judge.endpoints[costs.index(None)].url
        return Finding(
            part,
            "note",
            f"unknown: {unpriced} has no price",
            "set input_price and output_price, dollars per million tokens, for each endpoint",
        )
    dearest = max(known)
    at = " at the dearest endpoint" if len(set(known)) > 1 else ""
    found = f"about ${step * dearest:,.2f} a step, ${run * dearest:,.2f} in all{at}"
    most = judge.budget.dollars
    if most is not None and run * dearest > most:
        found += f", more than the ${most:g} of {where}.budget.dollars, at which the run ends"
        return Finding(part, "note", found, "a larger budget, or fewer steps")
    return Finding(part, "ok", found)


def endpoint_findings(config: RunConfig, asked: Load | None, name: str = OWN) -> list[Finding]:
    """One real call to each endpoint. The others take over where one fails; all failing is fatal.

    Args:
        asked: load of a step, to say how long that takes.
        name: the judge's.
    """
    endpoints = config.every_judge[name].endpoints
    found = [_called(config, name, endpoint, asked) for endpoint in endpoints]
    if all(finding.state == "missing" for finding in found):
        return found
    return [replace(f, state="note") if f.state == "missing" else f for f in found]


def _called(config: RunConfig, name: str, endpoint: EndpointConfig, asked: Load | None) -> Finding:
    judge, where = config.every_judge[name], place_of(name)
    model = endpoint.model or judge.model
    remedy = f"see that {endpoint.url} is up, offers {model!r} and takes the key"
    counted_on = weighed(config.rewards, config.every_judge, config.evaluate.others)
    try:
        alone = judge.model_copy(update={"endpoints": (endpoint,)})
        answer = probe(alone, where, weighed=name in counted_on)
    except RvpoError as error:  # it was not asked, and the sentence says what to do
        return Finding(where, "missing", str(error))
    if answer.value is None:
        found = f"{endpoint.url} gave no verdict: {answer.failure}"
        if answer.detail:
            found += f", and said {answer.detail!r}"
        known = hint(answer.failure or "", answer.detail, where)
        return Finding(where, "missing", found, known or remedy)
    seconds = answer.usage.latency_s
    found = f"{model} at {endpoint.url} answered in schema in {seconds:.2f} s"
    if asked is not None and asked.calls and len(judge.endpoints) == 1:
        rollout = config.rollout
        each_step = rollout.sampled_prompts * rollout.samples_per_prompt * asked.calls
        each_step *= judge.repeated
        found += f"; a step's calls take {_step_time(endpoint, asked, each_step, seconds)}"
    if answer.usage.attempt_failures:
        failed = ", ".join(answer.usage.attempt_failures)
        return Finding(where, "note", f"{found}, but only when asked again ({failed})")
    if answer.news:
        return Finding(where, "note", "; ".join((found, *answer.news)))
    if answer.value != 1:
        return Finding(where, "note", f"{found}, but said that 2 + 2 is not 4")
    return Finding(where, "ok", found)


def _step_time(endpoint: EndpointConfig, asked: Load, calls: float, seconds: float) -> str:
    """The longest of the times that the limits allow, each for itself."""
    times = {"concurrency": calls * seconds / endpoint.concurrency}
    if endpoint.requests_per_minute is not None:
        times["requests_per_minute"] = 60 * calls / endpoint.requests_per_minute
    if endpoint.tokens_per_minute is not None:
        tokens = calls * (asked.input_tokens + asked.output_tokens)
        times["tokens_per_minute"] = 60 * tokens / endpoint.tokens_per_minute
    limit = max(times, key=lambda name: times[name])
    return f"{times[limit]:,.0f} s or more, for its {limit} of {getattr(endpoint, limit):,}"


def _short(number: float) -> str:
    return f"{number / 1e6:,.1f} million" if number >= 1e5 else f"{number:,.0f}"


def chats(
    judge: JudgeConfig,
    asked: Sequence[Question],
    prompt: Prompt,
    template: JudgeTemplate | None = None,
) -> list[list[dict[str, str]]]:
    """The messages of each call about a sample, with an empty response.

    Args:
        template: the judge's.
    """
    job = Job(conversation=prompt.turns, response="", questions=tuple(asked))
    return [
        messages(job, each[0], judge.reasons, template)
        if len(each) == 1
        else sheet_messages(job, each, _labels(len(each)), judge.reasons, template)
        for each in calls(asked, judge.most_per_call, company)
    ]


def _labels(count: int) -> tuple[str, ...]:
    return labels([number.to_bytes(4) for number in range(count)])
