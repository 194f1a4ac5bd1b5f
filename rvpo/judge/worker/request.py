"""Requests for questions, and the keys under which their verdicts are remembered."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from rvpo.config.filing import filed_under, sampling
from rvpo.config.judge import JudgeConfig
from rvpo.judge.prompt import PROMPT_VERSION, messages
from rvpo.judge.sheet import SHEET_VERSION, company, labels, sheet_messages
from rvpo.judge.template import JudgeTemplate
from rvpo.judge.types import Job, Question, QuestionKind
from rvpo.judge.verdict import schema
from rvpo.judge.verdicts import sheet_schema
from rvpo.judge.worker.connection import LONGEST_REPLY
from rvpo.judge.worker.probability import OPTIONS
from rvpo.scale import Grades

RESAMPLING_TEMPERATURE: Final = 0.3
"""Least temperature after an unreadable reply, which a temperature of 0 would repeat."""

_LOGPROB_BYTES: Final = 4096  # of a token with what else it might have been, twice what is usual
CHARACTERS_PER_TOKEN: Final = 3
"""Few for most languages: an estimate shall not be too low."""


_LIMITS: Final = ("max_tokens", "max_completion_tokens")


@dataclass(frozen=True, slots=True)
class Request:
    """A question alone, rendered once for all its calls."""

    job: Job
    question: Question
    messages: str
    """The chat as JSON."""
    key: bytes
    """SHA-256 of all that the verdict depends on."""
    tokens: int
    """Largest number of tokens expected, the longest reply included."""
    longest_reply: int = LONGEST_REPLY
    """Bytes of the longest body that is read."""
    company: Question | None = None
    """Everything that it has in common with criteria asked beside it; None of one asked alone."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """All that one call asks: a question alone, or several criteria of one response."""

    requests: tuple[Request, ...]
    labels: tuple[str, ...]
    """Names of the criteria in the reply; none where there is one question."""
    messages: str
    tokens: int

    @property
    def questions(self) -> dict[str, Question]:
        """The question of each label."""
        asked = [request.question for request in self.requests]
        return dict(zip(self.labels, asked, strict=True))


@dataclass(frozen=True, slots=True)
class _Form:
    """Everything that questions of a kind share."""

    response: dict[str, Any]
    """The `response_format` of their requests."""
    identity: hashlib._Hash
    """SHA-256 of all that their verdicts depend on beside the messages."""


class Renderer:
    """Makes requests of questions, and bodies of requests.

    Args:
        template: see `messages`.
    """

    def __init__(self, config: JudgeConfig, template: JudgeTemplate | None = None) -> None:
        self._config = config
        self._template = template
        self._sampling = sampling(config)
        self._forms: dict[tuple[QuestionKind, Grades, bool, bool], _Form] = {}

    def requests(self, job: Job) -> list[Request]:
        """The requests for the questions of a job, in their order.

        A criterion's key says whether others are asked beside it, and never which: it stays the
        same when some of them are known already, or are asked again.
        """
        if self._config.criteria_per_call == 1 or job.alone:
            return [self.render(job, question) for question in job.questions]
        asked = Counter(company(question) for question in set(job.questions))
        shared = (company(question) for question in job.questions)
        return [
            self.render(job, question, common if asked[common] > 1 else None)
            for question, common in zip(job.questions, shared, strict=True)
        ]

    def render(self, job: Job, question: Question, company: Question | None = None) -> Request:
        """The request for one question of a job.

        Args:
            company: see `Request.company`.
        """
        text = json.dumps(messages(job, question, self._config.reasons, self._template))
        identity = self._form(question, company is not None).identity.copy()
        identity.update(f"{job.repeat}\n{text}".encode())
        tokens = len(text) // CHARACTERS_PER_TOKEN + self._config.max_tokens
        longest = LONGEST_REPLY + question.expected * _LOGPROB_BYTES * self._config.max_tokens
        return Request(job, question, text, identity.digest(), tokens, longest, company)

    def sheet(self, requests: Sequence[Request]) -> Sheet:
        """The call that asks one question, or criteria that may share one."""
        if len(requests) == 1:
            (alone,) = requests
            return Sheet((alone,), (), alone.messages, alone.tokens)
        names = labels([request.key for request in requests])
        asked = [request.question for request in requests]
        chat = sheet_messages(requests[0].job, asked, names, self._config.reasons, self._template)
        text = json.dumps(chat)
        tokens = len(text) // CHARACTERS_PER_TOKEN + self._config.reply_tokens(len(requests))
        return Sheet(tuple(requests), names, text, tokens)

    def body(self, sheet: Sheet, model: str, *, with_schema: bool, resamples: int) -> bytes:
        """The body of one call.

        Args:
            model: the judge's name at the endpoint.
            with_schema: ask for a reply held to the schema.
            resamples: number of unreadable replies before; changes seed and temperature.
        """
        asked = OPTIONS if sheet.requests[0].question.expected else {}
        options = {"model": model, **asked, **self._sampling}
        repeat = sheet.requests[0].job.repeat
        # A seed that the settings fix would give every repeat the same verdict.
        if resamples or (repeat and "seed" in options):
            options |= _changed(options, resamples, repeat * self._config.attempts)
        more = self._config.reply_tokens(len(sheet.requests)) - self._config.max_tokens
        for name in _LIMITS:
            if type(options.get(name)) is int:
                options[name] += more
        options = {name: value for name, value in options.items() if value is not None}
        if with_schema:
            options["response_format"] = self._response_format(sheet)
        return f'{json.dumps(options)[:-1]}, "messages": {sheet.messages}}}'.encode()

    def _response_format(self, sheet: Sheet) -> dict[str, Any]:
        if sheet.labels:
            return _named_format("criteria", sheet_schema(sheet.questions, self._config.reasons))
        return self._form(sheet.requests[0].question).response

    def _form(self, question: Question, beside: bool = False) -> _Form:
        """Everything that all questions of a kind, with the same grades, share."""
        shared = (question.kind, question.scale, question.expected, beside)
        if shared not in self._forms:
            response = _named_format(question.kind, schema(question, self._config.reasons))
            identity = json.dumps(self._identity(question, response, beside))
            self._forms[shared] = _Form(response, hashlib.sha256(identity.encode()))
        return self._forms[shared]

    def _identity(self, question: Question, response: dict[str, Any], beside: bool) -> list[Any]:
        """All that a verdict depends on besides the messages and the repeat."""
        config = self._config
        form = response if config.structured else None
        together = ["together", SHEET_VERSION, config.criteria_per_call, config.order_seed]
        return [
            PROMPT_VERSION,
            question.kind,
            *filed_under(config),
            form,
            *(["expected"] if question.expected else []),
            *(together if beside else []),
        ]


def _changed(options: dict[str, Any], resamples: int, before: int) -> dict[str, Any]:
    """Options that differ for another sample, whatever the settings ask for; null stays null.

    Args:
        before: seeds that earlier repeats of the question may have had.
    """
    temperature, seed = options["temperature"], options.get("seed", 0)
    changed: dict[str, Any] = {}
    if resamples and isinstance(temperature, int | float):
        changed["temperature"] = max(temperature, RESAMPLING_TEMPERATURE)
    if isinstance(seed, int):
        changed["seed"] = seed + before + resamples
    return changed


def _named_format(name: str, form: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "json_schema",
        "json_schema": {"name": name, "schema": form, "strict": True},
    }
