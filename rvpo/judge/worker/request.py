"""The request for a question, and the key under which its verdict is remembered."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

from rvpo.config.judge import JudgeConfig
from rvpo.judge.prompt import PROMPT_VERSION, messages
from rvpo.judge.types import Job, Question, QuestionKind
from rvpo.judge.verdict import schema
from rvpo.scale import Scale

RESAMPLING_TEMPERATURE: Final = 0.3
"""Least temperature after an unreadable reply, which a temperature of 0 would repeat."""

CHARACTERS_PER_TOKEN: Final = 3  # few for most languages: an estimate shall not be too low


@dataclass(frozen=True, slots=True)
class Request:
    """A question, rendered once for all its calls."""

    question: Question
    messages: str
    """The chat as JSON."""
    key: bytes
    """SHA-256 of all that the verdict depends on."""
    tokens: int
    """Largest number of tokens expected, the longest reply included."""


@dataclass(frozen=True, slots=True)
class _Form:
    """What questions of a kind share."""

    response: dict[str, Any]
    """The `response_format` of their requests."""
    identity: hashlib._Hash
    """SHA-256 of all that their verdicts depend on beside the messages."""


class Renderer:
    """Makes requests of questions, and bodies of requests."""

    def __init__(self, config: JudgeConfig) -> None:
        self._config = config
        self._sampling: dict[str, Any] = {
            "temperature": config.temperature,
            "max_tokens": config.max_tokens,
            **config.extra_body,
        }
        self._forms: dict[tuple[QuestionKind, Scale, bool], _Form] = {}

    def render(self, job: Job, question: Question) -> Request:
        """The request for one question of a job."""
        text = json.dumps(messages(job, question, self._config.reasons))
        identity = self._form(question).identity.copy()
        identity.update(f"{job.repeat}\n{text}".encode())
        tokens = len(text) // CHARACTERS_PER_TOKEN + self._config.max_tokens
        return Request(question, text, identity.digest(), tokens)

    def body(self, request: Request, model: str, *, with_schema: bool, resamples: int) -> bytes:
        """The body of one call.

        Args:
            model: the judge's name at the endpoint.
            with_schema: ask for a reply held to the schema.
            resamples: number of unreadable replies before; changes seed and temperature.
        """
        options = {"model": model, **self._sampling}
        if resamples:
            options |= _changed(options, resamples)
        options = {name: value for name, value in options.items() if value is not None}
        if with_schema:
            options["response_format"] = self._form(request.question).response
        return f'{json.dumps(options)[:-1]}, "messages": {request.messages}}}'.encode()

    def _form(self, question: Question) -> _Form:
        """What all questions of a kind, with the same grades, share."""
        shared = (question.kind, question.scale, question.expected)
        if shared not in self._forms:
            response = _response_format(question, self._config.reasons)
            identity = json.dumps(self._identity(question, response))
            self._forms[shared] = _Form(response, hashlib.sha256(identity.encode()))
        return self._forms[shared]

    def _identity(self, question: Question, response: dict[str, Any]) -> list[Any]:
        """All that a verdict depends on besides the messages and the repeat."""
        config = self._config
        models = sorted({endpoint.model or config.model or "" for endpoint in config.endpoints})
        form = response if config.structured else None
        shared = [config.model, models, config.revision, self._sampling, form]
        return [
            PROMPT_VERSION,
            question.kind,
            *shared,
            *(["expected"] if question.expected else []),
        ]


def _changed(options: dict[str, Any], resamples: int) -> dict[str, Any]:
    """Options that differ for another sample, whatever the settings ask for; null stays null."""
    temperature, seed = options["temperature"], options.get("seed", 0)
    changed: dict[str, Any] = {}
    if isinstance(temperature, int | float):
        changed["temperature"] = max(temperature, RESAMPLING_TEMPERATURE)
    if isinstance(seed, int):
        changed["seed"] = seed + resamples
    return changed


def _response_format(question: Question, reasons: bool) -> dict[str, Any]:
    form = {"name": question.kind, "schema": schema(question, reasons), "strict": True}
    return {"type": "json_schema", "json_schema": form}
