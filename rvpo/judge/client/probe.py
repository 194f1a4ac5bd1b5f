"""One question to the judge before anything depends on its answers."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from dataclasses import replace
from typing import Final

from rvpo.config.judge import JudgeConfig
from rvpo.config.judges import OWN
from rvpo.judge.template import JudgeTemplate
from rvpo.judge.types import Answer, Job, Judge, Question, Usage

PATIENCE_S: Final = 20.0
"""Longest time of one attempt, in seconds."""

ANSWER: Final = "4"
"""The response that is asked about."""

_QUESTION: Final = Question("criterion", "The response is the number four.")
_JOB: Final = Job(
    conversation=(("user", "What is 2 + 2? Answer with one number."),),
    response=ANSWER,
    questions=(),
)


def probe(
    judge: JudgeConfig,
    where: str = OWN,
    *,
    weighed: bool = False,
    asked: Question | None = None,
    endpoint: int | None = None,
    response: str = ANSWER,
) -> Answer:
    """Ask one question as the run would ask it, but with little patience and unremembered.

    Args:
        judge: one that names endpoints.
        where: the section of its settings, for messages.
        weighed: the run counts on its log-probabilities, so the question does.
        asked: the question about an answer to a sum, in place of one to a judge.
        endpoint: number of the one that is asked; any of them if left out.
        response: the answer to the sum.

    Returns:
        The verdict, which is 1 of a judge that can tell, or why there is none.

    Raises:
        ConfigError: it was not asked: a key is missing, or an endpoint cannot be used.
    """
    from rvpo.judge.worker.asker import Asker  # with aiohttp, which few runs need
    from rvpo.judge.worker.endpoint import all_endpoints

    patience = min(judge.timeout_s, PATIENCE_S)
    once = judge.model_copy(
        update={
            "cache": None,
            "attempts": 2,
            "timeout_s": patience,
            "deadline_s": min(judge.deadline_s, 1.5 * patience),
            "hedge_quantile": None,
            "workers": 1,
        }
    )
    if endpoint is not None:
        all_endpoints(judge, (0, 1), where)  # whose messages count from the first on
        once = once.model_copy(update={"endpoints": (judge.endpoints[endpoint],)})
    template = JudgeTemplate.of(judge, where)
    shown = "It is 4." if template is not None and template.has_reference else ""
    question = replace(_QUESTION, expected=weighed, reference=shown)

    async def ask() -> Answer:
        async with Asker(once, where=where, template=template) as asker:
            (answer,) = await asker.answer(
                replace(_JOB, response=response, questions=(asked or question,))
            )
        return answer

    return asyncio.run(ask())


class Counted:
    """A judge whose next answer counts what was spent before it.

    Args:
        judge: the one that answers.
    """

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._spent: Usage | None = None

    def count(self, spent: Usage | None) -> None:
        """Note what a question took that is no rollout's; None for nothing."""
        self._spent = spent

    def submit(self, job: Job) -> Future[tuple[Answer, ...]]:
        """Ask; returns at once. Cancelled where the judge's own future is."""
        answered = self._judge.submit(job)
        spent, self._spent = self._spent, None
        if spent is None:
            return answered
        counted: Future[tuple[Answer, ...]] = Future()

        def pass_on(future: Future[tuple[Answer, ...]]) -> None:
            if future.cancelled():
                counted.cancel()
                counted.set_running_or_notify_cancel()
            elif (error := future.exception()) is not None:
                counted.set_exception(error)
            else:
                first, *others = future.result()
                counted.set_result((replace(first, usage=both(first.usage, spent)), *others))

        answered.add_done_callback(pass_on)
        return counted

    def cancel(self) -> None:
        """Give up everything that is not answered yet."""
        self._judge.cancel()


def both(usage: Usage, spent: Usage) -> Usage:
    """Usage of both; whether it was cached and how long it took stay the first's, if it was asked
    at all."""
    return replace(
        usage,
        requests=usage.requests + spent.requests,
        retries=usage.retries + spent.retries,
        parse_failures=usage.parse_failures + spent.parse_failures,
        input_tokens=usage.input_tokens + spent.input_tokens,
        output_tokens=usage.output_tokens + spent.output_tokens,
        cost=usage.cost + spent.cost,
        latency_s=usage.latency_s or spent.latency_s,
    )
