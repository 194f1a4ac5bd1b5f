"""The engine that the settings name."""

from __future__ import annotations

from typing import Any

import torch

from rvpo.config.run import ModelConfig, RolloutConfig, TransformersConfig, VllmConfig
from rvpo.errors import ConfigError
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.engine import RolloutEngine
from rvpo.rollout.vllm.placement import place
from rvpo.runtime.extras import installed
from rvpo.runtime.ranks import Ranks
from rvpo.runtime.seed import derived_seed


def torch_dtype(model: ModelConfig) -> torch.dtype:
    """The type of the weights that compute."""
    return torch.bfloat16 if model.precision == "bf16" else torch.float32


def check_engine(rollout: RolloutConfig) -> None:
    """Refuse before any work an engine that is not here.

    Raises:
        ConfigError: vLLM is not installed.
    """
    if rollout.engine.name == "vllm" and not installed("vllm"):
        raise ConfigError(
            "rollout.engine.name: vllm is not installed; install it with "
            "pip install 'rvpo[cpu]' or 'rvpo[gpu]', or set rollout.engine.name=transformers"
        )


def build_engine(
    model: ModelConfig,
    rollout: RolloutConfig,
    model_path: str,
    encoder: Encoder,
    seed: int,
    ranks: Ranks,
) -> RolloutEngine:
    """The engine that the settings name, without weights of its own choosing.

    Args:
        model_path: the model's folder or Hub id.
        seed: the run's.
    """
    match rollout.engine:
        case VllmConfig():
            from rvpo.rollout.vllm.engine import VllmEngine

            return VllmEngine(
                model_path,
                encoder,
                rollout.engine,
                dtype=torch_dtype(model),
                temperature=rollout.temperature,
                max_completion_tokens=rollout.max_completion_tokens,
                seed=derived_seed(seed, "engine", ranks.rank),
                placement=place(rollout, ranks),
                trust_remote_code=model.trust_remote_code,
            )
        case TransformersConfig():
            from transformers import AutoModelForCausalLM

            from rvpo.rollout.transformers_engine import TransformersEngine

            loaded: Any = AutoModelForCausalLM.from_pretrained(
                model_path,
                dtype=torch_dtype(model),
                trust_remote_code=model.trust_remote_code,
            )
            return TransformersEngine(
                loaded.to(ranks.device),
                encoder,
                rollout.engine,
                temperature=rollout.temperature,
                max_completion_tokens=rollout.max_completion_tokens,
            )
