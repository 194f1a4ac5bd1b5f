"""The memory of a rank, by part, from the shape of the model and the settings alone.

An estimate of the moments that take most: when the engine has started, while a checkpoint is read,
while the engine takes new weights, while it generates, and in the update, at the backward pass of
the largest micro-batch or when the optimizer moves. Sizes are in bytes unless they say GiB.
"""

from __future__ import annotations

from dataclasses import dataclass

from rvpo.config.run import RunConfig
from rvpo.plan.adapters import (
    adapted,
    adapter_parameters,
    scale_bytes,
    served_adapters,
    stored_parameters,
    trained_parameters,
    unpacked_bytes,
)
from rvpo.plan.shape import ModelShape
from rvpo.plan.sharding import Sharding
from rvpo.rollout.memory import EngineLoad, EngineMemory
from rvpo.trainer.optimizers import OPTIMIZERS
from rvpo.trainer.zero import GATHER_ELEMENTS, state_bytes

GIB = 2**30

_LOGIT_BYTES = 16  # logits as computed, in fp32, the copies that softmax and gradient need
_CUDA = 0.75 * GIB  # CUDA's context, with the libraries of its kernels
_NCCL = 1 * GIB  # NCCL's buffers, where there are several ranks
_LIBRARIES = 2 * GIB  # of a process on a CPU
RESERVE = 0.02  # share of a GPU's memory in gaps that an allocator cannot use


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Place and work of a rank."""

    ranks: int
    prompt_tokens: int
    """Tokens of the longest prompt."""
    device: float | None
    """Memory of a GPU in bytes; None on a CPU."""
    judge: float = 0.0
    """Bytes that served judges take of the same GPU."""
    judges: int = 1
    """Number of those judges, each a process with a context of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryParts:
    """Memory that one rank holds, in bytes."""

    weights: float
    reference: float
    optimizer: float
    """The fp32 weights that the optimizer moves, and its two moments."""
    gradients: float
    buffers: float
    """Gradients on their way to the rank that sums them."""
    moved: float
    """Part of optimizer, gradients and buffers that is on the GPU only in the update and while a
    checkpoint is read, and makes room for the engine otherwise."""
    read: float
    """A second copy of the moments while a checkpoint is read."""
    gathered: float
    activations: float
    logits: float
    flattened: float
    """A second copy of gradients while the optimizer moves."""
    sent: float
    """Weights on their way to the engine."""
    engine: float
    """Memory of the engine while generating."""
    loading: float
    """Memory of the engine while it takes new weights."""
    resting: float
    """Memory of the engine while the policy is updated."""
    judge: float
    """Memory of a judge served on the same device."""
    context: float
    reserve: float
    """Memory that nothing can use."""

    @property
    def held(self) -> float:
        """Memory held at all times but for what is `moved`."""
        state = self.weights + self.reference + self.optimizer + self.gradients + self.buffers
        return state + self.judge + self.context + self.reserve

    @property
    def start(self) -> float:
        """Memory when the engine has started, and has not slept yet."""
        return self.held - self.moved + self.engine

    @property
    def resume(self) -> float:
        """Memory while a checkpoint is read."""
        return self.held + self.read + self.resting

    @property
    def sync(self) -> float:
        """Memory while the engine takes new weights."""
        return self.held - self.moved + self.loading + self.sent

    @property
    def rollout(self) -> float:
        """Memory while generating."""
        return self.held - self.moved + self.engine

    @property
    def update(self) -> float:
        """Memory at the height of an update."""
        backward = self.gathered + self.activations + self.logits
        return self.held + max(backward, self.flattened) + self.resting

    @property
    def peaks(self) -> dict[str, float]:
        """The memory of every moment, by its name."""
        return {
            "start": self.start,
            "resume": self.resume,
            "sync": self.sync,
            "rollout": self.rollout,
            "update": self.update,
        }

    @property
    def peak(self) -> float:
        """The memory of the moment that takes most."""
        return max(self.peaks.values())


