"""Episodes on a real engine, against the trainer that gives it its weights."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from transformers import AutoModelForCausalLM

from rvpo.environments import EnvironmentConfig, WorldReply
from rvpo.rollout import TransformersConfig
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.episodes.engine import EpisodeEngine
from rvpo.rollout.transformers_engine import TransformersEngine
from rvpo.sampling import Sampling
from rvpo.types import Message, Prompt, Sample
from tests.fakes import make_prompt
from tests.rollout.test_generation_defaults import policy_logprobs
from tests.tiny import save_tiny_model

TURN = 6


class Insisting:
    """A world that asks for more, so many times."""

    tools: tuple[Any, ...] = ()

    def __init__(self, times: int) -> None:
        self.times = times

    def session(self, prompt: Prompt, seed: int) -> InsistingSession:
        return InsistingSession(self.times)

    async def close(self) -> None:
        pass


class InsistingSession:
    state: Any = None

    def __init__(self, left: int) -> None:
        self._left = left

    async def begin(self) -> Sequence[Message]:
        return ()

    async def answer(self, message: Message) -> WorldReply:
        self._left -= 1
        return WorldReply(
            messages=({"role": "user", "content": "More?"},) if self._left >= 0 else ()
        )

    async def close(self) -> None:
        pass


class InsistingConfig(EnvironmentConfig):
    name: Literal["insisting"] = "insisting"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("episodes") / "model")


def episodes(model: Path, times: int, *, tokens: int = 150, max_turns: int = 8) -> EpisodeEngine:
    encoder = Encoder.from_model(str(model), trust_remote_code=False, max_context_tokens=300)
    # Untrained, it hardly ever ends a turn by itself.
    sampling = Sampling(
        temperature=1.0, max_completion_tokens=tokens, stop=tuple("abcdefghijklmnopqrstuvwxyz")
    )
    engine = TransformersEngine(
        AutoModelForCausalLM.from_pretrained(model),
        encoder,
        TransformersConfig(batch_size=5),
        sampling=sampling,
    )
    engine.load_weights(engine._model.state_dict().items(), version=3)
    config = InsistingConfig(max_turns=max_turns)
    return EpisodeEngine(engine, Insisting(times), config, encoder, sampling)


def test_an_episode_is_one_sequence_whose_drawn_tokens_are_as_likely_as_the_engine_says(
    model: Path,
) -> None:
    engine = episodes(model, times=2)
    prompts = [make_prompt("p/0"), make_prompt("p/1", "What is 3?")]
    heard: list[int] = []
    rollout = engine.generate(prompts, 3, seed=0, on_sample=lambda row, _: heard.append(row))
    engine.close()
    policy = AutoModelForCausalLM.from_pretrained(model)
    assert sorted(heard) == list(range(6))
    assert rollout.group_size == 3
    lengths = set()
    for sample in rollout.samples:
        assert sample.episode is not None
        lengths.add(len(sample.episode.turns))
        expected = policy_logprobs(policy, sample.prompt_ids, sample.completion_ids, 1.0)
        for place, (own, its) in enumerate(zip(sample.logprobs, expected, strict=True)):
            if place in sample.given:
                assert own == 0.0
            else:
                assert own == pytest.approx(float(its), abs=1e-4)
        assert sample.policy_version == 3
    assert max(lengths) == 5  # three turns of the policy, two of the world


def test_the_world_speaks_between_the_turns_in_the_words_of_the_template(model: Path) -> None:
    engine = episodes(model, times=1)
    rollout = engine.generate([make_prompt()], 4, seed=1)
    engine.close()
    tokenizer = engine._bridge.encoder.tokenizer
    whole = [s for s in rollout.samples if s.episode and len(s.episode.turns) == 3]
    assert whole
    for sample in whole:
        assert sample.episode is not None
        said = [turn for turn in sample.episode.turns if not turn.is_policy]
        text = tokenizer.decode(sample.completion_ids[said[0].start : said[0].stop])
        assert text.endswith("<|im_start|>user\nMore?<|im_end|>\n<|im_start|>assistant\n")
        assert sample.episode.ending == "answered"


class Dawdling(InsistingSession):
    """Takes its time, another one every time."""

    def __init__(self, left: int, begins_after: float) -> None:
        super().__init__(left)
        self._begins_after = begins_after

    async def begin(self) -> Sequence[Message]:
        await asyncio.sleep(self._begins_after)
        return ()

    async def answer(self, message: Message) -> WorldReply:
        await asyncio.sleep(random.uniform(0, 0.02))
        return await super().answer(message)


def test_the_same_seed_gives_the_same_episodes_to_the_bit_however_fast_the_world_is(
    model: Path,
) -> None:
    def rolled(first_begins_after: float = 0.0) -> list[Sample]:
        engine = episodes(model, times=3)
        world = engine._environment
        delays = iter([first_begins_after])
        world.session = lambda prompt, seed: Dawdling(3, next(delays, 0.0))  # type: ignore[method-assign]
        prompts = [make_prompt("p/0"), make_prompt("p/1", "What is 3?")]
        rollout = engine.generate(prompts, 4, seed=5)
        engine.close()
        return list(rollout.samples)

    assert rolled() == rolled()
    assert rolled() == rolled(first_begins_after=1.2)
