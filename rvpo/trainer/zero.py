"""DeepSpeed ZeRO-3: every rank holds a shard of weights, gradients and optimizer state."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from rvpo.config.run import RunConfig
from rvpo.config.update import UpdateConfig
from rvpo.errors import ConfigError
from rvpo.model_files import reading_model
from rvpo.rollout.engine import Weights
from rvpo.rollout.named_weights import named_weights
from rvpo.rollout.saved_form import saved_form
from rvpo.trainer.optimizers import OPTIMIZERS
from rvpo.trainer.quantised import quantisation, settle, unpacked, whole_shape
from rvpo.trainer.savable import savable

GATHER_ELEMENTS = 64_000_000
"""Weights that are gathered whole at once when they are streamed out."""


def state_bytes(parameters: int, weight_bytes: int, optimizer: str = "adamw") -> int:
    """Disk space of a checkpoint: fp32 master weights and two moments, and the weights.

    Args:
        weight_bytes: bytes of a weight that computes.
        optimizer: name of the one whose moments they are.
    """
    return round(parameters * (4 + OPTIMIZERS[optimizer].moment_bytes + weight_bytes))


def load_model(config: RunConfig, model_path: str) -> Any:
    """A causal language model whose weights arrive sharded.

    Raises:
        ConfigError: DeepSpeed is not installed, or the path holds no such model.
    """
    # DeepSpeed would guess, and warn of its guess.
    os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")
    try:
        import deepspeed
        from transformers.integrations.deepspeed import HfDeepSpeedConfig
    except ImportError as error:
        raise ConfigError(
            f"the policy update needs DeepSpeed, which cannot be imported ({error}); "
            "install it with pip install 'rvpo[train]'"
        ) from error
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    # It would compile an operator for inference on CPUs, for a minute, which nothing here calls.
    deepspeed.ops.__compatible_ops__ = defaultdict(bool)
    deepspeed.init_distributed("nccl" if torch.cuda.is_available() else "gloo")
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    # transformers shards while loading as long as this object lives.
    adapters = config.model.lora is not None
    settings = deepspeed_settings(config.update, config.model.precision, adapters=adapters)
    sharding = HfDeepSpeedConfig(settings)  # type: ignore[no-untyped-call]
    model: Any
    loaded: dict[str, Any]
    with reading_model(model_path):
        model, loaded = AutoModelForCausalLM.from_pretrained(
            model_path,
            dtype=config.model.dtype,
            attn_implementation="sdpa",  # takes the mask of a shared prompt
            trust_remote_code=config.model.trust_remote_code,
            quantization_config=quantisation(config.model),
            output_loading_info=True,
        )  # type: ignore[misc]
    del sharding
    if loaded["missing_keys"]:
        raise ConfigError(
            f"model.path: {model_path!r} lacks {len(loaded['missing_keys'])} weights of its "
            f"config.json, {min(loaded['missing_keys'])!r} one; they would be random"
        )
    # The run samples by its own settings; these go with the saved model.
    model.generation_config, _ = savable(model_path, model.config, model.generation_config)
    _freeze_what_reads_nothing(model)
    settle(model)
    return model


def _freeze_what_reads_nothing(model: Any) -> None:
    """Leave what a model sees or hears with as it is: no token of text comes by it, and weight
    decay alone would move it."""
    halves = (model.get_decoder(), model.get_input_embeddings(), model.get_output_embeddings())
    read = {id(p) for half in halves if half is not None for p in half.parameters()}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in read)


def initialize(model: Any, config: RunConfig, *, trainable: bool) -> Any:
    """A DeepSpeed engine around the model, with an optimizer if it is to be trained."""
    import deepspeed

    from rvpo.trainer.moments import allocate_moments

    adapters = config.model.lora is not None
    settings = deepspeed_settings(config.update, config.model.precision, adapters=adapters)
    optimizer = None
    if trainable:
        optimizer = _optimizer(model, config.update)
    else:
        model.eval().requires_grad_(False)
        settings["zero_optimization"].pop("offload_optimizer", None)
    with _compiler_off():
        engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=settings)
    if engine.zero_optimization_stage() != 3:
        raise AssertionError("DeepSpeed did not shard the model")
    if trainable:
        allocate_moments(engine.optimizer, OPTIMIZERS[config.update.optimizer])
    return engine


def deepspeed_settings(
    update: UpdateConfig, precision: str, *, adapters: bool = False
) -> dict[str, Any]:
    """Settings of DeepSpeed; the micro-batches of a step are counted by the policy.

    Args:
        adapters: they are trained, and not the model's own weights.
    """
    zero: dict[str, Any] = {"stage": 3}
    if adapters:
        # In the second step DeepSpeed looks from each module at all those that follow within this
        # distance. PEFT puts eleven in the place of one, and the base is at hand where it is small.
        zero["stage3_max_reuse_distance"] = 0
    if update.offload_optimizer:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": torch.cuda.is_available()}
    ours = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "gradient_clipping": update.max_grad_norm,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "bf16": {"enabled": precision == "bf16"},
        # bf16 sums over micro-batches would lose small gradients.
        "data_types": {"grad_accum_dtype": "fp32"},
        "steps_per_print": 2**31,
    }
    return _laid_over(ours, update.deepspeed)


def _laid_over(ours: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with those given in their place, table by table; null takes nothing's place."""
    merged = dict(ours)
    for name, value in given.items():
        if isinstance(value, Mapping):
            merged[name] = _laid_over(ours.get(name, {}), value)
        elif value is not None:
            merged[name] = value
        else:
            merged.pop(name, None)
    return merged


