"""Dialogues of a benchmark: answer by answer, all that still go on at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rvpo.benchmarks.benchmark import Benchmark, Dialogue
from rvpo.errors import DataError
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.engine import RolloutEngine
from rvpo.runtime.ranks import Ranks
from rvpo.runtime.seed import derived_seed
from rvpo.types import Prompt, Sample

PromptRefusal = Callable[[Prompt], str]
"""Gives the reason that a prompt cannot be answered; empty where it can."""


def never(prompt: Prompt) -> str:
    """Reason that no prompt is refused for: none."""
    return ""


def refusal_of(benchmark: Benchmark, encoder: Encoder) -> PromptRefusal:
    """Reasons of a model: its template does not take the prompt, or its context has no room."""
    tokens = benchmark.config.sampling.max_completion_tokens

    def refusal(prompt: Prompt) -> str:
        try:
            encoder.check_lengths([prompt], tokens)
        except DataError as error:
            return str(error)
        return ""

    return refusal


def go_on(
    benchmark: Benchmark,
    engine: RolloutEngine,
    talks: Mapping[int, Dialogue],
    first: Mapping[int, Sample],
    ranks: Ranks,
    seed: int,
    refusal: PromptRefusal,
) -> dict[int, list[Sample]]:
    """The answers of each dialogue, from its first on. Every rank must call, and generates as often
    as the one whose dialogues last longest.

    Args:
        talks: this rank's.
        first: the first answer of each.
        seed: each further round of answers has one of its own.
    """
    said = {n: [sample] for n, sample in first.items()}
    prompts = {n: talks[n].answer(sample.seen(benchmark.sees)) for n, sample in first.items()}
    rounds = 0
    while True:
        asked = {n: prompt for n, prompt in prompts.items() if prompt is not None}
        for n, reason in [(n, refusal(prompt)) for n, prompt in asked.items()]:
            if reason:
                talks[n].break_off(reason)
                del asked[n]
        if not ranks.any(bool(asked)):
            return said
        rounds += 1
        rollout = engine.generate(
            list(asked.values()),
            1,
            derived_seed(seed, "dialogue", rounds),
            sampling=benchmark.config.sampling,
        )
        prompts = {}
        for n, sample in zip(asked, rollout.samples, strict=True):
            said[n].append(sample)
            prompts[n] = talks[n].answer(sample.seen(benchmark.sees))