def memory(config: RunConfig, shape: ModelShape, place: Place) -> MemoryParts:
    """Memory that one rank needs."""
    update = config.update
    wide = config.model.weight_bytes
    trained = trained_parameters(config, shape)
    shard = trained / place.ranks
    on_gpu = place.device is not None
    offloaded = update.offload_optimizer and on_gpu
    sharding = Sharding.of(update)
    stored = stored_parameters(config, shape)
    live = min(stored, sharding.live)
    # A buffer of this size is made for any model; on a CPU what is not used of it takes nothing.
    reduced = sharding.reduced if place.device else min(shape.parameters, sharding.reduced)
    row = longest_row(config, place)
    engine = engine_memory(config, shape, place)
    # All engines of a machine without GPUs, by rank.
    beside = 1.0 if on_gpu else config.rollout.engine.engines(place.ranks) / place.ranks
    # fp32 weights are themselves what the optimizer moves.
    moments = OPTIMIZERS[update.optimizer].moment_bytes
    state = 0 if offloaded else (moments + (4 if wide < 4 else 0)) * shard
    gradients = 0 if offloaded else 4 * shard  # summed in fp32, as micro-batches come
    weights = wide * _weights(stored, sharding, place) + scale_bytes(config, shape)
    adapters = wide * adapter_parameters(config, shape) / place.ranks
    return MemoryParts(
        weights=weights + adapters,
        # The reference of adapters is the model without them.
        reference=weights if update.beta > 0 and config.model.lora is None else 0,
        optimizer=state,
        gradients=gradients,
        buffers=wide * reduced,
        moved=state + gradients + wide * reduced if config.offloads(on_gpu=on_gpu) else 0,
        read=0 if offloaded else moments * shard,
        # Of what is reduced another copy is made, sorted by the ranks that it goes to.
        gathered=wide * (live + shape.largest + min(reduced, trained))
        + unpacked_bytes(config, shape),
        activations=_activations(config, shape, wide, row),
        # The gradient of an output layer that learns is summed over the chunks in fp32.
        logits=_LOGIT_BYTES * min(update.chunk(on_gpu=on_gpu), row) * shape.vocabulary
        + (0 if config.model.lora else (4 + wide) * shape.vocabulary * shape.hidden),
        flattened=0 if offloaded else 4 * min(shard, sharding.step),
        sent=_sent(config, shape, engine),
        engine=beside * engine.awake,
        loading=beside * (engine.awake if engine.loading is None else engine.loading),
        resting=beside * engine.resting,
        judge=place.judge,
        context=_context(place) + engine.context,
        reserve=RESERVE * place.device if place.device else 0,
    )


def _weights(parameters: float, sharding: Sharding, place: Place) -> float:
    """Elements of a model's weights that a rank keeps on its device."""
    again = parameters / sharding.ranks if sharding.ranks > 1 else 0
    away = sharding.on_host and place.device is not None
    return again + (0 if away else parameters / place.ranks)


def _sent(config: RunConfig, shape: ModelShape, engine: EngineMemory) -> float:
    """Bytes of a bucket of weights as gathered, as handed over, and as the engine copies them."""
    wide, lora = config.model.weight_bytes, config.model.lora
    if lora is not None and lora.sync == "adapter":
        return 3 * wide * adapter_parameters(config, shape) + engine.sending
    bucket = max(min(shape.parameters, GATHER_ELEMENTS), shape.largest)
    # A merged layer is added up in fp32, the adapter's product and the sum.
    merged = (
        2 * 4 * max((x.inputs * x.outputs for x in adapted(lora, shape)), default=0) if lora else 0
    )
    return 3 * wide * bucket + merged + engine.sending


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


