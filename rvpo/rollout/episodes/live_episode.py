"""An episode that goes on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rvpo.environments import Reply, Session
from rvpo.episode import Ending, Episode, Turn
from rvpo.types import Message, Prompt, Sample


@dataclass
class LiveEpisode:
    """The turns so far of one row of a rollout.

    Args:
        prompt: with what the world put behind it at the beginning.
    """

    prompt: Prompt
    session: Session
    begun: float = field(default_factory=time.monotonic)
    turns: list[Turn] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    """The policy's turns."""
    ids: list[int] = field(default_factory=list)
    given: list[int] = field(default_factory=list)
    """Places in `ids`, see `Sample`."""
    calls: int = 0
    failures: list[str] = field(default_factory=list)
    rewritten: str = ""

    @property
    def messages(self) -> list[Message]:
        """Chat turns behind the prompt."""
        return [message for turn in self.turns for message in turn.messages]

    @property
    def token_ids(self) -> tuple[int, ...]:
        """The whole conversation."""
        return (*self.samples[0].prompt_ids, *self.ids)

    def hear(self, sample: Sample) -> Message:
        """Take a turn of the policy; it as a message."""
        start = len(self.ids)
        self.given += [start + place for place in sample.given]
        self.ids += sample.completion_ids
        self.samples.append(sample)
        message = {"role": "assistant", "content": sample.text}
        self.turns.append(
            Turn(
                (message,),
                start,
                len(self.ids),
                everything=sample.sampled("everything"),
                answer=sample.answer,
                thought_tokens=sample.thought_length,
            )
        )
        return message

    def read(self, reply: Reply) -> None:
        """Take what the world made of the last turn."""
        self.calls += reply.calls
        self.failures += reply.failures
        if reply.said is not None:
            self.turns[-1] = replace(self.turns[-1], messages=(reply.said,))

    def tell(self, messages: Sequence[Message], ids: Sequence[int]) -> None:
        """Take what the world says, in its tokens."""
        start = len(self.ids)
        self.ids += ids
        self.given += range(start, len(self.ids))
        self.turns.append(Turn(tuple(messages), start, len(self.ids)))

    def sample(self, ending: Ending, reason: str = "") -> Sample:
        """All turns as one sample, up to the policy's last one."""
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
            finish_reason="length" if ending == "out_of_tokens" else "stop",
            policy_version=oldest,
            versions=tuple(versions) if set(versions) != {oldest} else (),
            given=tuple(place for place in self.given if place < length),
            supports=self._supports(parts),
            episode=Episode(
                turns=tuple(turns),
                ending=ending,
                reason=reason,
                state=self.session.state,
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
