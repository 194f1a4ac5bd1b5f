"""Attention in rows where the completions of a prompt share it.

    [prompt A | completion A1 | completion A2 | … | prompt B | completion B1 | …]

A completion sees its prompt and itself, so each of its tokens is computed as if its sample stood
alone, while the prompt's are computed once. No mask of the row by the row exists: each part is an
ordinary causal attention over its own keys, which has fast kernels on every device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor
from torch.backends.cuda import SDPAParams, can_use_flash_attention, enable_cudnn_sdp
from torch.nn.attention.bias import CausalBias, causal_lower_right
from torch.nn.functional import pad, scaled_dot_product_attention

SHARED_PROMPT: Final = "rvpo_shared_prompt"
"""The name that transformers knows it by, after `register`."""

_LEAST_FILL: Final = 0.75
"""Completions that are attended to together are padded; at least this share is not padding."""

Piece = tuple[Tensor, Tensor, Tensor]
"""Query, key and value of some tokens."""
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Span:
    """A prompt and its completions, one after the other in a row."""

    prompt: int
    """Tokens of the prompt."""
    completions: tuple[int, ...]
    """Tokens of each completion."""


def register() -> None:
    """Make it known to transformers, as an attention of any model that lets one be chosen."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(SHARED_PROMPT, shared_prompt_attention)
    AttentionMaskInterface.register(SHARED_PROMPT, _no_mask)


def leave_out_cudnn() -> None:
    """Keep torch from cuDNN's attention in this process.

    On the newest GPUs torch puts it first for a prompt, and never takes it for completions beside
    one. It would build a graph for each new length, which prompts have in all sizes, and round
    otherwise than the kernel of the completions of the same row.
    """
    enable_cudnn_sdp(False)


def shared_prompt_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    spans: Sequence[Span],
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **unused: Any,
) -> tuple[Tensor, None]:
    """One layer's attention, in the form that transformers calls.

    Args:
        query: [1, heads, S, D], rotated already.
        key: [1, key heads, S, D].
        value: like `key`.
        attention_mask: ignored.
        spans: the parts of the row, without gaps.
        sliding_window: tokens that a token sees, itself included; all before it if left out.

    Returns:
        [1, S, heads, D], and no attention weights.

    Raises:
        NotImplementedError: the layer wants a score to be capped, or a sink beside the tokens.
    """
    for wanted in ("softcap", "s_aux", "sinks"):
        if unused.get(wanted) is not None:
            raise NotImplementedError(f"its attention has {wanted}")
    # Split at once: of many slices, each would add a gradient of the whole row's size.
    pieces = [torch.split(x, _lengths(spans), dim=2) for x in (query, key, value)]
    each = zip(*pieces, strict=True)  # prompt A, completion A1, …
    outputs: list[Tensor] = []
    attend = partial(_attend, scaling=scaling, dropout=dropout, window=sliding_window)
    for span in spans:
        prompt = next(each)
        outputs.append(attend(*prompt))
        for count in _similar(span.completions):
            outputs += _beside(prompt, [next(each) for _ in range(count)], attend)
    return torch.cat(outputs, dim=2).transpose(1, 2), None


def _lengths(spans: Sequence[Span]) -> list[int]:
    return [length for span in spans for length in (span.prompt, *span.completions)]


def _similar(lengths: Sequence[int]) -> Iterator[int]:
    """Numbers of neighbours to take together, so that little of what is padded is padding."""
    start = 0
    while start < len(lengths):
        end = start + 1
        while end < len(lengths) and _fill(lengths[start : end + 1]) >= _LEAST_FILL:
            end += 1
        yield end - start
        start = end


def _fill(lengths: Sequence[int]) -> float:
    return sum(lengths) / (max(lengths) * len(lengths))


def _beside(prompt: Piece, completions: Sequence[Piece], attend: Attend) -> list[Tensor]:
    """The outputs of completions of one prompt, [1, heads, T, D] each.

    They are padded at their ends to a batch. No token sees what comes after it, so none sees
    padding.
    """
    lengths = [piece[0].shape[2] for piece in completions]

    def padded(which: int) -> Tensor:
        parts = [piece[which] for piece in completions]
        return torch.cat([pad(x, (0, 0, 0, max(lengths) - x.shape[2])) for x in parts])

    def with_prompt(which: int) -> Tensor:
        shared = prompt[which].expand(len(completions), -1, -1, -1)
        return torch.cat((shared, padded(which)), dim=2)

    output = attend(padded(0), with_prompt(1), with_prompt(2))
    return [x[None, :, :length] for x, length in zip(output.unbind(), lengths, strict=True)]


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scaling: float | None,
    dropout: float,
    window: int | None,
) -> Tensor:
    """Causal attention of queries that end where the keys do."""
    mask = _visible(query.shape[2], key, window)
    key, value = _spread(query, key, value, is_masked=not isinstance(mask, CausalBias))
    return scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        dropout_p=dropout,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )


def _spread(query: Tensor, key: Tensor, value: Tensor, *, is_masked: bool) -> tuple[Tensor, Tensor]:
    """Keys and values, of a head for each query's where the kernel does not take groups of them: on
    GPUs only flash does, which wants half precision and no mask. Without a kernel every score of
    the row would be in memory at once."""
    groups = query.shape[1] // key.shape[1]
    if groups == 1 or not query.is_cuda:
        return key, value
    if not is_masked and can_use_flash_attention(asked(query, key, value)):
        return key, value
    return key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)


def asked(query: Tensor, key: Tensor, value: Tensor) -> SDPAParams:
    """The question to a kernel of a GPU, as torch puts it for such a causal mask: queries that end
    where more keys do are not called causal, for flash would refuse them by that name and yet takes
    them (`torch.nn.attention.bias`)."""
    is_square = query.shape[2] == key.shape[2]
    grouped = query.shape[1] != key.shape[1]
    return SDPAParams(query, key, value, None, 0.0, is_square, grouped)


def _visible(queries: int, keys: Tensor, window: int | None) -> Tensor:
    """Keys that a query sees, the last `window` up to itself or all."""
    total = keys.shape[2]
    if window is None or total <= window:
        return causal_lower_right(queries, total)
    places = torch.arange(total, device=keys.device)
    behind = places[total - queries :, None] - places
    return (behind >= 0) & (behind < window)


def _no_mask(*_: Any, **__: Any) -> None:
    """Instead of a mask that transformers would make for the whole row."""