def engine_load(config: RunConfig, shape: ModelShape, place: Place) -> EngineLoad:
    """The sizes that each GPU of an engine is to hold."""
    wide, rollout = config.model.weight_bytes, config.rollout
    each = rollout.engine.gpus_each()
    return EngineLoad(
        width=wide,
        weights=wide * shape.parameters / each,
        adapters=wide * served_adapters(config, shape),
        # Heads are divided among GPUs; where there are fewer, each GPU has one whole.
        token=2 * wide * shape.layers * max(shape.kv // each, shape.kv // shape.kv_heads),
        # What goes into the feed-forward part and comes out of it, and the two halves inside.
        activations=wide * 3 * (shape.hidden + shape.intermediate // each),
        logits=(wide + 8) * shape.vocabulary,
        prompt_tokens=place.prompt_tokens,
        completion_tokens=rollout.max_completion_tokens,
        context_tokens=shape.context,
        device=place.device,
        concurrent=rollout.staleness > 0,
    )


def engine_memory(config: RunConfig, shape: ModelShape, place: Place) -> EngineMemory:
    """The memory of one engine, by its own account."""
    return config.rollout.engine.memory(engine_load(config, shape, place))


def rollout_samples(config: RunConfig, place: Place) -> int:
    """Samples that one engine makes in a step."""
    rollout = config.rollout
    engines = max(1, rollout.engine.engines(place.ranks))
    return rollout.sampled_prompts * rollout.samples_per_prompt // engines


@dataclass(frozen=True, slots=True, kw_only=True)
class HostParts:
    """Bytes that GPU ranks of one machine keep in its own memory, by what they are for."""

    engines: float
    """Engines that sleep, with their weights where these do not come anew."""
    optimizer: float
    """The optimizer's state, always or while an engine generates."""
    weights: float
    """Weights of the model that learns, and of its reference."""

    @property
    def total(self) -> float:
        """All of them."""
        return self.engines + self.optimizer + self.weights


def host_parts(config: RunConfig, shape: ModelShape, place: Place, ranks: int) -> HostParts:
    """The memory of a machine beside its GPUs.

    Args:
        ranks: those on the machine, of `place.ranks` over all.
    """
    weights = 0.0
    if Sharding.of(config.update).on_host:
        models = 2 if config.update.beta > 0 and config.model.lora is None else 1
        stored = stored_parameters(config, shape)
        weights = models * config.model.weight_bytes * stored / place.ranks
    return HostParts(
        engines=ranks * engine_memory(config, shape, place).host,
        optimizer=ranks * _optimizer_on_host(config, shape, place),
        weights=ranks * weights,
    )


def host_memory(config: RunConfig, shape: ModelShape, place: Place, ranks: int) -> float:
    """All bytes of `host_parts`."""
    return host_parts(config, shape, place, ranks).total


def _optimizer_on_host(config: RunConfig, shape: ModelShape, place: Place) -> float:
    """Bytes of one rank's optimizer in the machine's memory."""
    shard, update = trained_parameters(config, shape) / place.ranks, config.update
    moments = OPTIMIZERS[update.optimizer].moment_bytes
    if update.offload_optimizer:
        # Master weights and moments; gradients twice, as summed and as the optimizer reads them.
        sums, read = 4 * shard, 4 * shard
        in_turn = config.rollout.engine.takes_turns(
            on_gpu=True, concurrent=config.rollout.staleness > 0
        )
        rounded = pinned(sums) + pinned_parts(read, 4 * Sharding.of(update).step)
        return (4 + moments) * shard + (sums + read if in_turn else rounded)
    if config.offloads(on_gpu=True):
        return (moments + (4 if config.model.weight_bytes < 4 else 0)) * shard
    return 0.0


def pinned(size: float) -> int:
    """Bytes of a block of pinned memory, which torch rounds up to a power of two if it is not told
    otherwise, as a rank is that takes turns with its engine."""
    return 1 << (int(size) - 1).bit_length() if size > 1 else int(size)


def pinned_parts(size: float, part: int) -> int:
    """The same of what is kept in parts of so many bytes."""
    whole, rest = divmod(int(size), part)
    return whole * pinned(part) + pinned(rest)


def checkpoint_bytes(config: RunConfig, shape: ModelShape) -> int:
    """Disk space of one checkpoint, which has nothing of weights that stay as they are."""
    trained = trained_parameters(config, shape)
    return state_bytes(trained, config.model.weight_bytes, config.update.optimizer)


def model_bytes(config: RunConfig, shape: ModelShape) -> int:
    """Disk space of the saved model, with the adapters once more by themselves."""
    return (shape.parameters + adapter_parameters(config, shape)) * config.model.weight_bytes


def _context(place: Place) -> float:
    if place.device is None:
        return _LIBRARIES
    judges = place.judges * _CUDA if place.judge else 0
    return _CUDA + judges + (_NCCL if place.ranks > 1 else 0)


def _activations(config: RunConfig, shape: ModelShape, wide: int, row: int) -> float:
    """Bytes of one row: each layer's input if they are recomputed, else all that its backward
    needs."""
    # Per token: inputs and outputs of the projections in the type that computes, and the two norms
    # in fp32. Attention keeps no scores; a prompt's keys and values it keeps for each completion.
    inside = wide * (6 * shape.hidden + 4 * shape.kv + 4 * shape.intermediate) + 8 * shape.hidden
    inside += _beside(config, shape, wide)
    if config.update.activation_checkpointing:
        return row * (shape.layers * wide * shape.hidden + inside)
    return row * shape.layers * inside


def _beside(config: RunConfig, shape: ModelShape, wide: int) -> int:
    """Bytes of a token in a layer that the adapters keep for their gradient: what is between the
    two matrices, and their own input where some of it is left out."""
    lora = config.model.lora
    if lora is None:
        return 0
    inputs = sum(x.count * x.inputs for x in adapted(lora, shape)) if lora.dropout else 0
    between = lora.rank * sum(x.count for x in adapted(lora, shape))
    return wide * (inputs + between) // shape.layers
