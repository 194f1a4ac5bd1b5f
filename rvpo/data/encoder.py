"""The encoder of prompts that the settings ask for."""

from __future__ import annotations

from collections.abc import Callable

from rvpo.config.model import ModelConfig
from rvpo.config.run import RolloutConfig
from rvpo.rollout.encoder import Encoder
from rvpo.runtime.ignore import ignore


def encoder_of(
    model: ModelConfig, rollout: RolloutConfig, path: str, say: Callable[[str], None] = ignore
) -> Encoder:
    """See `Encoder.from_model`.

    Args:
        path: the model's files, wherever `model.path` has led to.
    """
    return Encoder.from_model(
        path,
        trust_remote_code=model.trust_remote_code,
        max_context_tokens=rollout.engine.max_context_tokens,
        say=say,
    )
