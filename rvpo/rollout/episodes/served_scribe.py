"""Conversations as someone has them to whom the model is served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from rvpo.environments import WorldReply
from rvpo.errors import DataError
from rvpo.rollout.episodes.bridge import Bridge
from rvpo.rollout.episodes.limits import EpisodeLimits
from rvpo.rollout.episodes.live_episode import EpisodeEnd, LiveEpisode
from rvpo.rollout.episodes.scribe import Scribe
from rvpo.rollout.further import TurnRequest
from rvpo.types import Sample

_ANSWER: Final = ("role", "content")


class ServedScribe(Scribe):
    """Has the chat template write the whole conversation anew for each turn of the policy: without
    the thoughts of earlier turns, with calls in its own form, and with the tools that there are by
    then. Each turn has all of `limits.tokens`, and one that they cut off is a turn like others.

    What the policy is shown is no continuation of what it sampled, so that nothing can be trained
    on it: a sample has the tokens of the policy's turns alone.
    """

    def __init__(self, bridge: Bridge, limits: EpisodeLimits) -> None:
        super().__init__(bridge, limits)
        self._marks = frozenset()  # a reply that is served has none

    def cut(self, live: LiveEpisode, sample: Sample) -> EpisodeEnd | None:
        """See `Scribe.cut`: the world may answer what there is."""
        live.is_cut |= sample.finish_reason == "length"
        return None

    def tell(self, row: int, live: LiveEpisode, reply: WorldReply) -> TurnRequest | EpisodeEnd:
        """See `Scribe.tell`."""
        assert live.said is not None
        live.written[-1] = reply.said or {name: live.said.heard[name] for name in _ANSWER}
        live.tell(reply.messages, ())
        if reply.tools is not None:
            live.tools = tuple(reply.tools)
        prompt = replace(
            live.prompt,
            messages=(*live.prompt.messages, *live.written),
            tools=live.prompt.tools if live.tools is None else live.tools,
            prefill="",
        )
        encoded: list[Sequence[int]] = []
        try:
            self._encoder.check_lengths([prompt], self._limits.tokens, encoded.append)
        except DataError as error:
            return EpisodeEnd("out_of_tokens", str(error))
        asked = replace(prompt, token_ids=tuple(encoded[0]))
        return TurnRequest(row, len(live.samples), asked, self._limits.tokens)
