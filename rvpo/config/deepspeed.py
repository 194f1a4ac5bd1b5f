"""Settings of DeepSpeed that users may give, and those that rvpo decides or cannot work with.

Every setting that DeepSpeed reads is in one of the two tables. Read without importing DeepSpeed.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from rvpo.fields import (
    COUNT,
    FLAG,
    NUMBER,
    SIZE,
    TABLE,
    TEXT,
    WHOLE,
    OptionKind,
    PassedOn,
    by_kind,
    by_reason,
)

_ZERO: Final = "zero_optimization"
_IN_MEMORY: Final = OptionKind(
    "a table whose device is cpu or none, as all weights go to the engine after each step, and "
    "`rvpo plan` counts no disk for them",
    lambda value: isinstance(value, dict) and value.get("device") in (None, "cpu", "none"),
)
_ALLOWED = (
    (TABLE, f"{_ZERO} aio comms_logger timers"),
    (TEXT, "communication_data_type log_level"),
    (COUNT, "steps_per_print"),
    (FLAG, "dump_state memory_breakdown wall_clock_breakdown"),
)
_ALLOWED_ZERO = (
    (TABLE, "leaf_module"),
    (_IN_MEMORY, "offload_param"),
    (
        FLAG,
        "contiguous_gradients enable_sanity_checks log_trace_cache_warnings "
        "memory_efficient_linear overlap_comm override_module_apply reduce_scatter "
        "stage3_allgather_sequential stage3_use_all_reduce_for_fetch_params "
        "zero_quantized_gradients zero_quantized_weights",
    ),
    (COUNT, "zero_hpz_partition_size"),
    (
        NUMBER,
        "stage3_max_live_parameters stage3_max_reuse_distance stage3_model_persistence_threshold "
        "stage3_param_persistence_threshold stage3_prefetch_bucket_size",
    ),
    (SIZE, "reduce_bucket_size sub_group_size"),
    (WHOLE, "stage3_module_granularity_threshold"),
)
_REFUSED = {
    "write rollout.prompts_per_step, update.mini_batches and update.micro_batch_tokens": (
        "train_batch_size train_micro_batch_size_per_gpu gradient_accumulation_steps "
        "managed_gradient_accumulation dataloader_drop_last"
    ),
    "write update.lr, betas and weight_decay; training is by AdamW": (
        "optimizer zero_allow_untested_optimizer zero_force_ds_cpu_optimizer"
    ),
    "write update.schedule and update.warmup_fraction": "scheduler",
    "write update.max_grad_norm": "gradient_clipping sparse_gradients",
    "write model.precision": "bf16 bfloat16 fp16 amp torch_autocast",
    "gradients are summed in fp32, as small ones would be lost in bf16": "data_types",
    "the loss is scaled for gradients that are a mean over all ranks": (
        "gradient_allreduce_op gradient_predivide_factor prescale_gradients disable_allgather"
    ),
    "write update.activation_checkpointing": "activation_checkpointing",
    "write checkpoint; rvpo decides how checkpoints are written and read": (
        "checkpoint datastates_ckpt nebula"
    ),
    "write report.trackers": "tensorboard wandb csv_monitor comet",
    "rvpo reports tokens_per_second/* and mfu/*, and patched layers would not be scored": (
        "flops_profiler"
    ),
    "training has one model, whole on each rank while it computes": (
        "pipeline tensor_parallel expert_parallel use_data_before_expert_parallelism "
        "sequence_parallel_size seq_parallel_communication_data_type hybrid_engine compile "
        "vocabulary_size"
    ),
    "the weights that learn are those that the engine gets": (
        "weight_quantization quantize_training compression_training"
    ),
    "a run of many steps needs Python's garbage collection": "disable_python_gc",
    "DeepSpeed chooses nothing of the data or the batch here": "autotuning data_efficiency",
    "DeepSpeed has it no longer": (
        "eigenvalue sparse_attention elasticity graph_harvesting curriculum_learning "
        "progressive_layer_drop"
    ),
}
_REFUSED_ZERO = {
    "weights, gradients and optimizer are always sharded, which is stage 3": "stage",
    "write update.offload_optimizer": (
        "offload_optimizer cpu_offload cpu_offload_use_pin_memory zenflow"
    ),
    "write zero_optimization.offload_param: {device: cpu}": "cpu_offload_param",
    "stage 3 does not read it": (
        "allgather_bucket_size allgather_partitions ignore_unused_parameters legacy_stage1 "
        "parameter_alignment round_robin_gradients use_multi_rank_bucket_allreduce"
    ),
    "the norm of the gradient is a metric, and shows where an update must not be applied": (
        "compute_grad_norm"
    ),
    "rvpo decides how checkpoints and models are written and read": (
        "elastic_checkpoint load_from_fp32_weights pipeline_loading_checkpoint "
        "stage3_gather_16bit_weights_on_model_save stage3_gather_fp16_weights_on_model_save"
    ),
    "training is by AdamW": "save_muon_momentum_buffer_in_memory",
    "the reference model must give what the policy gave at first": (
        "zero_quantized_nontrainable_weights"
    ),
    "DeepSpeed has it no longer": (
        "mics_shard_size mics_hierarchical_params_gather zeropp_loco_param"
    ),
}


def _below(names: dict[str, str]) -> dict[str, str]:
    return {f"{_ZERO}.{name}": reason for name, reason in names.items()}


DEEPSPEED_OPTIONS: Final = PassedOn(
    "DeepSpeed",
    MappingProxyType(
        by_kind(_ALLOWED)
        | {f"{_ZERO}.{name}": kind for name, kind in by_kind(_ALLOWED_ZERO).items()}
    ),
    MappingProxyType(by_reason(_REFUSED) | _below(by_reason(_REFUSED_ZERO))),
)
"""The options of `update.deepspeed`."""
