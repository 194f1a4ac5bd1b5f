"""Objects as worlds in rollouts of a real engine."""

from __future__ import annotations

import asyncio

import pytest
from transformers import AutoModelForCausalLM

from rvpo.environments import PythonConfig
from rvpo.environments.opening import opening
from rvpo.rewards.environment import get_reward
from rvpo.rollout import TransformersConfig
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.episodes.engine import EpisodeEngine
from rvpo.rollout.transformers_engine import TransformersEngine
from rvpo.sampling import Sampling
from rvpo.types import Failed, Rollout
from tests.environments.trl_examples import Counter, reached
from tests.fakes import make_prompt
from tests.tiny import save_tiny_model


@pytest.fixture(scope="module")
def rollout(tmp_path_factory: pytest.TempPathFactory) -> Rollout:
    model = save_tiny_model(tmp_path_factory.mktemp("worlds") / "model")
    encoder = Encoder.from_model(str(model), trust_remote_code=False, max_context_tokens=300)
    sampling = Sampling(temperature=1.0, max_completion_tokens=20)
    policy = AutoModelForCausalLM.from_pretrained(model)
    engine = TransformersEngine(
        policy, encoder, TransformersConfig(batch_size=4), sampling=sampling
    )
    engine.load_weights(policy.state_dict().items(), version=0)
    config = PythonConfig(factory="tests.environments.trl_examples:Counter")
    episodes = EpisodeEngine(engine, config.open(), config, encoder, sampling)
    prompts = [make_prompt("n/0", target=0), make_prompt("n/1", target=7)]
    found = episodes.generate(prompts, 2, seed=0)
    episodes.close()
    texts = [encoder.tokenizer.decode(sample.prompt_ids) for sample in found.samples]
    assert ["Stop at 0." in text for text in texts] == [True, True, False, False]
    return found


def test_what_reset_returns_stands_at_the_end_of_the_prompt(rollout: Rollout) -> None:
    assert [sample.prompt.messages[-1]["content"] for sample in rollout.samples[1:3]] == [
        "What is 1 + 2? Stop at 0.",
        "What is 1 + 2? Stop at 7.",
    ]


def test_rewards_are_given_the_objects_of_the_episodes(rollout: Rollout) -> None:
    worlds = [sample.episode.state for sample in rollout.samples if sample.episode is not None]
    assert all(isinstance(world, Counter) for world in worlds)
    assert len({id(world) for world in worlds}) == 4
    assert reached(worlds) == [1.0, 1.0, 0.0, 0.0]


def test_a_world_may_have_the_reward_itself_sync_or_async_or_none() -> None:
    class Awaited:
        async def get_reward(self) -> float:
            return 0.25

    counter = Counter()
    counter.reset(target=0)
    assert asyncio.run(get_reward([counter, Awaited(), object()], answer=[1, 2, 3])) == [
        1.0,
        0.25,
        Failed("the world's object, of type object, has no get_reward"),
    ]


def test_text_goes_to_the_end_of_the_last_message_and_messages_go_behind_it() -> None:
    prompt = make_prompt(content="Go.")
    assert opening(prompt, " North.").messages == ({"role": "user", "content": "Go. North."},)
    told = ({"role": "user", "content": "North."},)
    assert opening(prompt, told).messages == (*prompt.messages, *told)
    assert opening(prompt, "") is opening(prompt, ()) is prompt
