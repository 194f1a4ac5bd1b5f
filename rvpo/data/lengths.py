"""Prompts that leave no room for a full completion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from rvpo.config.run import RunConfig
from rvpo.data.packed import Picked
from rvpo.data.splits import SourcePrompts, Splits
from rvpo.data.streamed import Streamed
from rvpo.errors import DataError
from rvpo.rollout.encoder import Encoder
from rvpo.runtime.ignore import ignore
from rvpo.types import Prompt


def room_for_prompts(config: RunConfig, encoder: Encoder) -> int:
    """Tokens that a prompt may have beside a full completion."""
    return encoder.max_context_tokens - config.rollout.max_completion_tokens


def fitting(
    config: RunConfig, prompts: Splits, encoder: Encoder, say: Callable[[str], None] = ignore
) -> Splits:
    """The prompts without those that are too long, where the settings ask to drop these; of a
    stream they are left out on the way.

    Args:
        say: told how many were left out of which source.

    Raises:
        DataError: all prompts of a source are too long, or the chat template refuses one.
    """
    if config.data.too_long != "drop":
        return prompts
    room = room_for_prompts(config, encoder)
    return Splits.of(
        [_fitting(part, encoder, room, say) for part in prompts.train_parts],
        [_fitting(part, encoder, room, say) for part in prompts.held_out_parts],
        config.data.shares,
    )


def shortened(
    config: RunConfig,
    encoder: Encoder,
    prompts: Sequence[Prompt],
    say: Callable[[str], None] = ignore,
) -> Encoder:
    """The encoder that cuts off what is too much of a prompt, where the settings ask for it.

    Args:
        prompts: those that are read before the start.
        say: told how many of them lose their beginning.

    Raises:
        DataError: the chat template refuses a prompt.
    """
    if config.data.too_long != "truncate_left":
        return encoder
    room = room_for_prompts(config, encoder)
    long = sum(len(ids) > room for ids in encoder.encode_each(prompts))
    if long:
        say(
            f"data.too_long: {long:,} of {len(prompts):,} prompts have more than the {room:,} "
            "tokens that are left beside a full completion, and lose their first ones"
        )
    return replace(encoder, most_prompt_tokens=room)


def _fitting(
    part: SourcePrompts, encoder: Encoder, room: int, say: Callable[[str], None]
) -> SourcePrompts:
    prompts = part.prompts
    if isinstance(prompts, Streamed):
        return replace(part, prompts=prompts.keeping(lambda p: len(encoder.encode(p)) <= room))
    kept = _places(prompts, encoder, room)
    lost = len(prompts) - len(kept)
    if not lost:
        return part
    if not kept:
        raise DataError(
            f"{part.place}: every prompt has more than the {room:,} tokens that are left beside "
            "rollout.max_completion_tokens; lower it, or give shorter prompts"
        )
    say(
        f"{part.place}: left out {lost:,} of {len(prompts):,} prompts, which have more than the "
        f"{room:,} tokens that are left beside a full completion"
    )
    return replace(part, prompts=Picked(prompts, kept))


def _places(prompts: Sequence[Prompt], encoder: Encoder, room: int) -> Sequence[int]:
    tokens = enumerate(encoder.encode_each(prompts))
    return [place for place, ids in tokens if len(ids) <= room]
