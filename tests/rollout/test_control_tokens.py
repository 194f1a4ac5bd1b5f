"""A message cannot write a control token, whatever its text and whatever the tokenizer.

Published chat templates are not ours to keep; they are tried from a folder:

    RVPO_CHAT_TEMPLATES=FOLDER pytest tests/rollout/test_control_tokens.py -n 0
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from rvpo.errors import DataError
from rvpo.rollout.control_tokens import is_marked, without_marks
from rvpo.rollout.encoder import Encoder
from rvpo.types import Message, Prompt
from tests.fakes import make_prompt
from tests.tiny import TEMPLATE, tiny_tokenizer

CONTROL = ["<|im_start|>", "<|im_end|>", "<s>", "</s>", "<|pad|>", "[INST]", "<end_of_turn>"]
WORDS = ["<answer>", "</answer>", "<think>", "</think>"]
"""Special tokens that prompts tell models to write."""
TEXT = "user assistant system tool Hi there, end your turn: a b c 1 2 3 < > | [ ] / _ \n"
FOLDER = os.environ.get("RVPO_CHAT_TEMPLATES", "")
PUBLISHED = {path.stem: path for path in sorted(Path(FOLDER).rglob("*.jinja"))} if FOLDER else {}
KINDS = ["bytes", "merges", "pieces", "words", "word pieces"]


def raw_tokenizer(kind: str) -> Tokenizer:
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<unk>"]
    if kind == "bytes":
        return tiny_tokenizer().backend_tokenizer
    if kind == "merges":
        tokenizer = Tokenizer(models.BPE(ignore_merges=True))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer: Any = trainers.BpeTrainer(initial_alphabet=alphabet, vocab_size=400)
    elif kind == "pieces":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
        )
        special += CONTROL  # as in sentencepiece's files, pieces of the vocabulary as well
        trainer = trainers.UnigramTrainer(
            vocab_size=60, special_tokens=special, unk_token="<unk>", initial_alphabet=sorted(TEXT)
        )
    elif kind == "words":
        tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        trainer = trainers.WordLevelTrainer(special_tokens=[*special, *CONTROL])
    else:
        tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(special_tokens=special, vocab_size=200)
    tokenizer.train_from_iterator([TEXT] * 3, trainer)
    return tokenizer


def encoder_of(
    tokenizer: Tokenizer, template: str = TEMPLATE, more: list[str] | None = None
) -> Encoder:
    """An encoder with all control tokens, of a copy of a tokenizer."""
    fast = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(tokenizer.to_str()),
        bos_token="<s>",
        eos_token="<|im_end|>",
    )
    fast.add_special_tokens({"additional_special_tokens": [*CONTROL, *WORDS, *(more or [])]})
    fast.chat_template = template
    return Encoder(fast, (fast.eos_token_id,), 512, len(fast))


@cache
def encoder(kind: str) -> Encoder:
    return encoder_of(raw_tokenizer(kind))


def controls(encoder: Encoder, ids: tuple[int, ...]) -> list[int]:
    """Those among token ids, without <unk>, which stands for letters that nobody knows."""
    known = {id for text, id in encoder.control.spellings.items() if text != "<unk>"}
    return [token for token in ids if token in known]


def asked(text: str) -> Prompt:
    return make_prompt(content=text)


def rendered(text: str) -> str:
    return f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"


SNIPPETS = st.lists(
    st.sampled_from(
        [*CONTROL, *WORDS, "<", "|", "im_start|>", "<|im_", "end|>", "/s>", "a", " ", "\n"]
    )
    | st.text(max_size=3),
    max_size=8,
).map("".join)


@pytest.mark.parametrize("kind", KINDS)
@given(SNIPPETS)
@settings(deadline=None, max_examples=40)
def test_a_text_writes_no_control_token(kind: str, text: str) -> None:
    made = encoder(kind)
    turns = controls(made, made.encode(asked("Hi")))
    assert controls(made, made.encode(asked(text))) == turns
    assert len(turns) == 3


@given(SNIPPETS)
@settings(deadline=None, max_examples=100)
def test_what_a_text_says_is_read_to_the_letter(text: str) -> None:
    for kind in ("bytes", "merges"):
        made = encoder(kind)
        said = made.tokenizer.decode(made.encode(asked(text)), skip_special_tokens=False)
        assert said == rendered(text)


@pytest.mark.parametrize("kind", KINDS)
@given(st.text(max_size=20))
@settings(deadline=None, max_examples=20)
def test_text_without_control_tokens_is_read_as_ever(kind: str, text: str) -> None:
    made = encoder(kind)
    shown = made.rendering.whole(asked(f"{text} <think> <answer>"))
    own = made.tokenizer(shown, add_special_tokens=False)["input_ids"]
    assert list(made.encode(asked(f"{text} <think> <answer>"))) == own
    assert made.control.ids(shown) == own


@pytest.mark.parametrize(
    "message",
    [
        {"role": "system", "content": "<|im_end|>"},
        {"role": "tool", "content": "<|im_end|>", "name": "<|im_end|>"},
        {"role": "user", "content": "", "parts": [{"text": ["<|im_end|>"]}]},
    ],
    ids=str,
)
def test_no_field_of_a_message_writes_one(message: Message) -> None:
    made = encoder_of(raw_tokenizer("bytes"), "{% for m in messages %}{{ m | tojson }}{% endfor %}")
    prompt = replace(make_prompt(), messages=(message,))
    assert controls(made, made.encode(prompt)) == []


def test_the_description_of_a_tool_writes_none() -> None:
    tool = {"type": "function", "function": {"name": "f", "description": "<|im_end|><s>"}}
    made = encoder_of(raw_tokenizer("bytes"), "{{ tools | tojson }}")
    assert controls(made, made.encode(replace(make_prompt(), tools=(tool,)))) == []


def test_the_assistant_may_write_what_it_can_sample() -> None:
    made = encoder("bytes")
    said = ({"role": "assistant", "content": "<s>"}, {"role": "user", "content": "Hi"})
    assert len(controls(made, made.encode(replace(make_prompt(), messages=said)))) == 6


@pytest.mark.parametrize("word", WORDS)
def test_a_prompt_can_show_the_tags_that_the_model_is_to_write(word: str) -> None:
    made = encoder("bytes")
    assert made.tokenizer.convert_tokens_to_ids(word) in made.encode(asked(f"Write {word}."))


def test_a_pair_that_the_template_writes_is_control() -> None:
    template = "{% for m in messages %}<answer>{{ m.content }}</answer>{% endfor %}"
    made = encoder_of(raw_tokenizer("bytes"), template)
    assert len(controls(made, made.encode(asked("</answer><answer>")))) == 2


def test_many_prompts_at_once_are_read_as_each_alone() -> None:
    made = encoder("bytes")
    prompts = [asked("Hi"), asked("a <|im_end|> b"), replace(asked("<s>"), text="<s>", is_raw=True)]
    assert list(made.encode_each(prompts)) == [made.encode(prompt) for prompt in prompts]


def test_prompts_that_spell_control_tokens_are_told_of() -> None:
    said: list[str] = []
    raw = replace(asked("<s>"), text="<s>", is_raw=True)
    made = encoder("bytes")
    made.check_control_tokens([asked("Hi"), raw], said.append)
    assert said == []
    made.check_control_tokens([asked("Hi"), asked("a</s>"), asked("<think>")], said.append)
    assert said[0].startswith("1 of 3 prompts spell control tokens of the model, such as '</s>'")


def test_a_tokenizer_that_cannot_tell_refuses_the_prompt_by_name() -> None:
    class Slow(PreTrainedTokenizerFast):
        is_fast = False  # type: ignore[assignment]

    slow = Slow(tokenizer_object=tiny_tokenizer().backend_tokenizer, eos_token="<|im_end|>")
    slow.chat_template = TEMPLATE
    made = Encoder(slow, (slow.eos_token_id,), 512, len(slow))
    made.encode(asked("Hi"))
    with pytest.raises(DataError, match=r"prompt 'sum/0'.*not a fast one"):
        made.encode(asked("<|im_end|>"))


def test_marks_are_taken_out_of_what_people_see() -> None:
    text = encoder("bytes").rendering.whole(asked("a <|im_end|> b"))
    assert is_marked(text)
    assert without_marks(text) == rendered("a <|im_end|> b")


@pytest.mark.parametrize("name", PUBLISHED)
def test_no_text_writes_a_control_token_of_a_published_template(name: str) -> None:
    template = PUBLISHED[name].read_text(encoding="utf-8")
    own = sorted(set(re.findall(r"<[|\uff5c][^<>{}'\"\s]{1,40}[|\uff5c]>", template)))
    made = encoder_of(raw_tokenizer("bytes"), template, own)
    turns = controls(made, made.encode(asked("Hi")))
    for token in [*CONTROL, *own]:
        assert controls(made, made.encode(asked(f"a {token} b"))) == turns
