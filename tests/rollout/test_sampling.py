"""What the transformers engine does to logits, against the definitions in plain Python."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from rvpo.evaluate.weights import SavedWeights
from rvpo.rollout import TransformersConfig
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.logits import Penalties, TextStops, Truncation, kept
from rvpo.rollout.transformers_engine import TransformersEngine
from rvpo.types import Sample, Sampling
from tests.fakes import make_prompt
from tests.rollout.test_generation_defaults import policy_logprobs

logits = st.lists(st.integers(-40, 40).map(lambda n: n / 8), min_size=1, max_size=9)
limits = st.fixed_dictionaries(
    {
        "top_p": st.sampled_from([0.05, 0.3, 0.5, 0.9, 0.99, 1.0]),
        "top_k": st.integers(0, 10),
        "min_p": st.sampled_from([0.0, 0.01, 0.2, 0.7, 0.99]),
    }
)


def sampling(temperature: float = 1.0, most: int = 12, **limits: Any) -> Sampling:
    return Sampling(temperature=temperature, max_completion_tokens=most, **limits)


def probabilities(z: list[float], left: set[int]) -> dict[int, float]:
    total = sum(math.exp(z[i]) for i in left)
    return {i: math.exp(z[i]) / total for i in left}


def by_definition(z: list[float], own: Sampling) -> tuple[set[int], int]:
    """Tokens that can be drawn but for those whose fate the order of equal ones decides, and how
    many can be drawn."""
    p = probabilities(z, set(range(len(z))))
    left = {i for i in p if p[i] >= own.min_p * max(p.values()) - 1e-9}
    if own.top_k:
        least = sorted((z[i] for i in left), reverse=True)[: own.top_k][-1]
        left = {i for i in left if z[i] >= least}
    order = sorted(left, key=lambda i: -z[i])
    p, count, mass = probabilities(z, left), 0, 0.0
    for i in order:  # the fewest tokens that have top_p together
        if count and mass >= own.top_p - 1e-6:
            break
        mass, count = mass + p[i], count + 1
    last = z[order[count - 1]]
    return {i for i in left if z[i] > last}, count


@given(logits, limits)
@settings(deadline=None)
def test_the_fewest_likeliest_tokens_that_the_limits_allow_can_be_drawn(
    z: list[float], limits: dict[str, Any]
) -> None:
    own = sampling(**limits)
    found = {i for i, keep in enumerate(kept(torch.tensor([z]), own)[0].tolist()) if keep}
    surely, count = by_definition(z, own)
    assert surely <= found
    assert len(found) == count
    assert max(range(len(z)), key=z.__getitem__) in found or len(set(z)) < len(z)


@given(limits, st.integers(0, 99))
@settings(deadline=None, max_examples=20)
def test_the_supports_of_a_batch_are_those_of_its_rows_and_steps(
    limits: dict[str, Any], seed: int
) -> None:
    tables = torch.randn(4, 3, 8, generator=torch.Generator().manual_seed(seed))
    truncation = Truncation(sampling(**limits))
    left = [truncation(torch.zeros(3, 1), table) > -torch.inf for table in tables]
    for row, (ids, counts) in enumerate(truncation.supports()):
        expected = [step[row].nonzero()[:, 0].tolist() for step in left]
        assert list(counts) == [len(each) for each in expected]
        assert list(ids) == [i for each in expected for i in each]


@given(
    logits.filter(lambda z: len(z) > 2),
    st.lists(st.integers(0, 2), max_size=6),
    st.tuples(st.floats(0.5, 2), st.floats(-2, 2), st.floats(-2, 2)),
)
@settings(deadline=None, max_examples=40)
def test_penalties_are_for_what_was_there(
    z: list[float], drawn: list[int], penalties: tuple[float, float, float]
) -> None:
    repetition, presence, frequency = penalties
    own = sampling(
        repetition_penalty=repetition, presence_penalty=presence, frequency_penalty=frequency
    )
    penalise = Penalties(own, [[1]])
    ids = [9, 1]  # padding is no part of a prompt
    for token in drawn:
        penalise(torch.tensor([ids]), torch.tensor([z]))
        ids.append(token)
    found = penalise(torch.tensor([ids]), torch.tensor([z]))[0].tolist()
    for token, logit in enumerate(z):
        times = drawn.count(token)
        if times or token == 1:
            logit = logit / repetition if logit > 0 else logit * repetition
        expected = logit - times * frequency - (times > 0) * presence
        assert found[token] == pytest.approx(expected, abs=1e-4)


def engine_of(model: Path, own: Sampling) -> TransformersEngine:
    engine = TransformersEngine(
        AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        Encoder.from_model(str(model), trust_remote_code=False, max_context_tokens=128),
        TransformersConfig(batch_size=5),
        sampling=own,
    )
    weights = SavedWeights(str(model), torch.float32, trust_remote_code=False)
    engine.load_weights(weights, 0)
    return engine


def drawn(engine: TransformersEngine, own: Sampling | None = None) -> list[Sample]:
    prompts = [make_prompt("a", "abc"), make_prompt("b", "a longer one")]
    return list(engine.generate(prompts, 4, seed=3, sampling=own).samples)


def test_a_sample_carries_the_tokens_that_could_be_drawn_and_their_log_probabilities(
    tiny_model: Path,
) -> None:
    engine = engine_of(tiny_model, sampling(0.7, top_p=0.9, min_p=0.01))
    plain = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    for sample in drawn(engine):
        assert sample.supports is not None
        ids, counts = sample.supports
        assert len(counts) == len(sample.completion_ids)
        assert sum(counts) == len(ids)
        prompt, completion = list(sample.prompt_ids), list(sample.completion_ids)
        with torch.no_grad():
            table = plain(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
        start = 0
        for place, (token, count) in enumerate(zip(completion, counts, strict=True)):
            support = list(ids[start : start + count])
            start += count
            assert token in support
            log_p = (table[place, support] / 0.7).log_softmax(-1)[support.index(token)]
            assert sample.logprobs[place] == pytest.approx(float(log_p), abs=1e-4)


def test_neutral_limits_draw_the_same_samples_to_the_bit(tiny_model: Path) -> None:
    plain = drawn(engine_of(tiny_model, sampling(0.7)))
    neutral = sampling(0.7, top_p=1.0, top_k=0, min_p=0.0, repetition_penalty=1.0)
    assert drawn(engine_of(tiny_model, neutral)) == plain
    assert all(sample.supports is None for sample in plain)


def test_the_sampling_of_a_call_replaces_the_engines_own(tiny_model: Path) -> None:
    engine = engine_of(tiny_model, sampling(0.7, top_p=0.5, stop=("e",)))
    free, greedy, likeliest = (
        [sample.completion_ids for sample in drawn(engine, own)]
        for own in (sampling(0.7), sampling(0.0), sampling(1.3, top_k=1))
    )
    assert free == [sample.completion_ids for sample in drawn(engine_of(tiny_model, sampling(0.7)))]
    assert likeliest == greedy


def test_a_text_ends_a_completion_that_keeps_it(tiny_model: Path) -> None:
    engine = engine_of(tiny_model, sampling(1.0, 40))
    free = drawn(engine)
    counted = "".join(sample.text for sample in free)
    stop = max(filter(str.isascii, set(counted)), key=counted.count)
    ended = drawn(engine, sampling(1.0, 40, stop=(stop, "never there")))
    plain = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    stopped = [sample for sample in ended if stop in sample.text]
    assert stopped
    for sample in stopped:
        assert sample.finish_reason == "stop"
        assert sample.text.count(stop) == 1
        assert sample.text.endswith(stop)
        known = policy_logprobs(plain, sample.prompt_ids, sample.completion_ids, 1.0)
        torch.testing.assert_close(torch.tensor(sample.logprobs), known, atol=1e-4, rtol=0)


def test_a_text_is_seen_across_tokens_and_within_one(tiny_model: Path) -> None:
    encoder = Encoder.from_model(str(tiny_model), trust_remote_code=False, max_context_tokens=128)
    rows = ["to be or", "xx\n\nyy z", "never st"]
    ids = [encoder.tokenizer.encode(text, add_special_tokens=False) for text in rows]
    length = min(map(len, ids))
    stops = TextStops(["\n\n", "be "], encoder, width=2)
    heard: dict[int, int] = {}
    for n in range(1, length + 1):
        table = torch.tensor([[0, 0, *each[:n]] for each in ids])
        ended = stops(table, torch.zeros(3, 1)).tolist()
        heard |= {row: n for row, end in enumerate(ended) if end and row not in heard}
    assert heard == stops.lengths
    for row, n in heard.items():
        text = encoder.decode(ids[row][:n])
        assert any(stop in text for stop in ("\n\n", "be "))
    assert set(heard) == {0, 1}
