"""An engine whose samples are whole episodes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from rvpo.environments import Environment, EnvironmentConfig
from rvpo.environments.opening import opening
from rvpo.errors import EngineError
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.engine import OnSample, RolloutEngine, Weights
from rvpo.rollout.episodes.bridge import Bridge
from rvpo.rollout.episodes.conversations import Conversations, Limits
from rvpo.rollout.episodes.live_episode import LiveEpisode
from rvpo.rollout.further import Further
from rvpo.runtime.event_loop import EventLoop
from rvpo.runtime.ignore import ignore
from rvpo.runtime.seed import derived_seed
from rvpo.sampling import Sampling
from rvpo.types import Prompt, Rollout, Sample


class EpisodeEngine:
    """Has a world answer what another engine samples, and that go on behind the answers.

    Args:
        engine: samples the turns; closed by whoever made it.
        environment: closed with this engine.
        sampling: the way of training.
    """

    def __init__(
        self,
        engine: RolloutEngine,
        environment: Environment,
        config: EnvironmentConfig,
        encoder: Encoder,
        sampling: Sampling,
    ) -> None:
        self._engine = engine
        self._environment = environment
        self._config = config
        self._bridge = Bridge(encoder)
        self._sampling = sampling
        self._loop = EventLoop("environments", EngineError)

    def generate(
        self,
        prompts: Sequence[Prompt],
        samples_per_prompt: int,
        seed: int,
        on_sample: OnSample = ignore,
        sampling: Sampling | None = None,
        further: Further | None = None,
    ) -> Rollout:
        """See `RolloutEngine.generate`. A sample is an episode: its tokens are those of all turns,
        and those of the world among them are given. `on_sample` hears of whole episodes."""
        rows = [prompt for prompt in prompts for _ in range(samples_per_prompt)]
        lives = self._loop.run(self._begin(rows, seed))
        whole: dict[int, Sample] = {}

        def finished(row: int, sample: Sample) -> None:
            whole[row] = sample
            on_sample(row, sample)

        talks = Conversations(lives, self._loop, self._bridge, self._limits(sampling), finished)
        rollout = self._engine.generate(
            *_asked(lives, samples_per_prompt),
            seed,
            on_sample=talks.hear,
            sampling=sampling,
            further=talks,
        )
        talks.settle()
        talks.take()
        samples = tuple(whole[row] for row in range(len(rows)))
        return replace(rollout, samples=samples, group_size=samples_per_prompt)

    def load_weights(self, weights: Weights, version: int) -> None:
        """See `RolloutEngine.load_weights`."""
        self._engine.load_weights(weights, version)

    def close(self) -> None:
        """End the environment. Calling it twice does no harm."""
        self._loop.run(self._environment.close())
        self._loop.close()

    def _limits(self, sampling: Sampling | None) -> Limits:
        return Limits(
            turns=self._config.max_turns,
            tokens=(sampling or self._sampling).max_completion_tokens,
            context=self._bridge.encoder.max_context_tokens,
            turn_seconds=self._config.seconds,
            episode_seconds=self._config.episode_seconds,
        )

    async def _begin(self, rows: Sequence[Prompt], seed: int) -> list[LiveEpisode]:
        return await asyncio.gather(
            *(
                self._opened(prompt, derived_seed(seed, row, "world"))
                for row, prompt in enumerate(rows)
            )
        )

    async def _opened(self, prompt: Prompt, seed: int) -> LiveEpisode:
        session = self._environment.session(prompt, seed)
        told = await asyncio.wait_for(session.begin(), self._config.seconds)
        return LiveEpisode(opening(prompt, told), session)


def _asked(lives: Sequence[LiveEpisode], group: int) -> tuple[Sequence[Prompt], int]:
    """The first prompts, and the samples of each: those of a group together where its worlds begin
    alike, so that the engine computes them once."""
    first = [live.prompt for live in lives]
    groups = [first[start : start + group] for start in range(0, len(first), group)]
    if all(prompt.messages == each[0].messages for each in groups for prompt in each):
        return [each[0] for each in groups], group
    return first, 1
