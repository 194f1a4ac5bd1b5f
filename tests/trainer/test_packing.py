"""Models whose completions cannot share their prompts are known by what they are made of."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from rvpo.trainer.attention import Span, shared_prompt_attention
from rvpo.trainer.packing import _structure


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
