"""The values of judging, plain enough to travel as JSON between processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Protocol, Self

from rvpo.scale import Grades
from rvpo.thinking import Sees

QuestionKind = Literal["criterion", "rating", "grade", "comparison", "score"]
"""Kind of a question: whether a criterion holds of a response, how good the response is by a whole
rubric, or whether it is better than another one. A grade is a criterion too, asked in the words of
a benchmark's own template. A score is asked of a classifier."""


@dataclass(frozen=True, slots=True)
class Question:
    """One thing asked about a response."""

    kind: QuestionKind
    text: str
    """The criterion, the lines of the rubric, the question that two responses are compared by, or
    a benchmark's template filled in, which is then all that the judge reads. Of a score, the
    template by which the classifier's input is made."""
    sees: Sees = "answer"
    """Part of the completion that is the response of its job."""
    reference: str = ""
    """A good answer, shown beside the response; empty where there is none."""
    scale: Grades = ()
    """Grades of a criterion, met or not where there are none; of a rating, 1 to 10 where there are
    none."""
    expected: bool = False
    """The verdict is the mean grade by the judge's own log-probabilities, and not the grade that it
    wrote."""
    other: str = ""
    """The response that the job's own is compared with, which is shown first."""
    logits: bool = False
    """The scores of a classifier are to be those before its softmax or sigmoid."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The question that `asdict` made this of, on its way as JSON."""
        scale = tuple((float(number), str(word)) for number, word in value.get("scale", ()))
        return cls(**{**value, "scale": scale})


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A response and all that is asked about it."""

    conversation: tuple[tuple[str, str], ...]
    """(role, content) of each turn before the response."""
    response: str
    questions: tuple[Question, ...]
    repeat: int = 0
    """Asks anew instead of reading the cache for another repeat: part of the cache's key."""
    alone: bool = False
    """Asks each criterion in a call of its own, however many the judge's settings put into one."""
    is_episode: bool = False
    """True where the response is all turns of an episode, see `rvpo.episode.Episode.told`."""

    def to_json(self) -> dict[str, Any]:
        """The job for the wire; `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Job:
        return cls(
            conversation=tuple((role, content) for role, content in value["conversation"]),
            response=value["response"],
            questions=tuple(Question.from_json(question) for question in value["questions"]),
            repeat=value["repeat"],
            alone=value.get("alone", False),
            is_episode=value.get("is_episode", False),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Requests, tokens, cost and time that one answer took."""

    cached: bool = False
    """Known before, or asked at the same moment by an equal question: nothing was sent."""
    requests: int = 0
    """HTTP requests sent, retries and hedges included."""
    retries: int = 0
    hedges: int = 0
    parse_failures: int = 0
    """Replies that came and could not be read."""
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    """Dollars; 0 where no price is set."""
    latency_s: float = 0.0
    """Seconds from the first request to the answer; 0 for a cached one."""
    attempt_failures: Mapping[str, int] = field(default_factory=dict)
    """Attempts that failed, by reason, whether or not a later one succeeded."""
    other_model: bool = False
    """Answered by a model that was not asked for, or that answered not at first."""

    def __add__(self, other: Usage) -> Usage:
        """Both together, in the longer of both times."""
        failures = Counter(self.attempt_failures) + Counter(other.attempt_failures)
        return Usage(
            cached=self.cached and other.cached,
            **{name: getattr(self, name) + getattr(other, name) for name in (*_COUNTS, "cost")},
            latency_s=max(self.latency_s, other.latency_s),
            attempt_failures=dict(failures),
            other_model=self.other_model or other.other_model,
        )

    def shares(self, count: int) -> list[Usage]:
        """The same, divided among the answers that share it: all counts together are what they
        were, and the first answers have what cannot be divided. The time is each one's own."""
        if count == 1:
            return [self]
        return [self._part(index, count) for index in range(count)]

    def _part(self, index: int, count: int) -> Usage:
        counts: dict[str, Any] = {
            name: _share(getattr(self, name), index, count) for name in _COUNTS
        }
        failures = {r: _share(number, index, count) for r, number in self.attempt_failures.items()}
        return replace(
            self,
            **counts,
            cost=self.cost / count,
            attempt_failures={reason: number for reason, number in failures.items() if number},
        )


_COUNTS = ("requests", "retries", "hedges", "parse_failures", "input_tokens", "output_tokens")


def _share(number: int, index: int, count: int) -> int:
    return number // count + (index < number % count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The judge's answer to one question, or the reason that there is none."""

    value: float | None
    """A criterion: 1 met, 0 not met, whether that is good or bad. A rating: 0 worst to 1 best. A
    comparison: 1 where the job's response is better, 0 where the other is, .5 where neither is.
    Scores: 1, for they are in `reason`. None where it failed."""
    reason: str = ""
    """The judge's own words; a classifier's are its `rvpo.judge.scores.Scores`."""
    failure: str | None = None
    """Reason that there is no value, in a few words that repeat: they are counted."""
    detail: str = ""
    """The server's words to that: a line of up to 200 characters, without keys; never counted."""
    model: str = ""
    """Model that gave the verdict, as the server calls it; empty where it is not known."""
    news: tuple[str, ...] = ()
    """Sentences about an endpoint that were not told with an answer before."""
    usage: Usage = Usage()

    def to_json(self) -> dict[str, Any]:
        """The answer for the wire; `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Answer:
        plain = {"usage": Usage(**value["usage"]), "news": tuple(value.get("news", ()))}
        return cls(**{**value, **plain})


class Judge(Protocol):
    """Answers questions about responses, in the background."""

    def submit(self, job: Job) -> Future[tuple[Answer, ...]]:
        """Ask; returns at once. The answers come in the order of the questions."""
        ...

    def cancel(self) -> None:
        """Give up everything that is not answered yet: those futures are cancelled."""
        ...
