"""Turns as tokens and as texts: what a world and a chat template are shown of those sampled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from rvpo.calls import CALL_MARKS
from rvpo.environments import WorldReply
from rvpo.environments.opening import opening
from rvpo.errors import DataError
from rvpo.rollout.episodes.bridge import Bridge
from rvpo.rollout.episodes.limits import EpisodeLimits
from rvpo.rollout.episodes.live_episode import EpisodeEnd, LiveEpisode, Said
from rvpo.rollout.further import TurnRequest
from rvpo.runtime.ignore import ignore
from rvpo.types import Message, Prompt, Sample


class Scribe:
    """Writes down the turns of the episodes of a rollout, as one sequence with what was sampled.

    Args:
        say: hears of episodes that the chat template would have written otherwise.
    """

    def __init__(
        self, bridge: Bridge, limits: EpisodeLimits, say: Callable[[str], None] = ignore
    ) -> None:
        self._encoder = bridge.encoder
        self._limits = limits
        self._bridge = bridge
        self._say = say
        added = bridge.encoder.tokenizer.added_tokens_decoder
        self._marks = frozenset(id for id, token in added.items() if str(token) in CALL_MARKS)
        """Special tokens that are part of a call, which a world has to read."""
        self._openings: dict[int, tuple[Prompt, str]] = {}
        """Prompts and their texts, by the identity of prompts, which siblings share."""

    def said(self, sample: Sample) -> Said:
        """A turn of the policy."""
        ids = sample.completion_ids
        end = self._bridge.ends.get(ids[-1], "") if ids else ""
        text = sample.text
        if not self._marks.isdisjoint(ids):
            text = self._encoder.decode(ids, self._marks)
            parts = self._encoder.split(sample.prompt_ids, text, sample.prompt.prefill)
            sample = replace(sample, text=text, parts=parts)
        opened = "" if sample.parts is None else sample.parts.opened
        begun = sample.prompt.prefill or opened
        # A call in the way of harmony that stands before the first channel has no place in parts.
        is_bare = text.lstrip().startswith("to=")
        heard = {"role": "assistant", "content": text if is_bare else sample.seen("answer")}
        if sample.thought:
            heard["reasoning_content"] = sample.thought
        return Said(
            message={"role": "assistant", "content": text},
            everything=sample.sampled("everything"),
            answer=sample.answer,
            text=self._bridge.text_of(ids[:-1] if end else ids),
            begun=begun,
            end=end,
            heard=heard,
        )

    def cut(self, live: LiveEpisode, sample: Sample) -> EpisodeEnd | None:
        """The end of an episode whose last turn was cut off; None where it was not."""
        return _full(live) if sample.finish_reason == "length" else None

    def tell(self, row: int, live: LiveEpisode, reply: WorldReply) -> TurnRequest | EpisodeEnd:
        """Write what the world says behind the policy's turn, and ask for the next one; the end of
        the episode, where the chat template refuses it or no room is left.

        Args:
            row: the one of the rollout that goes on.
        """
        if reply.tools is not None:
            return EpisodeEnd(
                "world_broken", "it has other tools for a prompt that stays as it was written"
            )
        if (refused := self._write(live, reply.messages)) is not None:
            return refused
        limits = self._limits
        room = min(limits.tokens - len(live.ids), limits.context - len(live.token_ids))
        if room < 1:
            return _full(live)
        prompt = replace(live.prompt, token_ids=live.token_ids, prefill="")
        return TurnRequest(row, len(live.samples), prompt, room)

    def _write(self, live: LiveEpisode, messages: Sequence[Message]) -> EpisodeEnd | None:
        if not live.known:
            live.known = self._opening(live.prompt)
        said = live.said
        assert said is not None
        known = live.known + said.text
        try:
            passage = self._bridge.passage(
                live.prompt,
                [*live.written, *messages],
                known,
                said.end,
                is_compared=not live.rewritten,
            )
        except DataError as error:
            return EpisodeEnd("world_broken", str(error))
        if not live.rewritten and passage.rewriting:
            live.rewritten = passage.rewriting
            self._tell_of(live)
        live.known = known + said.end + passage.text
        live.tell(messages, passage.token_ids)
        return None

    def begin(self, live: LiveEpisode, told: Sequence[Message] | str) -> EpisodeEnd | None:
        """Put what the world says first behind the prompt, or text at its end; the end of the
        episode, where it has no place there."""
        prompt, room = opening(live.prompt, told), self._limits.context - self._limits.tokens
        try:
            length = len(self._encoder.encode(prompt))
        except DataError as error:
            return EpisodeEnd("world_broken", str(error))
        if length > room:
            return EpisodeEnd(
                "world_broken", f"its beginning makes {length} tokens, of which {room} fit"
            )
        live.prompt = prompt
        return None

    def _opening(self, prompt: Prompt) -> str:
        if id(prompt) not in self._openings:
            self._openings[id(prompt)] = prompt, self._bridge.opening(prompt)
        return self._openings[id(prompt)][1]

    def _tell_of(self, live: LiveEpisode) -> None:
        self._say(
            "environment: the model's chat template would write a conversation otherwise than it "
            f"was sampled, such as that of prompt {live.prompt.id!r}: {live.rewritten}. It stays "
            "as it was sampled; whatever serves the model later shows it the other way. "
            "episodes/rewritten_frac counts such conversations"
        )


def _full(live: LiveEpisode) -> EpisodeEnd:
    live.is_cut = True
    return EpisodeEnd("out_of_tokens")
