"""The time of a step, by a model: of reading and adding up, not measured.

A decoding step reads an engine's weights once and each sample's keys and values, at the bandwidth
of the card's memory; as many samples are decoded at once as have room. An update multiplies each
token by each parameter, at a share of the card's arithmetic, while weights are gathered; the slower
of both counts. Weights travel to the engine once a step. Judges answer meanwhile, and are not
counted, nor are evaluations and checkpoints.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from rvpo.config.run import RunConfig
from rvpo.plan.adapters import adapter_parameters, stored_parameters, trained_parameters
from rvpo.plan.assumptions import Assumptions
from rvpo.plan.card import Card
from rvpo.plan.memory import Place, engine_load, engine_memory, memory
from rvpo.plan.shape import ModelShape

_FORWARD = 2
"""Operations of a parameter for one token: it is multiplied, and added up."""
_ADAM = 36
"""Bytes that an optimizer in host memory moves for each parameter: gradients and weights over the
bus, master weights and moments read and written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PacedRun:
    """A run on its GPUs, as far as its times depend on them."""

    config: RunConfig
    shape: ModelShape
    place: Place
    card: Card
    assumed: Assumptions
    prompt_tokens: float
    """Mean length of a prompt."""
    gpus: int
    """GPUs of each node on which it trains."""
    nodes: int
    """Nodes on which it trains."""
    apart: bool
    """Engines have GPUs of their own."""
    far: bool
    """These are on other nodes."""

    @property
    def rate(self) -> float:
        """Bytes a second at which a GPU gets weights from the others that train."""
        between = self.assumed.network_gbit / 8 * 1e9 * self.gpus
        slower = min(self.card.link, between) if self.nodes > 1 else self.card.link
        return self.assumed.wire * slower

    @property
    def completion_tokens(self) -> int:
        """Mean length of a completion."""
        return self.assumed.tokens(self.config)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """Seconds of the parts of a step."""

    generate: float
    update: float
    sync: float
    """Weights on their way to the engine, and what makes room for it."""
    apart: bool
    """Engines have GPUs of their own, so that both work at the same time with staleness above 0."""

    def seconds(self, *, ahead: bool) -> float:
        """Seconds of a step; `ahead` has the next rollout made while this one is trained on."""
        both = (self.generate, self.update)
        return (max(both) if ahead and self.apart else sum(both)) + self.sync

    def an_hour(self, *, ahead: bool) -> float:
        """Steps an hour."""
        return 3600 / self.seconds(ahead=ahead)


def step_time(at: PacedRun) -> StepTime:
    """The time of a step. The engine must have a KV cache with room for one sample."""
    return StepTime(generate=_generate(at), update=_update(at), sync=_sync(at), apart=at.apart)


def _generate(at: PacedRun) -> float:
    rollout, cache = at.config.rollout, engine_memory(at.config, at.shape, at.place).cache
    assert cache is not None
    engines, each = rollout.engine.engines(at.place.ranks), rollout.engine.gpus_each()
    groups = at.assumed.slowest * rollout.sampled_prompts / engines
    samples, mean = groups * rollout.samples_per_prompt, at.completion_tokens
    at_once = min(samples, cache.at_once(math.ceil(at.prompt_tokens + mean)))
    # The last samples end one by one, the longest as a sample of its own.
    steps = samples * mean / at_once + rollout.max_completion_tokens - mean
    read = _FORWARD * at.shape.parameters * groups * at.prompt_tokens / each
    prefill = read / (at.card.flops * at.assumed.prefill)
    prefill += _meeting(at, groups * at.prompt_tokens)
    return prefill + steps * _decode(at, samples * mean / steps)


def _decode(at: PacedRun, samples: float) -> float:
    """Seconds of a decoding step of so many samples."""
    load = engine_load(at.config, at.shape, at.place)
    each = at.config.rollout.engine.gpus_each()
    bandwidth = at.assumed.memory * at.card.bandwidth
    operations = _FORWARD * at.shape.parameters / each * samples
    weights = max(
        (load.weights + load.adapters) / bandwidth,
        operations / (at.card.flops * at.assumed.prefill),
    )
    context = at.prompt_tokens + at.completion_tokens / 2  # half way
    hops = 2 * at.shape.layers * at.assumed.hop_us * 1e-6 if each > 1 else 0.0
    beside = at.assumed.step_ms * 1e-3 + hops + _meeting(at, samples)
    return weights + samples * context * load.token / bandwidth + beside


def _meeting(at: PacedRun, tokens: float) -> float:
    """Seconds in which the GPUs of one engine add up their parts of so many tokens, twice in each
    layer."""
    each = at.config.rollout.engine.gpus_each()
    sizes = 2 * at.shape.layers * at.config.model.weight_bytes * at.shape.hidden * tokens
    return 2 * (each - 1) / each * sizes / (at.assumed.wire * at.card.link)


def _update(at: PacedRun) -> float:
    rollout, update = at.config.rollout, at.config.update
    groups = rollout.prompts_per_step / at.place.ranks
    completions = rollout.samples_per_prompt * at.completion_tokens
    tokens = at.assumed.slowest * groups * (at.prompt_tokens + completions)
    seconds = max(_arithmetic(at, tokens), _wires(at, tokens))
    if not update.offload_optimizer:
        return seconds
    shard = trained_parameters(at.config, at.shape) / at.place.ranks
    times = update.epochs * update.mini_batches
    return seconds + times * _ADAM * shard / (1e9 * at.assumed.host_gb)


def _arithmetic(at: PacedRun, tokens: float) -> float:
    """Seconds in which one process multiplies its tokens."""
    update, whole = at.config.update, at.shape.parameters
    # Forward, the gradient of what came in, and that of the weights which learn.
    learns = 2 * whole + trained_parameters(at.config, at.shape)
    again = whole if update.activation_checkpointing else 0
    passes = update.epochs * (learns + again) + _extra_passes(at.config) * whole
    return _FORWARD * tokens * passes / (at.card.flops * at.assumed.mfu)


def _wires(at: PacedRun, tokens: float) -> float:
    """Seconds in which weights are gathered for each pass of each row, and gradients sent."""
    update, whole = at.config.update, stored_parameters(at.config, at.shape)
    rows = math.ceil(tokens / update.micro_batch_tokens)
    gathers = 3 if update.activation_checkpointing else 2
    learns = gathers * whole + trained_parameters(at.config, at.shape)
    elements = rows * (update.epochs * learns + _extra_passes(at.config) * whole)
    return (1 - 1 / at.place.ranks) * at.config.model.weight_bytes * elements / at.rate


def _extra_passes(config: RunConfig) -> int:
    """Forward passes beside those that learn: of the reference, and for the log-probabilities
    before the first of several updates, or before one under dropout."""
    update, lora = config.update, config.model.lora
    dropped = lora is not None and lora.dropout > 0
    return (update.beta > 0) + (dropped or update.epochs * update.mini_batches > 1)


def _sync(at: PacedRun) -> float:
    config, lora = at.config, at.config.model.lora
    sent = at.shape.parameters
    if lora is not None and lora.sync == "adapter":
        sent = adapter_parameters(config, at.shape)
    size = config.model.weight_bytes * sent
    seconds = at.assumed.sync_s + size / at.rate * (1 - 1 / at.place.ranks)
    if at.apart:  # one process sends all of it
        network = at.assumed.network_gbit / 8 * 1e9 if at.far else at.card.link
        return seconds + size / (at.assumed.wire * network)
    moved = memory(config, at.shape, at.place).moved  # there and back
    return seconds + 2 * moved / (1e9 * at.assumed.host_gb)
