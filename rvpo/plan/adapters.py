"""The size of LoRA's adapters, and of what is trained."""

from __future__ import annotations

from collections.abc import Iterator

from rvpo.config.run import RunConfig
from rvpo.plan.shape import Linear, ModelShape
from rvpo.rollout.lora_config import ALL_LINEAR, LoraConfig
from rvpo.rollout.servers.command import ADAPTER_RANKS


def adapted(lora: LoraConfig, shape: ModelShape) -> tuple[Linear, ...]:
    """The linear layers that get an adapter."""
    if lora.targets == ALL_LINEAR:
        return shape.linears
    return tuple(x for x in shape.linears if any(_is_named(x, name) for name in lora.targets))


def unmatched(lora: LoraConfig, shape: ModelShape) -> Iterator[str]:
    """Targets that are no linear layer of the model."""
    for name in () if lora.targets == ALL_LINEAR else lora.targets:
        if not any(_is_named(linear, name) for linear in shape.linears):
            yield name


def _is_named(linear: Linear, name: str) -> bool:
    return f".{linear.path}".endswith(f".{name}")


def trained_parameters(config: RunConfig, shape: ModelShape) -> int:
    """Parameters that the optimizer moves: all, or those of the adapters."""
    lora = config.model.lora
    if lora is None:
        return shape.parameters
    return lora.rank * sum(each.count * each.ends for each in adapted(lora, shape))


def adapter_parameters(config: RunConfig, shape: ModelShape) -> int:
    """Parameters beside those of the model; 0 where all weights are trained."""
    return 0 if config.model.lora is None else trained_parameters(config, shape)


def served_adapters(config: RunConfig, shape: ModelShape) -> int:
    """Elements of the room that an engine makes for an adapter, for every linear layer be it a
    target or not; 0 where it gets whole weights."""
    lora = config.model.lora
    if lora is None or lora.sync == "merged":
        return 0
    rank = next((rank for rank in ADAPTER_RANKS if rank >= lora.rank), lora.rank)
    return rank * sum(each.count * each.ends for each in shape.linears)


def _packed(config: RunConfig, shape: ModelShape) -> int:
    """Weights of the layers that `model.base_bits` packs: all linear ones but the output layer."""
    if config.model.base_bits is None:
        return 0
    return sum(each.count * each.inputs * each.outputs for each in shape.linears)


def stored_parameters(config: RunConfig, shape: ModelShape) -> float:
    """Elements of the type that computes in which the weights of a model lie, several weights in
    one where they are packed."""
    packed, wide = _packed(config, shape), config.model.weight_bytes
    return shape.parameters - packed + packed * (config.model.base_bits or 0) / 8 / wide


def scale_bytes(config: RunConfig, shape: ModelShape) -> float:
    """Bytes of the scales of packed weights, which each rank has whole: a byte for each 64 of them,
    and a number in fp32 for 256 such bytes."""
    return _packed(config, shape) * (1 + 4 / 256) / 64


def unpacked_bytes(config: RunConfig, shape: ModelShape) -> int:
    """Bytes of the largest packed layer when it is unpacked to compute with."""
    if config.model.base_bits is None:
        return 0
    largest = max((each.inputs * each.outputs for each in shape.linears), default=0)
    return config.model.weight_bytes * largest
