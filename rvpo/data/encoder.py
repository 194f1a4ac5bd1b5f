"""The encoder of prompts that the settings ask for."""

from __future__ import annotations

from collections.abc import Callable

from rvpo.config.model import ModelConfig
from rvpo.config.rollout import RolloutConfig
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.templates import read_template
from rvpo.rollout.thought_budget import BUDGET
from rvpo.runtime.ignore import ignore


def encoder_of(
    model: ModelConfig, rollout: RolloutConfig, path: str, say: Callable[[str], None] = ignore
) -> Encoder:
    """See `Encoder.from_model`.

    Args:
        path: the model's files, wherever `model.path` has led to.

    Raises:
        ConfigError: as there, or the model does not show where a thought ends that is to be ended.
    """
    encoder = Encoder.from_model(
        path,
        trust_remote_code=model.trust_remote_code,
        max_context_tokens=rollout.engine.max_context_tokens,
        say=say,
        chat_template=None if model.chat_template is None else read_template(model.chat_template),
        template_values=model.chat_template_kwargs,
        markers=model.markers,
        max_thought_tokens=rollout.max_thought_tokens,
    )
    budget = encoder.thought_budget
    if budget is not None:
        say(
            f"{BUDGET}: a thought begins with {budget.opening!r} and is ended with "
            f"{budget.closing!r} after {budget.tokens} tokens"
        )
    return encoder
