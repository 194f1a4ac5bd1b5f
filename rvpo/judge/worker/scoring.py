"""Calls that ask a classifier for scores, as vLLM's `/classify` and `/score` take them.

Both know `use_activation`, which leaves softmax and sigmoid out where it is false. `/classify`
takes a text (`input`) or a chat (`messages`), which the server puts into its own template, and
answers with the scores of all labels; `/score` takes a pair of texts, and answers with one score
(vllm.entrypoints.pooling). A process of the run speaks `/classify`, and takes a pair there too.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from rvpo.config.classifier import ClassifierJudge, ScoreRoute
from rvpo.config.filing import filed_under
from rvpo.config.judge import JudgeConfig
from rvpo.config.placeholders import fill
from rvpo.judge.control_tokens import harmless
from rvpo.judge.scores import Scores
from rvpo.judge.template import JudgeTemplate
from rvpo.judge.types import Job, Question
from rvpo.judge.worker.refusal import Refusal
from rvpo.judge.worker.reply import NotCompleted, Reply
from rvpo.judge.worker.request import CHARACTERS_PER_TOKEN, Renderer, Request, Sheet
from rvpo.judge.worker.route import CHAT, Route

INPUT_VERSION: Final = "1"
"""Changes with every change of what a classifier is sent: remembered scores are filed under it."""

TOO_LONG: Final = "input too long"
_LENGTH: Final = re.compile(r"too long|context length|longer than|max_model_len", re.IGNORECASE)


def input_of(job: Job, template: str, route: ScoreRoute) -> dict[str, Any]:
    """The fields of a call that hold what the classifier reads.

    No text of the conversation or the response can hold a control token of the classifier's
    tokenizer, or a placeholder of the template: see `harmless` and `fill`.

    Args:
        template: `chat`, `pair`, or a text with placeholders; see `ClassifierRewardConfig`.
    """
    turns = [(harmless(role), harmless(content)) for role, content in job.conversation]
    response = harmless(job.response)
    if template == "chat":
        chat = [{"role": role, "content": content} for role, content in turns]
        return {"messages": [*chat, {"role": "assistant", "content": response}]}
    if template == "pair":
        names = ("text_1", "text_2") if route == "score" else ("input", "text_pair")
        return dict(zip(names, (_told(turns), response), strict=True))
    last = next((content for role, content in reversed(turns) if role == "user"), "")
    system = "\n".join(content for role, content in turns if role == "system")
    values = {"response": response, "prompt": last, "system": system, "conversation": _told(turns)}
    return {"input": fill(template, values)}


def _told(turns: list[tuple[str, str]]) -> str:
    """A conversation as one text: its only turn, or each after its role."""
    if len(turns) == 1:
        return turns[0][1]
    return "\n".join(f"{role}: {content}" for role, content in turns)


class ScoreRenderer(Renderer):
    """Makes requests for scores, and bodies of requests."""

    def __init__(self, config: ClassifierJudge) -> None:
        super().__init__(config)
        self._route: ScoreRoute = config.route
        self._model = filed_under(config)

    def render(self, job: Job, question: Question, company: Question | None = None) -> Request:
        """The request for the scores of a response, which is asked alone."""
        text = json.dumps(input_of(job, question.text, self._route))
        identity = ["scores", INPUT_VERSION, *self._model, question.logits, job.repeat]
        key = hashlib.sha256(f"{json.dumps(identity)}\n{text}".encode()).digest()
        return Request(job, question, text, key, len(text) // CHARACTERS_PER_TOKEN)

    def body(self, sheet: Sheet, model: str, *, with_schema: bool, resamples: int) -> bytes:
        """The body of one call; every call is the same."""
        options = {"model": model, "use_activation": not sheet.requests[0].question.logits}
        return f"{json.dumps(options)[:-1]}, {sheet.messages[1:]}".encode()


def read_scores(body: bytes, detail: Callable[[str], str]) -> Reply:
    """Read the body of a reply of success; see `read_reply`.

    Raises:
        NotCompleted: it has no scores, or says that something failed.
    """
    try:
        value = json.loads(body)
        (item,) = value["data"]
        given = item["probs"] if "probs" in item else [item["score"]]
        label = item.get("label")
        scores = Scores(tuple(given), label if isinstance(label, str) else "")
        failed = value.get("error")
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        refusal = Refusal.read(body)
        status = refusal.status
        raise NotCompleted(f"http {status}" if status else "no scores", refusal) from None
    if failed:
        raise NotCompleted("error in the reply", Refusal.read(body))
    model = value.get("model")
    return Reply(
        text=scores.to_text(),
        cut=False,
        model=detail(model) if isinstance(model, str) else "",
        usage=value.get("usage"),
    )


def reason_of(reason: str, message: str) -> str:
    """Reason to count for a refusal: that of an input which the classifier cannot read whole is one
    of its own."""
    return TOO_LONG if _LENGTH.search(message) else reason


_ROUTES: Final[Mapping[ScoreRoute, Route]] = {
    name: Route(name, read_scores, reason_of, writes=False) for name in ("classify", "score")
}


def route_of(config: JudgeConfig) -> Route:
    """The route by which a judge is asked."""
    return _ROUTES[config.route] if isinstance(config, ClassifierJudge) else CHAT


def renderer_of(config: JudgeConfig, template: JudgeTemplate | None = None) -> Renderer:
    """The one that makes a judge's requests.

    Args:
        template: the judge's own; a classifier has none.
    """
    if isinstance(config, ClassifierJudge):
        return ScoreRenderer(config)
    return Renderer(config, template)
