"""A check that a model's chat template can write conversations, before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence

from rvpo.errors import ConfigError, DataError
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.episodes.bridge import Bridge
from rvpo.types import Prompt


def check_conversations(encoder: Encoder, prompts: Sequence[Prompt], role: str, model: str) -> None:
    """Refuse what no environment can answer.

    Args:
        role: the one in which the environment speaks.
        model: the model's folder or Hub id, for messages.

    Raises:
        DataError: a prompt is seen as it stands, without the chat template.
        ConfigError: the chat template has no place for such turns.
    """
    raw = next((prompt for prompt in prompts if prompt.is_raw), None)
    if raw is not None:
        raise DataError(
            f"prompt {raw.id!r} is shown to the model as it stands (text_prompts=raw), and behind "
            "it nothing says how an environment answers; leave text_prompts or environment out"
        )
    if prompts:
        try:
            Bridge(encoder).check(prompts[0], role)
        except DataError as error:
            raise ConfigError(
                f"model.path: {model!r} cannot talk to this environment: {error}"
            ) from error
