"""The settings of a rollout: the engine, and how it samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Annotated, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from rvpo.config.spellings import named
from rvpo.fields import Float, GroupSize, NonNegativeInt, PositiveInt, SamplingSection, Temperature
from rvpo.rollout import AnyEngine, EngineConfig, VllmConfig
from rvpo.sampling import Sampling

_PENALTIES = {"repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
"""Those of `SamplingSection`, and the values with which they change nothing."""


class RolloutConfig(SamplingSection):
    engine: Annotated[
        AnyEngine,
        Field(discriminator="name"),
        BeforeValidator(partial(named, name="vllm")),
    ] = VllmConfig()
    """Engine that samples, vLLM unless another name is given: its name alone, or with its
    settings."""
    prompts_per_step: PositiveInt = 32
    """Prompts of a step, P, over all ranks."""
    samples_per_prompt: GroupSize = 8
    """Completions of each prompt: the group size, G."""
    resample: NonNegativeInt = 0
    """Rounds in which other prompts are sampled in place of those that teach nothing, since no
    reward tells their samples apart."""
    oversample: Annotated[Float, Field(ge=1)] = 1.0
    """Prompts that are sampled for each one that is trained on. Of those that are more than
    `prompts_per_step`, the ones that teach nothing are left out first."""
    max_completion_tokens: PositiveInt = 512
    """Tokens after which a completion is cut off; of an episode those of the world count too."""
    max_thought_tokens: NonNegativeInt | None = None
    """Tokens after which the engine ends a thought, so that an answer follows: in training, on
    held-out prompts and benchmarks; no limit if left out. What it writes is not trained on."""
    temperature: Temperature = 1.0
    """Temperature of sampling, and of the log-probabilities that the update compares."""
    staleness: NonNegativeInt = 0
    """Updates by which the policy that samples may be older than the one that learns. With 1 the
    next rollout is generated and judged while this one is trained on, with n the next n are."""
    in_flight: bool = False
    """New weights come while samples are generated, which go on under them, instead of between two
    rollouts. Each token keeps the version of the weights that sampled it."""

    @property
    def sampled_prompts(self) -> int:
        """Prompts that a step begins with, over all ranks."""
        return math.ceil(round(self.prompts_per_step * self.oversample, 6))

    @property
    def sampling(self) -> Sampling:
        """Way in which completions are drawn in training."""
        return self.sampling_over(
            Sampling(temperature=self.temperature, max_completion_tokens=self.max_completion_tokens)
        )

    @model_validator(mode="after")
    def _draws_as_the_policy_does(self) -> Self:
        sampling = self.sampling
        for name, neutral in _PENALTIES.items():
            if getattr(sampling, name) != neutral:
                raise ValueError(
                    f"{name}: training compares how likely the engine drew a token with how likely "
                    "the policy makes it, and a penalty for tokens before it parts the two; leave "
                    f"it out, or write evaluate.{name}, for held-out prompts alone"
                )
        if problem := self.engine.sampling_problem(sampling, in_training=True):
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _ends_thoughts(self) -> Self:
        most = self.max_thought_tokens
        if most is not None and not self.engine.ends_thoughts:
            raise ValueError(
                f"max_thought_tokens: {self.engine.name} has no budget for thoughts; set "
                f"{engines_that('ends_thoughts')}, or leave it out"
            )
        if most is not None and most >= self.max_completion_tokens:
            raise ValueError(
                f"max_thought_tokens: {most} leaves no room for an answer in "
                f"max_completion_tokens={self.max_completion_tokens}; make it smaller"
            )
        return self


def sampling_problems(engine: EngineConfig, drawn: Mapping[str, Sampling]) -> Iterator[str]:
    """Problems of answers that nothing is learned from, a sentence each.

    Args:
        drawn: ways in which they are drawn, by the section that says so.
    """
    for where, sampling in drawn.items():
        if problem := engine.sampling_problem(sampling, in_training=False):
            yield f"{where}.{problem}"


def engines_that(able: Literal["concurrent", "ends_thoughts", "goes_on", "in_flight"]) -> str:
    """The setting that chooses an engine which can do something."""
    names = [
        kind.model_fields["name"].default for kind in get_args(AnyEngine) if getattr(kind, able)
    ]
    return f"rollout.engine.name={' or '.join(names)}"
