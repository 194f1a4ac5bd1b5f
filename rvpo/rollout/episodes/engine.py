"""An engine whose samples are whole episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from rvpo.environments import Environment, EnvironmentConfig, ToolFailed
from rvpo.errors import EngineError
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.engine import OnSample, RolloutEngine, Weights
from rvpo.rollout.episodes.bridge import Bridge
from rvpo.rollout.episodes.conversations import Conversations
from rvpo.rollout.episodes.deadline import WorldBroken, in_words, within
from rvpo.rollout.episodes.limits import EpisodeLimits
from rvpo.rollout.episodes.live_episode import LiveEpisode
from rvpo.rollout.episodes.scribe import Scribe
from rvpo.rollout.episodes.served_scribe import ServedScribe
from rvpo.rollout.episodes.worlds import Worlds
from rvpo.rollout.further import Further
from rvpo.runtime.event_loop import EventLoop
from rvpo.runtime.ignore import ignore
from rvpo.sampling import Sampling
from rvpo.types import Prompt, Rollout, Sample

_TOGETHER_S: Final = 1.0
"""Seconds that first turns wait for one another, to be asked in groups; later ones come by
themselves, or are waited for by an engine whose samples depend on those beside them."""
_PATIENCE_S: Final = 60.0
"""Seconds that code of others may hold up the event loop, beyond what a turn may take."""
_END_S: Final = 5.0
"""Seconds that the loop may take to tell that an environment was closed, or was not."""


class EpisodeEngine:
    """Has a world answer what another engine samples, and that go on behind the answers.

    Args:
        engine: samples the turns; closed by whoever made it.
        environment: closed with this engine.
        sampling: the way of training.
        say: hears once of an episode that the chat template would have written otherwise, of one
            without a score, and of a world that failed to close.
        as_served: true to ask as whoever has the model served, see `ServedScribe`, for samples that
            nothing is trained on.
    """

    def __init__(
        self,
        engine: RolloutEngine,
        environment: Environment,
        config: EnvironmentConfig,
        encoder: Encoder,
        sampling: Sampling,
        say: Callable[[str], None] = ignore,
        *,
        as_served: bool = False,
    ) -> None:
        self._as_served = as_served
        self._engine = engine
        self._environment = environment
        self._config = config
        self._sampling = sampling
        self._loop = EventLoop("environment", EngineError)
        self._bridge = Bridge(encoder)
        self._say_rewritten, self._say_open = _once(say), _once(say)
        self._say_missing = _once(say)

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
        lives = [LiveEpisode(prompt) for prompt in prompts for _ in range(samples_per_prompt)]
        whole: dict[int, Sample] = {}

        def finished(row: int, sample: Sample) -> None:
            whole[row] = sample
            if sample.missing:
                self._say_missing(
                    f"environment: an episode of prompt {sample.prompt.id!r} has no score "
                    f"({sample.missing}); episodes/missing/… counts such episodes by their reasons"
                )
            on_sample(row, sample)

        limits = self._limits(sampling)
        talks = Conversations(
            lives,
            self._loop,
            Worlds(self._environment, self._config, self._say_open),
            ServedScribe(self._bridge, limits)
            if self._as_served
            else Scribe(self._bridge, limits, self._say_rewritten),
            limits,
            finished,
        )
        try:
            first: tuple[Sequence[Prompt], int] = (), 1
            if talks.begin(seed, _TOGETHER_S):
                talks.take()
                first = _asked(lives, samples_per_prompt)
            rollout = self._engine.generate(
                *first,
                seed,
                on_sample=talks.hear,
                sampling=sampling,
                further=talks,
            )
            talks.settle()
            talks.take()
        finally:
            talks.close()
        samples = tuple(whole[row] for row in range(len(lives)))
        made = replace(rollout.generation, world_wait=talks.waited)
        return Rollout(samples=samples, group_size=samples_per_prompt, generation=made)

    def load_weights(self, weights: Weights, version: int) -> None:
        """See `RolloutEngine.load_weights`."""
        self._engine.load_weights(weights, version)

    def close(self) -> None:
        """End the environment, or leave it behind where it does not end in time. Calling it twice
        does no harm."""
        closing = self._loop.start(within(self._config.seconds, self._environment.close, "close"))
        try:
            closing.result(self._config.seconds + _END_S)
        except (TimeoutError, ToolFailed, WorldBroken) as error:
            self._say_open(f"environment: it failed to close ({in_words(error)})")
        finally:
            closing.cancel()
            self._loop.close()

    def _limits(self, sampling: Sampling | None) -> EpisodeLimits:
        return EpisodeLimits(
            turns=self._config.max_turns,
            tokens=(sampling or self._sampling).max_completion_tokens,
            context=self._bridge.encoder.max_context_tokens,
            seconds=self._config.episode_seconds,
            patience=self._config.seconds + _PATIENCE_S,
        )


def _once(say: Callable[[str], None]) -> Callable[[str], None]:
    """Hears of many things, and says the first one."""
    left = [say]

    def tell(text: str) -> None:
        if left:
            left.pop()(text)

    return tell


def _asked(lives: Sequence[LiveEpisode], group: int) -> tuple[Sequence[Prompt], int]:
    """The first prompts, and the samples of each: those of a group together where its worlds begin
    alike, so that the engine computes them once."""
    first = [live.prompt for live in lives]
    groups = [first[start : start + group] for start in range(0, len(first), group)]
    if all(prompt.messages == each[0].messages for each in groups for prompt in each):
        return [each[0] for each in groups], group
    return first, 1
