"""The memory of a rank, by part, from the shape of the model and the settings alone.

An estimate of the two moments that take most: generating, when the engine is awake, and the
backward pass of the largest micro-batch, when it sleeps. Sizes are in bytes unless they say GiB.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from rvpo.config.run import RunConfig, VllmConfig
from rvpo.plan.shape import ModelShape
from rvpo.trainer.zero import GATHER_ELEMENTS

GIB = 2**30

_LIVE_ELEMENTS = 1_000_000_000  # DeepSpeed's stage3_max_live_parameters
_REDUCE_ELEMENTS = 500_000_000  # its reduce_bucket_size
_LOGIT_BYTES = 16  # logits as computed, in fp32, the copies that softmax and gradient need
_CONTEXT = 2 * GIB  # CUDA context, NCCL, what the allocator cannot use; on a CPU, the libraries
_ASLEEP = 1 * GIB  # what vLLM keeps on a GPU while it sleeps
_PROFILED = 1.5 * GIB  # what vLLM sets aside for its own activations


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
    wide = 2 if config.model.precision == "bf16" else 4  # bytes of a weight that computes
    shard = shape.parameters / place.ranks
    offloaded = update.offload_optimizer and place.device is not None
    live = min(shape.parameters, _LIVE_ELEMENTS)
    row = longest_row(config, place)
    engine, resting = _engine(config, shape, wide, place.device)
    return MemoryParts(
        weights=wide * shard,
        # Gradients are summed in fp32; with the optimizer they move to the CPU.
        gradients=0 if offloaded else 4 * shard,
        optimizer=0 if offloaded else 12 * shard,
        reference=wide * shard if update.beta > 0 else 0,
        gathered=wide * (live + shape.largest + _REDUCE_ELEMENTS + GATHER_ELEMENTS),
        activations=_activations(config, shape, wide, row),
        # The gradient of the output layer is summed over the chunks in fp32.
        logits=_LOGIT_BYTES * min(update.logits_chunk, row) * shape.vocabulary
        + (4 + wide) * shape.vocabulary * shape.hidden,
        engine=engine,
        resting=resting,
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


def kv_tokens(config: RunConfig, shape: ModelShape, device: float | None) -> int:
    """Tokens for which vLLM's share of the memory has room beside the weights; may be negative."""
    engine = config.rollout.engine
    assert isinstance(engine, VllmConfig)
    wide = 2 if config.model.precision == "bf16" else 4
    if device is None:
        room: float = engine.cpu_kv_cache_gib * GIB
    else:
        room = engine.gpu_memory * device - wide * shape.parameters - _PROFILED
    return int(room // (2 * wide * shape.layers * shape.kv))


def engine_fits(config: RunConfig, shape: ModelShape, device: float | None) -> bool:
    """True where vLLM's share holds the weights and one sequence of full length."""
    engine = config.rollout.engine
    if not isinstance(engine, VllmConfig):
        return True
    longest = engine.max_context_tokens or config.rollout.max_completion_tokens
    return kv_tokens(config, shape, device) >= longest


def engine_share(config: RunConfig, shape: ModelShape, device: float) -> float:
    """The share of a GPU that vLLM needs for the weights and one sequence of full length."""
    engine = config.rollout.engine
    assert isinstance(engine, VllmConfig)
    longest = engine.max_context_tokens or config.rollout.max_completion_tokens
    lacking = longest - kv_tokens(config, shape, device)
    wide = 2 if config.model.precision == "bf16" else 4
    return engine.gpu_memory + 2 * wide * shape.layers * shape.kv * lacking / device


def host_memory(config: RunConfig, shape: ModelShape, ranks: int) -> float:
    """Bytes that GPU ranks of one machine keep in its own memory: sleeping engines, and the
    optimizer if it is offloaded."""
    wide = 2 if config.model.precision == "bf16" else 4
    engines = ranks * wide * shape.parameters if sleeps(config) else 0
    return engines + (16 * shape.parameters if config.update.offload_optimizer else 0)


def sleeps(config: RunConfig) -> bool:
    """True where vLLM gives its GPU memory away while the policy learns."""
    engine = config.rollout.engine
    return isinstance(engine, VllmConfig) and not config.rollout.staleness and not engine.devices


def checkpoint_bytes(config: RunConfig, shape: ModelShape) -> int:
    """Disk space of one checkpoint: fp32 master weights, two moments, and the weights."""
    return shape.parameters * (12 + (2 if config.model.precision == "bf16" else 4))


def model_bytes(config: RunConfig, shape: ModelShape) -> int:
    """Disk space of the saved model."""
    return shape.parameters * (2 if config.model.precision == "bf16" else 4)


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


def _engine(
    config: RunConfig, shape: ModelShape, wide: int, device: float | None
) -> tuple[float, float]:
    """Bytes of the engine while generating, and while the policy is updated."""
    engine = config.rollout.engine
    own = wide * shape.parameters
    if isinstance(engine, VllmConfig):
        if device is not None:
            share = engine.gpu_memory * device
            if engine.devices:  # on GPUs of their own
                return 0.0, 0.0
            return share, share if config.rollout.staleness else _ASLEEP
        taken = own + engine.cpu_kv_cache_gib * GIB  # it does not sleep on a CPU
        return taken, taken
    longest = engine.max_context_tokens or config.rollout.max_completion_tokens
    cache = 2 * wide * shape.layers * shape.kv * longest * engine.batch_size
    return own + cache, own
