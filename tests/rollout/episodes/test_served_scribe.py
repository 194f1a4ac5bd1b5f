"""Conversations that are asked as if the model were served: each prompt is what the chat template
makes of all messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from rvpo.environments import WorldReply
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.episodes.engine import EpisodeEngine
from rvpo.rollout.further import TurnRequest
from rvpo.types import Message, Sample
from tests.fakes import make_prompt
from tests.rollout.episodes.scripted import (
    CONTEXT,
    ScriptedEngine,
    ScriptedSession,
    ScriptedWorld,
    encoder_of,
    engine_of,
)
from tests.tiny import TEMPLATE

TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {}}}
SHOWN = "{% for t in tools or [] %}<{{ t.function.name }}>{% endfor %}{# <think></think> #}"


@pytest.fixture(scope="module")
def encoder(tiny_model: Path) -> Encoder:
    return encoder_of(tiny_model, SHOWN + TEMPLATE)


def more(**fields: Any) -> WorldReply:
    return WorldReply(messages=({"role": "user", "content": "More?"},), **fields)


def played(
    encoder: Encoder,
    rule: Callable[[int, int], str],
    *replies: WorldReply,
    as_served: bool = True,
    **settings: Any,
) -> tuple[Sample, Sequence[TurnRequest]]:
    """The sample, and what was asked for."""
    left = iter(replies)

    async def answer(message: Message) -> WorldReply:
        return next(left, WorldReply())

    world = ScriptedWorld(lambda number: ScriptedSession(answer))
    engine: EpisodeEngine = engine_of(encoder, world, rule, as_served=as_served, **settings)
    (sample,) = engine.generate([make_prompt()], 1, seed=0).samples
    engine.close()
    assert isinstance(engine._engine, ScriptedEngine)
    return sample, engine._engine.asked


def test_a_prompt_is_what_the_template_makes_of_the_messages_with_the_tools_of_the_time(
    encoder: Encoder,
) -> None:
    def rule(row: int, turn: int) -> str:
        return f"<think>So.</think>Turn {turn}.<|im_end|>"

    said = {"role": "assistant", "content": "called"}
    sample, asked = played(encoder, rule, more(tools=[TOOL]), more(said=said), tokens=50)
    start, more_ = (
        "<|im_start|>user\nWhat is 1 + 2?<|im_end|>\n",
        "<|im_start|>user\nMore?<|im_end|>\n",
    )
    zero, called = (f"<|im_start|>assistant\n{text}<|im_end|>\n" for text in ("Turn 0.", "called"))
    opened = "<|im_start|>assistant\n"
    texts = [encoder.tokenizer.decode(encoder.encode(request.prompt)) for request in asked]
    assert texts == [
        start + opened,
        "<look_up>" + start + zero + more_ + opened,
        "<look_up>" + start + zero + more_ + called + more_ + opened,
    ]
    assert [request.most_tokens for request in asked[1:]] == [50, 50]
    assert sample.answer == "Turn 2."
    # What the world said is no part of the sample.
    assert not sample.given
    assert sample.length == len(sample.completion_ids) == 3 * len("<think>So.</think>Turn 0.") + 3


def test_a_turn_that_is_cut_off_is_answered_as_others(encoder: Encoder) -> None:
    def rule(row: int, turn: int) -> str:
        return "So much to say.<|im_end|>" if turn == 1 else "No.<|im_end|>"

    sample, asked = played(encoder, rule, more(), more(), tokens=5)
    assert len(asked) == 3
    assert sample.episode is not None
    assert sample.episode.ending == "answered"
    assert sample.finish_reason == "length"
    assert encoder.tokenizer.decode(asked[2].prompt.token_ids).count("So mu<|im_end|>") == 1


def test_a_prompt_that_leaves_no_room_for_a_turn_ends_the_episode_with_a_reason(
    encoder: Encoder,
) -> None:
    said = "x" * 700 + "<|im_end|>"
    sample, asked = played(
        encoder, lambda row, turn: said, *[more()] * 9, tokens=1000, max_turns=20
    )
    assert sample.episode is not None
    assert sample.episode.ending == "out_of_tokens"
    assert f"do not fit in the context of {CONTEXT}" in sample.episode.reason
    assert not sample.missing
    assert len(asked) == 5
    assert max(len(encoder.encode(request.prompt)) for request in asked) <= CONTEXT - 1000


def test_other_tools_have_no_place_in_what_is_trained_on(encoder: Encoder) -> None:
    sample, _ = played(
        encoder, lambda row, turn: "Hm.<|im_end|>", more(tools=[TOOL]), as_served=False
    )
    assert sample.missing.startswith("world_broken: it has other tools")
