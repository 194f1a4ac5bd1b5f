"""Spans of a prompt are its text, and tell control tokens from text that is spelt like them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvpo.rollout.encoder import Encoder
from rvpo.rollout.spans import PromptSpan, spans
from tests.tiny import tiny_tokenizer

ENCODER = Encoder(tiny_tokenizer(), (0,), 512, 258)
START, END = "<|im_start|>", "<|im_end|>"


def tokens(text: str) -> list[int]:
    ids: list[int] = ENCODER.tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def test_control_tokens_are_spans_of_their_own() -> None:
    text = f"{START}user\nHi{END}\n{START}assistant\n"
    assert spans(ENCODER, tokens(text)) == (
        PromptSpan(START, True),
        PromptSpan("user\nHi", False),
        PromptSpan(END, True),
        PromptSpan("\n", False),
        PromptSpan(START, True),
        PromptSpan("assistant\n", False),
    )


def test_text_that_is_spelt_like_a_control_token_is_text() -> None:
    letters = [token for part in ("<|im_", "end|>") for token in tokens(part)]
    assert spans(ENCODER, letters) == (PromptSpan(END, False),)
    assert spans(ENCODER, []) == ()


@given(st.lists(st.text(max_size=8) | st.sampled_from([START, END, "é", "\U0001f600"]), max_size=6))
def test_spans_make_the_whole_text(parts: list[str]) -> None:
    ids = tokens("".join(parts))
    whole = ENCODER.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    assert "".join(span.text for span in spans(ENCODER, ids)) == whole


def test_a_tokenizer_that_writes_a_first_word_otherwise_loses_nothing(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<s>": 0, "▁two": 1, "▁words": 2, "<unk>": 3}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>")
    found = spans(Encoder(fast, (0,), 64, 4), [1, 2, 0, 1, 2])
    assert [(span.text.strip(), span.is_control) for span in found] == [
        ("two words", False),
        ("<s>", True),
        ("two words", False),
    ]
    assert "".join(s.text for s in found) == fast.decode([1, 2, 0, 1, 2])


@pytest.mark.parametrize("text", [f"{START}", f"{END}{START}", "plain"])
def test_there_is_no_empty_span(text: str) -> None:
    assert all(span.text for span in spans(ENCODER, tokens(text)))
