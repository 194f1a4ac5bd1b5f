"""Turns that arise while transformers generates: in rounds, each row as long as it may be."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from rvpo.rollout import TransformersConfig
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.transformers_engine import TransformersEngine
from rvpo.sampling import Sampling
from rvpo.types import Prompt, Sample
from tests.fakes import make_prompt
from tests.rollout.talking import Talking, check_all_turns
from tests.rollout.test_generation_defaults import policy_logprobs

CONTEXT = 160


def engine_of(folder: Path, model: Any = None, batch_size: int = 5, **limits: Any) -> Any:
    model = model or AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    engine = TransformersEngine(
        model,
        Encoder.from_model(str(folder), trust_remote_code=False, max_context_tokens=CONTEXT),
        TransformersConfig(batch_size=batch_size),
        sampling=Sampling(temperature=1.0, max_completion_tokens=20, **limits),
    )
    engine.load_weights(model.state_dict().items(), 0)
    return engine


def talked(
    engine: Any, turns: list[int], delays: Mapping[tuple[int, int], float] | None = None
) -> list[list[Sample]]:
    """The samples of each row, turn by turn."""
    with closing(Talking(turns, delays, most=most)) as talk:
        prompts = [make_prompt(f"p/{row}") for row in range(len(turns))]
        rollout = engine.generate(prompts, 1, seed=3, on_sample=talk.hear, further=talk)
    check_all_turns(talk, turns, rollout.samples)
    return [talk.of_row(row) for row in range(len(turns))]


def most(row: int, turn: int) -> int:
    return 1 + (7 * row + 5 * turn) % 19


@pytest.mark.parametrize("limits", [{}, {"top_k": 9}, {"stop": ("a", "e", "t")}])
def test_each_row_of_a_batch_is_cut_off_at_its_own_length(
    tiny_model: Path, limits: dict[str, Any]
) -> None:
    plain = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    engine = engine_of(tiny_model, **limits)
    cut = 0
    for row, samples in enumerate(talked(engine, [3] * 7)):
        for turn, sample in enumerate(samples):
            length = len(sample.completion_ids)
            longest = most(row, turn) if turn else 20
            assert len(sample.logprobs) == length <= longest
            assert (sample.finish_reason == "length") <= (length == longest)
            cut += turn > 0 and sample.finish_reason == "length"
            if "top_k" in limits:
                assert sample.supports is not None
                assert list(sample.supports[1]) == [9] * length
                assert len(sample.supports[0]) == 9 * length
                continue
            known = policy_logprobs(plain, sample.prompt_ids, sample.completion_ids, 1.0)
            torch.testing.assert_close(torch.tensor(sample.logprobs), known, atol=1e-4, rtol=0)
    assert cut > 3


def test_a_batch_computes_no_token_beyond_what_its_rows_may_have(tiny_model: Path) -> None:
    """Rows that have had theirs are not gone on with until some text would end them."""
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    steps: list[int] = []
    model.register_forward_hook(lambda *_: steps.append(len(talk.heard)))
    engine = engine_of(tiny_model, model, batch_size=8, stop=tuple(ascii_lowercase))
    with closing(Talking([2] * 8, most=lambda row, turn: 1 if row else 90)) as talk:
        engine.generate([make_prompt()], 8, seed=3, on_sample=talk.hear, further=talk)
    longest = len(talk.of_row(0)[1].completion_ids)
    assert 1 < longest < 90
    assert steps.count(8) == longest


def test_rows_that_do_not_fit_beside_one_another_are_batches_of_their_own(
    tiny_model: Path,
) -> None:
    """A model with a place for each token of its context, and for none behind it."""
    vocabulary = AutoModelForCausalLM.from_pretrained(tiny_model).config.vocab_size
    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=vocabulary, n_positions=CONTEXT, n_embd=32, n_layer=1, n_head=2)
    )
    engine = engine_of(tiny_model, model)
    prompts = [make_prompt("long", "1" * 90), make_prompt("short", "1")]
    with closing(Talking([2, 2], most=lambda row, turn: 100 if row else 8)) as talk:
        rollout = engine.generate(prompts, 1, seed=0, on_sample=talk.hear, further=talk)
    check_all_turns(talk, [2, 2], rollout.samples)
    whole = [len(s.prompt_ids) + m for s, m in zip(rollout.samples, (8, 100), strict=True)]
    assert max(whole) <= CONTEXT < len(rollout.samples[0].prompt_ids) + 100


class Counting:
    """An encoder that remembers the prompts that it made tokens of."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.encoded: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def encode(self, prompt: Prompt) -> tuple[int, ...]:
        self.encoded.append(prompt.id)
        return self._encoder.encode(prompt)


@pytest.mark.parametrize("batch_size", [2, 3, 10])
def test_a_prompt_is_encoded_once_for_its_group_and_read_in_one_pass_of_each_batch(
    tiny_model: Path, batch_size: int
) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    read: list[int] = []
    model.register_forward_pre_hook(
        lambda _, __, given: read.append(given["input_ids"].numel()), with_kwargs=True
    )
    engine = engine_of(tiny_model, model, batch_size)
    engine._encoder = counting = Counting(engine._encoder)
    prompts = [make_prompt("p/0"), make_prompt("p/1", "1 + 2 + 3?")]
    rollout = engine.generate(prompts, 5, seed=0)
    assert counting.encoded == ["p/0", "p/1"]
    widths = [len(sample.prompt_ids) for sample in rollout.samples]
    batches = [widths[start : start + batch_size] for start in range(0, 10, batch_size)]
    passes = [tokens for tokens in read if tokens > batch_size]  # the others are a token a row
    assert passes == [len(batch) * max(batch) for batch in batches]


def test_a_seed_decides_every_turn_whenever_worlds_answer(tiny_model: Path) -> None:
    turns = [1 + row % 4 for row in range(8)]
    delays = {(row, turn): 0.01 * ((3 * row + turn) % 4) for row in range(8) for turn in range(4)}
    engine = engine_of(tiny_model, batch_size=3)
    assert talked(engine, turns) == talked(engine, turns, delays)
