"""Arguments of vLLM that users may give, and those that rvpo decides or cannot work with.

Every argument of `vllm.LLM` is in one of the two tables. Read without importing vLLM.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from rvpo.fields import (
    COUNT,
    FLAG,
    LIST,
    NUMBER,
    SIZES,
    TABLE,
    TEXT,
    WHOLE,
    PassedOn,
    by_kind,
    by_reason,
)
from rvpo.rollout.vllm.site import Site

SEQUENCES: Final = 256
"""Sequences that decode at once beside a trainer, where nothing else is said. vLLM's own number for
servers sets memory aside for four times as many."""
BATCHED_TOKENS: Final = 8192
"""Tokens of one of its forward passes there, whose activations it sets memory aside for."""
_QUANTISED = ("quantization", "quantization_config")

_ALLOWED = (
    (
        COUNT,
        "block_size max_cudagraph_capture_size max_num_active_seqs "
        "max_num_batched_tokens max_num_scheduled_tokens max_num_seqs "
        "mamba_block_size prefix_match_unit prefill_schedule_interval replayssm_buffer_len",
    ),
    (
        WHOLE,
        "long_prefill_token_threshold optimization_level prefix_cache_retention_interval "
        "mamba_cache_philox_rounds",
    ),
    (NUMBER, "watermark"),
    (
        FLAG,
        "allow_deprecated_quantization async_scheduling disable_cascade_attn "
        "disable_hybrid_kv_cache_manager enable_chunked_prefill enable_flashinfer_autotune "
        "enable_layerwise_nvtx_tracing enable_mamba_cache_stochastic_rounding "
        "enable_mamba_shared_prefix_checkpoint enable_prefix_caching enforce_eager "
        "jit_monitor_verbose kv_sharing_fast_prefill language_model_only "
        "long_prefill_token_threshold_adaptive scheduler_reserve_full_isl skip_mm_profiling "
        "swa_bounded_replay use_fp64_gumbel use_replayssm",
    ),
    (
        TEXT,
        "attention_backend gdn_prefill_backend jit_monitor_mode kda_decode_backend "
        "kda_prefill_backend kv_cache_dtype linear_backend mamba_backend mamba_cache_dtype "
        "mamba_cache_mode mamba_ssm_cache_dtype mamba_ssu_algorithm model_impl moe_backend "
        "performance_mode prefix_caching_hash_algo quantization scheduling_policy "
        "sparse_indexer_topk_backend",
    ),
    (LIST, "kv_cache_dtype_skip_layers"),
    (SIZES, "cudagraph_capture_sizes"),
    (
        TABLE,
        "attention_config compilation_config ir_op_priority kernel_config limit_mm_per_prompt "
        "mamba_config quantization_config",
    ),
)
_REFUSED = {
    "write model.path, which the trainer reads too": "model model_weights",
    "rvpo gives vLLM token ids, from the tokenizer of model.path": "tokenizer tokenizer_mode "
    "tokenizer_revision skip_tokenizer_init tokens_only enable_prompt_embeds chat_template "
    "renderer_num_workers io_processor_plugin",
    "write model.precision, which is the trainer's too": "dtype",
    "write model.trust_remote_code": "trust_remote_code",
    "write seed, from which the engine's is derived": "seed",
    "write rollout.engine.gpu_memory, or cpu_kv_cache_gib on a CPU, which `rvpo plan` counts": (
        "gpu_memory_utilization kv_cache_memory_bytes num_gpu_blocks_override"
    ),
    "write rollout.engine.max_context_tokens, which the prompts are checked by": "max_model_len",
    "write rollout.engine.devices": "device_ids",
    "write distributed.patience_minutes": (
        "distributed_timeout_seconds cpu_distributed_timeout_seconds"
    ),
    "the engine has to be the model that learns, so change the files of model.path instead": (
        "revision code_revision hf_config_path hf_overrides config_format model_class_overrides "
        "disable_sliding_window convert runner pooler_config diffusion_config engram_config"
    ),
    "give HF_TOKEN in the environment": "hf_token",
    "weights come from the trainer, and how they are read is no matter of the engine": (
        "load_format download_dir safetensors_load_strategy safetensors_prefetch_num_threads "
        "safetensors_prefetch_block_size model_loader_extra_config ignore_patterns "
        "pt_load_map_location max_parallel_loading_workers use_tqdm_on_load "
        "weight_transfer_config"
    ),
    "the engine's weights stay where the trainer can write new ones": (
        "cpu_offload_gb cpu_offload_params offload_backend offload_group_size "
        "offload_num_in_group offload_prefetch_step offload_params"
    ),
    "rvpo decides when the engine sleeps, and what stays awake": (
        "enable_sleep_mode sleep_mode_offload_cudagraph sleep_preserve_parameter_names "
        "enable_cumem_allocator enable_nccl_comm_suspend"
    ),
    "each training process has one engine on one device; give more distributed.processes": (
        "distributed_executor_backend tensor_parallel_size pipeline_parallel_size "
        "prefill_context_parallel_size decode_context_parallel_size dcp_comm_backend "
        "dcp_q_replicate dcp_kv_cache_interleave_size cp_kv_cache_interleave_size "
        "data_parallel_size data_parallel_rank data_parallel_start_rank "
        "data_parallel_size_local data_parallel_address data_parallel_rpc_port "
        "data_parallel_hybrid_lb data_parallel_external_lb "
        "data_parallel_multi_port_external_lb data_parallel_backend enable_hc_sp "
        "enable_expert_parallel enable_batch_sharded_sampling enable_ep_weight_filter "
        "all2all_backend enable_elastic_ep elastic_ep_max_dp_size enable_dbo ubatch_size "
        "dbo_decode_token_threshold dbo_prefill_token_threshold dp_sync_interval "
        "disable_nccl_for_dp_synchronization eplb_config enable_eplb "
        "expert_placement_strategy disable_custom_all_reduce master_addr master_port nnodes "
        "node_rank ray_workers_use_nsight"
    ),
    "bind the ranks themselves, with numactl before the launcher": (
        "numa_bind numa_bind_nodes numa_bind_cpus"
    ),
    "the log-probabilities must be those that the trainer computes for the same tokens": (
        "logprobs_mode logits_processors generation_config override_generation_config "
        "watermark_config"
    ),
    "a draft model would not learn with the policy, so its guesses would get ever worse": (
        "speculative_config spec_method spec_model spec_tokens per_request_spec_decode_metrics"
    ),
    "write model.lora, from which rvpo makes room for the adapter": (
        "enable_lora max_loras max_lora_rank default_mm_loras fully_sharded_loras "
        "max_cpu_loras lora_dtype lora_target_modules enable_tower_connector_lora "
        "specialize_active_lora enable_mixed_moe_lora_format enable_moe_shared_loras "
        "max_lora_cls_labels"
    ),
    "keys and values kept outside of the engine would outlive the weights that made them": (
        "kv_offloading_size kv_offloading_backend kv_transfer_config kv_events_config "
        "ec_transfer_config ec_manager_config"
    ),
    "a rollout is asked for as a whole, and vLLM would refuse what is beyond that": (
        "max_num_queued_reqs max_num_queued_tokens"
    ),
    "the engine's processes and classes must be vLLM's own": (
        "scheduler_cls worker_cls worker_extension_cls additional_config shutdown_timeout "
        "fault_tolerance_config enable_fault_tolerance fail_on_environ_validation "
        "enable_shm_tensor_arena"
    ),
    "prompts are text alone": (
        "allowed_local_media_path allowed_media_domains disable_chunked_mm_input "
        "enable_mm_embeds interleave_mm_strings media_io_kwargs mm_processor_kwargs "
        "mm_processor_cache_gb mm_processor_cache_type mm_hasher_algorithm "
        "mm_shm_cache_max_object_size_mb mm_encoder_only mm_encoder_tp_mode "
        "mm_encoder_attn_backend mm_encoder_attn_dtype mm_encoder_fp8_scale_path "
        "mm_encoder_fp8_scale_save_path mm_encoder_fp8_scale_save_margin video_pruning_rate "
        "video_pruning_method mm_tensor_ipc mm_processor_device mm_ipc_gpu_memory_gb "
        "mm_device_do_normalize enable_mm_processor_stats"
    ),
    "no rollout asks for it": (
        "served_model_name max_logprobs enable_return_routed_experts return_sampling_mask "
        "aux_output_config enable_trace_replay structured_outputs_config stream_interval "
        "profiler_config"
    ),
    "write rollout.max_thought_tokens, and model.thinking where a model shows no markers": (
        "reasoning_parser reasoning_parser_plugin reasoning_config"
    ),
    "rvpo reads vLLM's own counts, and reports them as kv_cache/* and tokens_per_second/*": (
        "disable_log_stats aggregate_engine_logging show_hidden_metrics_for_version "
        "otlp_traces_endpoint collect_detailed_traces kv_cache_metrics kv_cache_metrics_sample "
        "custom_histogram_buckets cudagraph_metrics enable_mfu_metrics "
        "enable_logging_iteration_details"
    ),
    "give VLLM_LOGGING_LEVEL in the environment": "logging_config log_level log_config_file",
}

VLLM_OPTIONS: Final = PassedOn(
    "vLLM", MappingProxyType(by_kind(_ALLOWED)), MappingProxyType(by_reason(_REFUSED))
)
"""The options of `rollout.engine.options`."""


def passed_on(options: Mapping[str, Any], site: Site) -> dict[str, Any]:
    """Arguments for vLLM: the options that have a value, and rvpo's own defaults at such a place.

    An engine that shares its GPU with the trainer has less memory than a server, for which vLLM
    chooses its defaults; one of these two that is given moves the other one with it, as vLLM wants
    at least a token for each sequence. Without chunked prefill a pass must take the longest prompt,
    which vLLM sees to.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if not site.sleeps:
        return given
    usual: dict[str, Any] = {}
    if "max_num_seqs" not in options:
        usual["max_num_seqs"] = min(SEQUENCES, given.get("max_num_batched_tokens", SEQUENCES))
    if "max_num_batched_tokens" not in options and given.get("enable_chunked_prefill", True):
        usual["max_num_batched_tokens"] = max(BATCHED_TOKENS, given.get("max_num_seqs", 0))
    return usual | given


def has_scales(options: Mapping[str, Any]) -> bool:
    """True where vLLM computes with numbers of fewer bits than the trainer. Their scales are in
    checkpoints or at 1; nobody sends them, and an engine that starts without reading draws them."""
    return any(options.get(name) not in (None, "auto") for name in ("kv_cache_dtype", *_QUANTISED))
