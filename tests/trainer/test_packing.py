"""Models whose completions cannot share their prompts are known by what they are made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoModelForCausalLM

from rvpo.plan.accelerator import attention
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.attention import Span, _spread, _visible, asked, shared_prompt_attention
from rvpo.trainer.attention_kernel import USUAL, Head, attention_kernels, head_of
from rvpo.trainer.packing import Yardstick, _structure, try_packing, yardstick
from rvpo.trainer.scorer import Scorer
from rvpo.trainer.zero_policy import ZeroPolicy
from tests.configs import tiny_config


class Model(nn.Module):
    def __init__(self, part: nn.Module | None = None, **settings: Any) -> None:
        super().__init__()
        self.part = part or nn.Linear(2, 2)
        self.config = SimpleNamespace(**settings)
        self.config.get_text_config = lambda: self.config


def test_plain_and_sliding_attention_fit() -> None:
    assert _structure(Model()) is None
    kinds = ["full_attention", "sliding_attention"]
    assert _structure(Model(layer_types=kinds, logit_scale=1.0, logits_scaling=None)) is None


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Model(final_logit_softcapping=30.0), "final_logit_softcapping"),
        (Model(logits_scaling=8.0), "logits_scaling"),
        (Model(layer_types=["full_attention", "linear_attention"]), "linear_attention"),
        (Model(nn.Conv1d(2, 2, 1)), "not attention"),
    ],
)
def test_what_its_numbers_may_hide_is_found_in_its_structure(model: Model, words: str) -> None:
    assert words in str(_structure(model))


def test_attention_with_capped_scores_is_refused() -> None:
    part = torch.zeros(1, 2, 3, 4)
    with pytest.raises(NotImplementedError, match="softcap"):
        shared_prompt_attention(
            nn.Module(), part, part, part, None, spans=(Span(1, (2,)),), softcap=50.0
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rounding_is_the_yardstick_of_packed_rows(dtype: torch.dtype) -> None:
    expected = Yardstick(torch.zeros(4), rounding=0.2, dtype=dtype)
    assert expected.limit == pytest.approx(0.6)
    assert expected.distance(torch.tensor([0.1, -0.1, 0.3, 0.0])) == pytest.approx(0.125)
    assert 0 < Yardstick(torch.zeros(4), rounding=0.0, dtype=dtype).limit < 0.18


def test_the_trial_tells_rounding_from_what_completions_must_not_see(
    tiny_model: Path, ranks: Ranks
) -> None:
    said: list[str] = []
    config = tiny_config(tiny_model, model={"precision": "bf16"})
    policy = ZeroPolicy(config, str(tiny_model), ranks, said.append)
    (line,) = said
    assert line.startswith(
        "update: each prompt is computed once for all its completions, which moves their"
    )
    assert line.endswith("attention by flash")
    expected = yardstick(policy.engine, ranks)
    assert 0 <= expected.rounding < 0.05
    assert try_packing(policy.engine, ranks, expected).fault is None
    wrong = replace(expected, logprobs=expected.logprobs - 1)
    assert "would be off by 1 in the mean" in str(try_packing(policy.engine, ranks, wrong).fault)


def test_groups_of_keys_stay_where_a_kernel_takes_them_and_are_spread_where_none_does() -> None:
    with FakeTensorMode():  # type: ignore[no-untyped-call]
        query, key = (
            torch.empty(1, 4, 8, 16, device="cuda"),
            torch.empty(1, 2, 9, 16, device="cuda"),
        )
        spread = _spread(query, key, key, is_masked=False)  # fp32, which flash does not take
        assert [x.shape for x in spread] == [(1, 4, 9, 16)] * 2
        assert _spread(query, query, query, is_masked=True)[0] is query
    query, key = torch.randn(1, 4, 8, 16), torch.randn(1, 2, 9, 16)
    assert _spread(query, key, key, is_masked=True)[0] is key


def test_spread_groups_give_the_attention_of_groups() -> None:
    query, key = torch.randn(1, 4, 8, 16), torch.randn(1, 2, 8, 16)
    grouped = scaled_dot_product_attention(query, key, key, is_causal=True, enable_gqa=True)
    each = key.repeat_interleave(2, dim=1)
    plain = scaled_dot_product_attention(query, each, each, is_causal=True)
    torch.testing.assert_close(grouped, plain)


def test_a_window_is_masked_where_the_keys_are() -> None:
    mask = _visible(2, torch.empty(1, 1, 5, 4, device="meta"), window=3)
    assert isinstance(mask, torch.Tensor)
    assert mask.device.type == "meta"
    seen = _visible(2, torch.empty(1, 1, 5, 4), window=3)
    assert seen.int().tolist() == [[0, 1, 1, 1, 0], [0, 0, 1, 1, 1]]


def test_queries_at_the_end_of_more_keys_are_asked_for_as_torch_itself_asks() -> None:
    key = torch.empty(1, 2, 16, 64)
    for queries, is_square in ((16, True), (8, False), (1, False)):
        query = torch.empty(1, 4, queries, 64)
        assert asked(query, key, key).is_causal == is_square
        assert asked(query, key, key).enable_gqa
        assert not asked(query[:, :2], key, key).enable_gqa


def test_a_scorer_leaves_cudnns_attention_out(tiny_model: Path) -> None:
    torch.backends.cuda.enable_cudnn_sdp(True)
    model = AutoModelForCausalLM.from_pretrained(tiny_model, attn_implementation="sdpa")
    Scorer(model, 1.0, 64)
    assert not torch.backends.cuda.cudnn_sdp_enabled()


def test_a_doctor_names_the_kernels_that_a_run_leaves_itself() -> None:
    torch.backends.cuda.enable_cudnn_sdp(True)
    attention()
    assert not torch.backends.cuda.cudnn_sdp_enabled()


def test_a_cpu_has_a_kernel_for_every_attention() -> None:
    for head in (USUAL, Head(size=64, queries=9, keys=3), Head(size=80, queries=4, keys=4)):
        for dtype in (torch.float32, torch.bfloat16):
            assert attention_kernels(head, dtype, torch.device("cpu")) == "flash"
    config = SimpleNamespace(num_attention_heads=4, hidden_size=64)
    assert head_of(config) == Head(size=16, queries=4, keys=4)
    assert head_of(SimpleNamespace(num_attention_heads=[4, 8], hidden_size=64)) is None