class GatheredWeights:
    """A sharded model's weights, gathered a bucket at a time, in the same order on all ranks.
    Implements `Weights`. Tied weights come under each of their names because vLLM re-packs the
    output layer on a CPU and would keep the old one.

    Args:
        module: a model of transformers'.
    """

    def __init__(self, module: Any) -> None:
        self._module = module

    def as_saved(self) -> Weights:
        """See `Weights.as_saved`."""
        return saved_form(self, self._module)

    def layout(self) -> list[tuple[str, torch.dtype, tuple[int, ...]]]:
        """See `Weights.layout`."""
        return [(name, t.dtype, whole_shape(t)) for name, t in self._named()]

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        """See `Weights.__iter__`."""
        for bucket in _buckets(self._named()):
            with _gathered(bucket):
                # Copies, because engines keep what they get for longer than the gather lasts.
                weights = [(name, unpacked(parameter)) for name, parameter in bucket]
            _complete()  # who takes them may do so in another thread, and so in another stream
            yield from weights
        for name, constant in _constants(self._named()):
            yield name, constant.clone()

    def walk(self) -> None:
        """See `Weights.walk`."""
        for bucket in _buckets(self._named()):
            with _gathered(bucket):
                pass

    def _named(self) -> Iterator[tuple[str, Tensor]]:
        """The weights to give, in order."""
        return named_weights(self._module)


def _gathered(bucket: list[tuple[str, Any]]) -> Any:
    """Have the weights of a bucket whole, on every rank, while the block lasts."""
    import deepspeed

    return deepspeed.zero.GatheredParameters(list({id(p): p for _, p in bucket}.values()))


def _complete() -> None:
    """Wait until what this thread asked of the device is done, and for nothing that others asked:
    an exchange with a server that is gone may never end."""
    if torch.cuda.is_available():
        torch.cuda.current_stream().synchronize()


@contextmanager
def _compiler_off() -> Iterator[None]:
    """DeepSpeed imports an optimizer that nobody asked for and has torch compile it, which takes
    longer than all else that it does at the start."""
    name = "TORCHDYNAMO_DISABLE"  # torch reads it whenever it is to compile
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _buckets(named: Iterable[tuple[str, Tensor]]) -> Iterator[list[tuple[str, Any]]]:
    bucket: list[tuple[str, Any]] = []
    filled = 0
    for name, parameter in _sharded(named):
        size = math.prod(whole_shape(parameter))
        if bucket and filled + size > GATHER_ELEMENTS:
            yield bucket
            bucket, filled = [], 0
        bucket.append((name, parameter))
        filled += size
    if bucket:
        yield bucket


def _sharded(named: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """The weights that are sharded. One looks empty; what it is whole is in its `ds_`
    attributes."""
    return ((name, t) for name, t in named if hasattr(t, "ds_shape"))


def _constants(named: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """The weights that every rank has whole, which are no parameters."""
    return ((name, t) for name, t in named if not hasattr(t, "ds_shape"))


def _optimizer(model: Any, config: UpdateConfig) -> torch.optim.Optimizer:
    groups = _decayed_or_not(model, config.weight_decay)
    return OPTIMIZERS[config.optimizer].build(groups, config)


def _decayed_or_not(model: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Groups of parameters: matrices decay towards 0, norms and biases, which are vectors, do not,
    as in TRL."""
    if not weight_decay:
        return [{"params": [p for p in model.parameters() if p.requires_grad], "weight_decay": 0.0}]
    groups: dict[bool, list[Any]] = {True: [], False: []}
    for parameter in filter(lambda p: p.requires_grad, model.parameters()):
        groups[len(whole_shape(parameter)) > 1].append(parameter)
    return [
        {"params": parameters, "weight_decay": weight_decay if decays else 0.0}
        for decays, parameters in groups.items()
        if parameters
    ]
