"""Log-probabilities by the chunk, and attention over shared prompts, against their definitions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from rvpo.trainer.attention import Span, shared_prompt_attention
from rvpo.trainer.logprobs import LogprobHead, logprobs_of

T, H, V = 11, 6, 17
TEMPERATURE = 0.7


def gradients(chunk: int | None, bias: bool) -> tuple[Tensor, ...]:
    """Values and gradients of a random function of log-probabilities and entropies."""
    torch.manual_seed(0)
    layer = nn.Linear(H, V, bias=bias).double()
    hidden = torch.randn(T, H).double().requires_grad_()
    tokens = torch.randint(V, (T,))
    a, b = torch.randn(2, T).double()
    if chunk is None:
        log_p = (layer(hidden) / TEMPERATURE).log_softmax(-1)
        logprobs = log_p[torch.arange(T), tokens]
        entropy = -(log_p.exp() * log_p).sum(-1)
    else:
        logprobs, entropy = LogprobHead(layer, TEMPERATURE, chunk)(hidden, tokens)
    (a * logprobs + b * entropy.square()).sum().backward()
    found = [hidden.grad, *(p.grad for p in layer.parameters())]
    return logprobs.detach(), entropy.detach(), *(g for g in found if g is not None)


@pytest.mark.parametrize("chunk", [1, 4, 11, 100])
@pytest.mark.parametrize("bias", [False, True])
def test_chunks_give_the_values_and_gradients_of_the_whole_table(chunk: int, bias: bool) -> None:
    found, expected = gradients(chunk, bias), gradients(None, bias)
    assert len(found) == len(expected) == 4 + bias
    for ours, plain in zip(found, expected, strict=True):
        assert torch.allclose(ours.double(), plain, rtol=1e-4, atol=1e-5)  # fp32 inside


def test_the_head_keeps_no_logits() -> None:
    layer = nn.Linear(H, V)
    saved: list[tuple[int, ...]] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: saved.append(tuple(t.shape)) or t, lambda t: t
    ):
        LogprobHead(layer, 1.0, 4)(torch.randn(T, H, requires_grad=True), torch.zeros(T).long())
    assert saved
    assert all(shape != (T, V) for shape in saved)


def test_the_table_gives_the_same_at_once() -> None:
    torch.manual_seed(0)
    logits, tokens = torch.randn(T, V), torch.randint(V, (T,))
    logprobs, entropy = logprobs_of(logits, tokens)
    plain = torch.distributions.Categorical(logits=logits)
    assert torch.allclose(logprobs, plain.log_prob(tokens), atol=1e-6)
    assert torch.allclose(entropy, plain.entropy(), atol=1e-6)


@pytest.mark.parametrize("key_heads", [1, 2, 4])
@pytest.mark.parametrize("window", [None, 3, 8])
def test_completions_see_their_prompt_and_themselves(key_heads: int, window: int | None) -> None:
    spans = (Span(5, (3, 1, 4)), Span(2, (6,)))
    total, heads, width = 21, 4, 8
    torch.manual_seed(0)
    query = torch.randn(1, heads, total, width)
    key, value = torch.randn(2, 1, key_heads, total, width)
    out, _ = shared_prompt_attention(
        nn.Module(), query, key, value, None, spans=spans, scaling=0.3, sliding_window=window
    )
    place = 0
    for span in spans:
        prompt = list(range(place, place + span.prompt))
        place += span.prompt
        for length in span.completions:
            rows = [*prompt, *range(place, place + length)]
            place += length
            n = len(rows)
            behind = torch.arange(n)[:, None] - torch.arange(n)
            mask = (behind >= 0) & (behind < (window or n))
            alone = scaled_dot_product_attention(
                query[:, :, rows],
                key[:, :, rows].repeat_interleave(heads // key_heads, 1),
                value[:, :, rows].repeat_interleave(heads // key_heads, 1),
                attn_mask=mask,
                scale=0.3,
            )
            assert torch.allclose(out[:, rows], alone.transpose(1, 2), atol=1e-5)
