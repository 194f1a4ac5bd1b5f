"""The memory of a rank, by part, from the shape of the model and the settings alone.

An estimate of the two moments that take most: generating, when the engine is awake, and the
backward pass of the largest micro-batch, when it sleeps. Sizes are in bytes unless they say GiB.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from rvpo.config.run import RunConfig
from rvpo.plan.shape import ModelShape
from rvpo.rollout.memory import EngineLoad, EngineMemory
from rvpo.trainer.zero import GATHER_ELEMENTS, state_bytes

GIB = 2**30

_LIVE_ELEMENTS = 1_000_000_000  # DeepSpeed's stage3_max_live_parameters
_REDUCE_ELEMENTS = 500_000_000  # its reduce_bucket_size
_LOGIT_BYTES = 16  # logits as computed, in fp32, the copies that softmax and gradient need
_CONTEXT = 2 * GIB  # CUDA context, NCCL, what the allocator cannot use; on a CPU, the libraries


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Place and work of a rank."""

    ranks: int
    prompt_tokens: int
    """Tokens of the longest prompt."""
    device: float | None
    """Memory of a GPU in bytes; None on a CPU."""
    judge: float = 0.0
    """Bytes that a served judge takes of the same GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryParts:
    """Memory that one rank holds, in bytes."""

    weights: float
    gradients: float
    optimizer: float
    reference: float
    gathered: float
    activations: float
    logits: float
    engine: float
    """Memory of the engine while generating."""
    resting: float
    """Memory of the engine while the policy is updated."""
    judge: float
    """Memory of a judge served on the same device."""
    context: float

    @property
    def held(self) -> float:
        """Memory held at all times."""
        shards = self.weights + self.gradients + self.optimizer + self.reference
        return shards + self.judge + self.context

    @property
    def update(self) -> float:
        """Memory at the height of an update."""
        return self.held + self.gathered + self.activations + self.logits + self.resting

    @property
    def rollout(self) -> float:
        """Memory while generating."""
        return self.held + self.engine


def memory(config: RunConfig, shape: ModelShape, place: Place) -> MemoryParts:
    """Memory that one rank needs."""
    update = config.update
    wide = config.model.weight_bytes
    shard = shape.parameters / place.ranks
    offloaded = update.offload_optimizer and place.device is not None
    live = min(shape.parameters, _LIVE_ELEMENTS)
    row = longest_row(config, place)
    engine = engine_memory(config, shape, place.device)
    return MemoryParts(
        weights=wide * shard,
        # Gradients are summed in fp32; with the optimizer they move to the CPU.
        gradients=0 if offloaded else 4 * shard,
        optimizer=0 if offloaded else 12 * shard,
        reference=wide * shard if update.beta > 0 else 0,
        gathered=wide * (live + shape.largest + _REDUCE_ELEMENTS + GATHER_ELEMENTS),
        activations=_activations(config, shape, wide, row),
        # The gradient of the output layer is summed over the chunks in fp32.
        logits=_LOGIT_BYTES
        * min(update.chunk(on_gpu=place.device is not None), row)
        * shape.vocabulary
        + (4 + wide) * shape.vocabulary * shape.hidden,
        engine=engine.awake,
        resting=engine.resting,
        judge=place.judge,
        context=_CONTEXT,
    )


def longest_row(config: RunConfig, place: Place) -> int:
    """Tokens of the longest row of an update."""
    rollout = config.rollout
    sample = place.prompt_tokens + rollout.max_completion_tokens
    group = place.prompt_tokens + rollout.samples_per_prompt * rollout.max_completion_tokens
    step = group * rollout.prompts_per_step // place.ranks
    rows = config.update.micro_batch_tokens
    # Beside a long prompt completions have a quarter of a row's length at least.
    long = min(group, place.prompt_tokens + rows // 4)
    return max(sample, long, min(rows, step))


def engine_load(config: RunConfig, shape: ModelShape, device: float | None) -> EngineLoad:
    """The sizes that the engine of one rank is to hold.

    Args:
        device: memory of a GPU in bytes; None on a CPU.
    """
    wide, rollout = config.model.weight_bytes, config.rollout
    return EngineLoad(
        weights=wide * shape.parameters,
        token=2 * wide * shape.layers * shape.kv,
        completion_tokens=rollout.max_completion_tokens,
        device=device,
        concurrent=rollout.staleness > 0,
    )


def engine_memory(config: RunConfig, shape: ModelShape, device: float | None) -> EngineMemory:
    """The memory of one rank's engine, by its own account."""
    return config.rollout.engine.memory(engine_load(config, shape, device))


def host_memory(config: RunConfig, shape: ModelShape, device: float, ranks: int) -> float:
    """Bytes that GPU ranks of one machine keep in its own memory: sleeping engines, and the
    optimizer if it is offloaded."""
    engines = ranks * engine_memory(config, shape, device).host
    return engines + (16 * shape.parameters if config.update.offload_optimizer else 0)


def checkpoint_bytes(config: RunConfig, shape: ModelShape) -> int:
    """Disk space of one checkpoint."""
    return state_bytes(shape.parameters, config.model.weight_bytes)


def model_bytes(config: RunConfig, shape: ModelShape) -> int:
    """Disk space of the saved model."""
    return shape.parameters * config.model.weight_bytes


def cures(config: RunConfig, shape: ModelShape, place: Place) -> list[str]:
    """Settings that, each alone, would make both peaks fit."""

    def fits(changed: RunConfig, ranks: int) -> bool:
        parts = memory(changed, shape, replace(place, ranks=ranks))
        assert place.device is not None
        return max(parts.update, parts.rollout) <= place.device

    def with_update(**values: object) -> RunConfig:
        return config.model_copy(update={"update": config.update.model_copy(update=values)})

    shortest = place.prompt_tokens + config.rollout.max_completion_tokens
    variants = {
        f"update.micro_batch_tokens={shortest}": with_update(micro_batch_tokens=shortest),
        "update.activation_checkpointing=true": with_update(activation_checkpointing=True),
        "update.offload_optimizer=true": with_update(offload_optimizer=True),
    }
    found = [setting for setting, changed in variants.items() if fits(changed, place.ranks)]
    prompts = config.rollout.prompts_per_step
    counts = (n for n in range(place.ranks + 1, prompts + 1) if prompts % n == 0)
    enough = next((n for n in counts if fits(config, n)), None)
    return found + ([f"{enough} such GPUs, distributed.processes={enough}"] if enough else [])


def _activations(config: RunConfig, shape: ModelShape, wide: int, row: int) -> float:
    """Bytes of one row: each layer's input if they are recomputed, else all that its backward
    needs."""
    # Per token: inputs and outputs of the projections in the type that computes, and the two norms
    # in fp32. Attention keeps no scores; a prompt's keys and values it keeps for each completion.
    inside = wide * (6 * shape.hidden + 4 * shape.kv + 4 * shape.intermediate) + 8 * shape.hidden
    if config.update.activation_checkpointing:
        return row * (shape.layers * wide * shape.hidden + inside)
    return row * shape.layers * inside
