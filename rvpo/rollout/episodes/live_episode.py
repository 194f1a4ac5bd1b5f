"""An episode that goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from rvpo.environments import Session, WorldReply
from rvpo.episode import BROKEN, Ending, Episode, Turn
from rvpo.types import Message, Prompt, Sample

HEARD: Final = ("role", "content", "reasoning_content")
"""Fields of a turn as a world hears it."""


@dataclass(frozen=True, slots=True)
class EpisodeEnd:
    """The end of an episode."""

    ending: Ending
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """A turn of the policy, for each who reads it."""

    message: Message
    """The turn with its thoughts, as it was sampled."""
    everything: str
    """Its text, see `Sample.sampled`."""
    answer: str
    """The same without thoughts."""
    text: str
    """All of it but the token that ended it, as text."""
    begun: str
    """Text that the prompt began it with."""
    end: str
    """Text of the token that ended it; empty where another thing did."""
    heard: Message
    """The turn as its world hears it: the answer, and the thoughts in a field of their own."""


@dataclass
class LiveEpisode:
    """The turns so far of one row of a rollout.

    Args:
        prompt: the messages of the data, and those that the world puts behind them first.
    """

    prompt: Prompt
    session: Session | None = None
    """Its world; None before there is one."""
    end: EpisodeEnd | None = None
    """The one that comes behind the policy's first turn, where its world did not begin."""
    begun: float = field(default_factory=time.monotonic)
    is_cut: bool = False
    """True once tokens ran out."""
    tools: tuple[Mapping[str, Any], ...] | None = None
    """Tools that the world has put in the place of the prompt's."""
    is_closed: bool = False
    """True once its world was told to give up what it holds."""
    seconds: float = 0.0
    """Time that its world has taken so far."""
    turns: list[Turn] = field(default_factory=list)
    written: list[Message] = field(default_factory=list)
    """Chat turns behind the prompt, as the chat template is shown them."""
    said: Said | None = None
    """The policy's last turn."""
    known: str = ""
    """The conversation up to that turn, as text."""
    samples: list[Sample] = field(default_factory=list)
    """The policy's turns."""
    ids: list[int] = field(default_factory=list)
    given: list[int] = field(default_factory=list)
    """Places in `ids`, see `Sample`."""
    calls: int = 0
    failures: list[str] = field(default_factory=list)
    rewritten: str = ""

    @property
    def token_ids(self) -> tuple[int, ...]:
        """The whole conversation."""
        return (*self.samples[0].prompt_ids, *self.ids)

    def hear(self, sample: Sample, said: Said) -> None:
        """Take a turn of the policy."""
        start = len(self.ids)
        self.given += [start + place for place in sample.given]
        self.ids += sample.completion_ids
        self.samples.append(sample)
        self.turns.append(
            Turn(
                (said.message,),
                start,
                len(self.ids),
                everything=said.everything,
                answer=said.answer,
                thought_tokens=sample.thought_length,
            )
        )
        self.written.append({"role": "assistant", "content": said.begun + said.text})
        self.said = said

    def read(self, reply: WorldReply) -> None:
        """Take what the world made of the last turn: what was sampled stays its content."""
        self.calls += reply.calls
        self.failures += reply.failures
        if reply.said is not None:
            own = {k: v for k, v in reply.said.items() if k not in HEARD}
            self.turns[-1] = replace(
                self.turns[-1], messages=({**self.turns[-1].messages[0], **own},)
            )
            self.written[-1] = {**self.written[-1], **own}

    def tell(self, messages: Sequence[Message], ids: Sequence[int]) -> None:
        """Take what the world says, in its tokens."""
        start = len(self.ids)
        self.ids += ids
        self.given += range(start, len(self.ids))
        self.turns.append(Turn(tuple(messages), start, len(self.ids)))
        self.written += messages

    def sample(self, end: EpisodeEnd, state: Any) -> Sample:
        """All turns as one sample, up to the policy's last one.

        Args:
            state: the world's.
        """
        last = max(n for n, turn in enumerate(self.turns) if turn.is_policy)
        turns = self.turns[: last + 1]
        length = turns[-1].stop
        drawn = iter(self.samples)
        parts = [next(drawn) if turn.is_policy else turn for turn in turns]
        final = self.samples[-1]
        oldest = min(sample.policy_version for sample in self.samples)
        versions = [v for part in parts for v in _versions(part, oldest)]
        return replace(
            final,
            prompt=self.prompt,
            prompt_ids=self.samples[0].prompt_ids,
            completion_ids=tuple(self.ids[:length]),
            logprobs=tuple(p for part in parts for p in _logprobs(part)),
            finish_reason="length" if self.is_cut and end.ending not in BROKEN else "stop",
            policy_version=oldest,
            versions=tuple(versions) if set(versions) != {oldest} else (),
            given=tuple(place for place in self.given if place < length),
            supports=self._supports(parts),
            episode=Episode(
                turns=tuple(turns),
                ending=end.ending,
                reason=end.reason,
                state=state,
                world_seconds=self.seconds,
                calls=self.calls,
                failures=tuple(self.failures),
                rewritten=self.rewritten,
            ),
        )

    def _supports(
        self, parts: Sequence[Sample | Turn]
    ) -> tuple[Sequence[int], Sequence[int]] | None:
        """See `Sample`; a token that was given is the only one that could stand there."""
        if self.samples[0].supports is None:
            return None
        ids: list[int] = []
        counts: list[int] = []
        for part in parts:
            if isinstance(part, Turn):
                ids += self.ids[part.start : part.stop]
                counts += [1] * (part.stop - part.start)
            elif part.supports is not None:
                ids += part.supports[0]
                counts += part.supports[1]
        return ids, counts


def _versions(part: Sample | Turn, oldest: int) -> Sequence[int]:
    return part.token_versions if isinstance(part, Sample) else [oldest] * (part.stop - part.start)


def _logprobs(part: Sample | Turn) -> Sequence[float]:
    return part.logprobs if isinstance(part, Sample) else [0.0] * (part.stop - part.start)
