"""Log-probabilities of given tokens, without a table of logits for all of them at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor, nn

from rvpo.trainer.supports import TokenSupports

_ROWS_IN_CACHE: Final = 16


class LogprobHead(nn.Module):
    """A model's output layer that gives log-probabilities instead of logits.

    It holds the very weights of the layer it is made of, so nothing is stored twice.

    Args:
        layer: the output layer, [V, H].
        temperature: logits are divided by it.
        chunk: tokens whose logits exist at the same time.
    """

    def __init__(self, layer: nn.Linear, temperature: float, chunk: int) -> None:
        super().__init__()
        self.weight = layer.weight
        self.bias = layer.bias
        self._temperature = temperature
        self._chunk = chunk

    def forward(
        self, hidden: Tensor, tokens: Tensor, supports: TokenSupports | None = None
    ) -> tuple[Tensor, Tensor]:
        """[T] log-probability of each token, and [T] the entropy where it stands, both in fp32.

        Args:
            hidden: [T, H] the output layer's input where each token is predicted.
            tokens: [T].
            supports: tokens that have a probability at each place; all if left out.
        """
        apply: Any = _Logprobs.apply
        logprobs, entropy = apply(
            hidden, self.weight, self.bias, tokens, supports, self._temperature, self._chunk
        )
        return logprobs, entropy


def logprobs_of(
    logits: Tensor, tokens: Tensor, supports: TokenSupports | None = None
) -> tuple[Tensor, Tensor]:
    """The same from [T, V] logits at the temperature of sampling, all at once."""
    logits = logits.float()
    outside = None if supports is None else supports.outside(slice(0, len(logits)), logits.shape[1])
    if outside is not None:
        logits = logits.masked_fill(outside, -torch.inf)
    log_p = logits.log_softmax(dim=-1)
    chosen = log_p.gather(-1, tokens[:, None])[:, 0]
    p = log_p.exp()
    if outside is not None:  # 0 times minus infinity is no number
        log_p = log_p.masked_fill(outside, 0.0)
    return chosen, -torch.linalg.vecdot(p, log_p)


class _Logprobs(torch.autograd.Function):
    """Forward and backward compute the logits of a chunk at a time, and keep none.

    With z the logits, p = softmax(z) and H its entropy,

        ∂ log p_a / ∂z = 1_a − p,    ∂H / ∂z = −p (log p + H).

    Where a token cannot be drawn its p is 0, and so is its slope.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        tokens: Tensor,
        supports: TokenSupports | None,
        temperature: float,
        chunk: int,
    ) -> tuple[Tensor, Tensor]:
        logprobs = hidden.new_empty(len(tokens), dtype=torch.float32)
        entropy, normaliser = torch.empty_like(logprobs), torch.empty_like(logprobs)
        for rows, logits in _logits(hidden, weight, bias, chunk):
            for own, part in _in_cache(rows, logits):
                z, outside = _limited(part.float().div_(temperature), own, supports)
                normaliser[own] = z.logsumexp(dim=-1)
                log_p = z.sub_(normaliser[own, None])
                logprobs[own] = log_p.gather(-1, tokens[own, None])[:, 0]
                p = log_p.exp()
                if outside is not None:
                    log_p.masked_fill_(outside, 0.0)
                entropy[own] = -torch.linalg.vecdot(p, log_p)
        ctx.save_for_backward(hidden, weight, bias, tokens, entropy, normaliser)
        ctx.temperature, ctx.chunk, ctx.supports = temperature, chunk, supports
        return logprobs, entropy

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        of_logprobs, of_entropy = gradients
        hidden, weight, bias, tokens, entropy, normaliser = ctx.saved_tensors
        of_hidden = torch.empty_like(hidden)
        _, weight_learns, bias_learns, *_ = ctx.needs_input_grad
        of_weight = torch.zeros_like(weight, dtype=torch.float32) if weight_learns else None
        of_bias = torch.zeros_like(bias, dtype=torch.float32) if bias_learns else None
        for rows, logits in _logits(hidden, weight, bias, ctx.chunk):
            for own, part in _in_cache(rows, logits):
                z, outside = _limited(part.float().div_(ctx.temperature), own, ctx.supports)
                log_p = z.sub_(normaliser[own, None])
                p = log_p.exp()
                if outside is not None:
                    log_p.masked_fill_(outside, 0.0)
                slope = log_p.add_(entropy[own, None]).mul_(-of_entropy[own, None])
                slope.sub_(of_logprobs[own, None]).mul_(p)
                slope.scatter_add_(-1, tokens[own, None], of_logprobs[own, None])
                part.copy_(slope.div_(ctx.temperature))
            of_logits = logits  # now that each was overwritten
            of_hidden[rows] = of_logits @ weight
            if of_weight is not None:
                of_weight += of_logits.T @ hidden[rows]
            if of_bias is not None:
                of_bias += of_logits.sum(0)
        of_weight = None if of_weight is None else of_weight.to(weight.dtype)
        of_bias = None if of_bias is None else of_bias.to(bias.dtype)
        return of_hidden, of_weight, of_bias, None, None, None, None


def _logits(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, chunk: int
) -> Iterator[tuple[slice, Tensor]]:
    """Rows, and their logits in the type of the weights."""
    for rows in _chunks(0, len(hidden), chunk):
        yield rows, nn.functional.linear(hidden[rows], weight, bias)


def _limited(
    z: Tensor, rows: slice, supports: TokenSupports | None
) -> tuple[Tensor, Tensor | None]:
    """Logits of which those outside of the supports are minus infinity, in place, and which these
    are."""
    if supports is None:
        return z, None
    outside = supports.outside(rows, z.shape[-1])
    return z.masked_fill_(outside, -torch.inf), outside


def _in_cache(rows: slice, logits: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Parts small enough that what is made of one stays in a processor's cache."""
    size = _ROWS_IN_CACHE if logits.device.type == "cpu" else len(logits)
    for own in _chunks(rows.start, rows.stop, size):
        yield own, logits[own.start - rows.start : own.stop - rows.start]


def _chunks(start: int, stop: int, size: int) -> Iterator[slice]:
    for begin in range(start, stop, size):
        yield slice(begin, min(begin + size, stop))
